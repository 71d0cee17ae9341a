"""Does everything work? Two seeds of a small network, matched and unmatched, in under a minute."""

from sweeps.cli import main
from sweeps.grid.sweep import Sweep

SMOKE = Sweep(
    name="smoke",
    x="width",
    question=__doc__,
    axes={
        "width": [1 / 16, 1 / 8],
        "limit_train": [1000],
        "epochs": [3],
        "seed": [0, 1],
        "matching": ["none", "weights"],
    },
)

if __name__ == "__main__":
    main(SMOKE)
