"""From which step on do two runs forked from one trunk stay connected, to a stated resolution?

A search, not a grid: both ends are measured, then the middle of what is left, for each seed by
itself. The lower end is the spawn step; the upper one, if it is not given, the end of training.
What is stable is taken to stay so later: some places above each bracket are rechecked, and only a
grid shows them all.
"""

from sweeps.cli import main
from sweeps.grid.sweep import Search, Sweep

ONSET = Sweep(
    name="onset",
    x="spawn_step",
    question=__doc__,
    axes={
        "architecture": ["resnet20"],  # the default MLP is stable from step 0 on
        "width": [1 / 4],
        "spawn_step": [0],
        "seed": [0, 1, 2],
        "matching": ["none"],
    },
    # Trainings are so short that the training curve would otherwise take longest.
    measuring={"limit_measured": 500},
    search=Search(),
)

if __name__ == "__main__":
    main(ONSET)
