"""Which matching method, with which correction, brings two strangers onto one flat line?"""

from sweeps.cli import main
from sweeps.sweep import Sweep

MATCHING = Sweep(
    name="matching",
    x="matching",
    axes={
        "architecture": ["mlp", "resnet20"],
        "width": [1 / 4],
        "spawn_epoch": [None],
        "seed": [0, 1, 2],
        "matching": ["none", "weights", "activations", "activations-uncentred"],
        "correction": ["none", "reset"],
    },
)

if __name__ == "__main__":
    main(MATCHING, __doc__)
