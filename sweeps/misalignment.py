"""When the alignment of two networks is undone in doses, do barrier and LLFC error follow?

An intervention, where other sweeps observe. Pairs are brought into one basis, by matching or by a
common trunk; then a share of B's units change places, in all groups or in one. B's function, its
losses and the norms of its tensors are untouched: what changes is due to the alignment alone.
"""

from sweeps.cli import main
from sweeps.grid.sweep import Sweep

MISALIGNMENT = Sweep(
    name="misalignment",
    x="misalignment",
    question=__doc__,
    axes={
        "architecture": ["mlp"],
        "width": [1],
        "spawn_epoch": [None],
        "seed": [0, 1, 2],
        "matching": ["weights"],
        "misalignment": [0, 1 / 16, 1 / 8, 1 / 4, 1 / 2, 1],
        "misaligned": ["all", "hidden1", "hidden2", "hidden3"],
    },
)

if __name__ == "__main__":
    main(MISALIGNMENT)
