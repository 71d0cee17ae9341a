"""Which matching, with which correction, flattens the line between independent networks?"""

from sweeps.cli import main
from sweeps.grid.sweep import Sweep

MATCHING = Sweep(
    name="matching",
    x="matching",
    question=__doc__,
    axes={
        "architecture": ["mlp", "vgg11", "resnet20"],
        "width": [1 / 4],
        "spawn_epoch": [None],
        "seed": [0, 1, 2],
        "matching": [
            "none",
            "activations",
            "activations-uncentred",
            "weights",
            "frank-wolfe",
            "sinkhorn",
            "straight-through",
            "orthogonal",
            "orthogonal-activations",
            "learned",
        ],
        "correction": ["none", "rescale", "reset", "repair"],
    },
)

if __name__ == "__main__":
    main(MATCHING)
