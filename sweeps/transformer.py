"""Which symmetry connects two transformers?

Character models on the embedded text. Networks forked from one trunk need no matching if they are
forked late enough; independently trained ones (spawn epoch none) share nothing. As they were
trained, heads, units of the MLPs and channels of the residual stream can be permuted, and what is
inside the heads mixed by any invertible matrix. In canonical form the stream can be rotated too.
`weights` permutes; `orthogonal` brings the weights together by maps of every kind, without data;
`learned` descends the loss between the two. Vision transformers are measured alike with
`--architecture vit --dataset fashion-mnist-small`.
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
        "spawn_epoch": [0, None],
        "seed": [0, 1, 2],
        "matching": ["none", "weights", "orthogonal", "learned"],
        "correction": ["none"],  # there are no running statistics to correct
        "form": ["trained", "canonical"],
    },
    # 300 windows are 18 900 tokens.
    measuring={"alphas": 11, "limit_test": 300, "limit_measured": 300},
)

if __name__ == "__main__":
    main(TRANSFORMER)
