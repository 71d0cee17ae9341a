"""Does the barrier vanish as networks get wider, once their units are matched?

Independent pairs only: a spawned pair is connected at any width, and would hide the effect.
"""

from sweeps.cli import main
from sweeps.grid.sweep import Sweep

WIDTH = Sweep(
    name="width",
    x="width",
    question=__doc__,
    axes={
        "architecture": ["mlp"],
        "width": [1 / 16, 1 / 8, 1 / 4, 1 / 2, 1],  # doubling: the figure's x axis is log2
        "spawn_epoch": [None],
        "seed": [0, 1, 2],
        "matching": ["none", "weights", "activations"],
    },
)

if __name__ == "__main__":
    main(WIDTH)
