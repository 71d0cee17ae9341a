"""The study: which trials are run, where, and where their results land. It holds no science.

`SWEEPS` has every sweep under its name.
"""

import os
from collections.abc import Mapping

# Before the first import of ray: it sends no statistics and leaves GPUs and logs to us.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")

from sweeps import architecture, matching, smoke, spawn_epoch, width
from sweeps.grid.sweep import Sweep

SWEEPS: Mapping[str, Sweep] = {
    sweep.name: sweep
    for sweep in (
        architecture.ARCHITECTURE,
        matching.MATCHING,
        smoke.SMOKE,
        spawn_epoch.SPAWN_EPOCH,
        width.WIDTH,
    )
}
