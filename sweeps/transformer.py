"""What can permutations do for two transformers, and what not?

Character models on the embedded text. Networks forked from one trunk need no matching if they are
forked late enough; independently trained ones (spawn epoch none) share nothing. Their heads, the
channels inside each head, the units of the MLPs and the channels of the residual stream are
permuted; rotations, which heads and stream allow as well, are not tried.
"""

from sweeps.cli import main
from sweeps.grid.sweep import Sweep

TRANSFORMER = Sweep(
    name="transformer",
    x="spawn_epoch",
    question=__doc__,
    axes={
        "dataset": ["king-james"],
        "architecture": ["gpt"],
        "width": [1],
        "spawn_epoch": [0, 1, 2, None],
        "seed": [0, 1, 2],
        "matching": ["none", "weights", "activations"],
        "correction": ["none"],  # there are no running statistics to correct
    },
    # 300 windows are 18 900 tokens.
    measuring={"alphas": 11, "limit_test": 300, "limit_measured": 300},
)

if __name__ == "__main__":
    main(TRANSFORMER)
