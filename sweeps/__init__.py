"""The study: which trials are run, where, and where their results land. It holds no science.

`SWEEPS` has every sweep under its name.
"""

from collections.abc import Mapping

from sweeps import architecture, matching, smoke, spawn_epoch, width
from sweeps.sweep import Sweep

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
