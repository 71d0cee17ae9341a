"""The sweeps: which trials are run, where, and where their results are stored. No science here.

`SWEEPS` has every sweep under its name; that of checkpoints needs their files.
"""

import os
from collections.abc import Mapping

# Set before ray is first imported: no usage statistics; GPUs and logs are managed here.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")

from sweeps import (
    architecture,
    checkpoints,
    matching,
    misalignment,
    onset,
    smoke,
    spawn_epoch,
    transformer,
    width,
)
from sweeps.grid.sweep import Sweep

SWEEPS: Mapping[str, Sweep] = {
    sweep.name: sweep
    for sweep in (
        architecture.ARCHITECTURE,
        checkpoints.CHECKPOINTS,
        matching.MATCHING,
        misalignment.MISALIGNMENT,
        onset.ONSET,
        smoke.SMOKE,
        spawn_epoch.SPAWN_EPOCH,
        transformer.TRANSFORMER,
        width.WIDTH,
    )
}
