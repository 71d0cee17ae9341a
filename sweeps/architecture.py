"""Do LMC and LLFC go together in every family of networks, or only in some?

Narrow networks of each family, so that the grid runs on a laptop; pairs with a shared trunk and
without.
"""

from sweeps.cli import main
from sweeps.grid.sweep import Sweep

ARCHITECTURE = Sweep(
    name="architecture",
    x="architecture",
    question=__doc__,
    axes={
        "architecture": ["mlp", "vgg11", "resnet20"],
        "width": [1 / 4],
        "spawn_epoch": [2, None],
        "seed": [0, 1, 2],
        "matching": ["none", "weights"],
    },
)

if __name__ == "__main__":
    main(ARCHITECTURE)
