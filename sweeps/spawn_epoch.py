"""From which epoch on do two runs forked from one trunk stay connected without any matching?

Two networks spawned at epoch 0 share only their initialisation; with spawn epoch none they share
nothing, which is the control.
"""

from sweeps.cli import main
from sweeps.grid.sweep import Sweep

SPAWN_EPOCH = Sweep(
    name="spawn_epoch",
    x="spawn_epoch",
    question=__doc__,
    axes={
        "architecture": ["mlp"],
        "width": [1],
        "spawn_epoch": [0, 1, 2, 4, 8, 16, None],  # log-spaced: stability comes early, if at all
        "seed": [0, 1, 2],
        "matching": ["none", "weights"],
    },
)

if __name__ == "__main__":
    main(SPAWN_EPOCH)
