"""How far are trained networks of one's own from linear mode connectivity, once they are matched?

Every pair of the files given to --checkpoints, with every matching; nothing is trained.
"""

from sweeps.cli import main
from sweeps.grid.sweep import Sweep

CHECKPOINTS = Sweep(
    name="checkpoints",
    x="checkpoints",
    question=__doc__,
    axes={
        "seed": [0],
        "matching": ["none", "weights", "activations"],
    },
)

if __name__ == "__main__":
    main(CHECKPOINTS)
