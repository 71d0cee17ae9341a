"""The study: which trials are run, where, and where their results land. It holds no science.

`SWEEPS` has every sweep, with its question, under the name of its MLflow experiment.
"""

from collections.abc import Mapping

from sweeps import architecture, matching, smoke, spawn_epoch, width
from sweeps.sweep import Sweep

SWEEPS: Mapping[str, tuple[Sweep, str]] = {
    "architecture": (architecture.ARCHITECTURE, str(architecture.__doc__)),
    "matching": (matching.MATCHING, str(matching.__doc__)),
    "smoke": (smoke.SMOKE, str(smoke.__doc__)),
    "spawn_epoch": (spawn_epoch.SPAWN_EPOCH, str(spawn_epoch.__doc__)),
    "width": (width.WIDTH, str(width.__doc__)),
}
