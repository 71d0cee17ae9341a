"""Which matching method, with which correction, brings two strangers onto one flat line?"""

from llfc.connectivity.corrections import CORRECTIONS
from llfc.matching.matchers import MATCHERS
from sweeps.cli import main
from sweeps.sweep import Sweep

MATCHING = Sweep(
    name="matching",
    x="matching",
    axes={
        "architecture": ["mlp", "vgg11", "resnet20"],
        "width": [1 / 4],
        "spawn_epoch": [None],
        "seed": [0, 1, 2],
        "matching": sorted(MATCHERS),
        "correction": sorted(CORRECTIONS),
    },
)

if __name__ == "__main__":
    main(MATCHING, __doc__)
