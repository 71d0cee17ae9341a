"""Three networks that one worker trains at once: `python -m tests.helpers.bundled_jobs FOLDER`.

As a program it is killed in the middle, with states of all three in the store in FOLDER.
"""

import dataclasses
import math
import sys

import torch

from llfc.networks import checkpoints
from llfc.networks.checkpoints import RUNNING, Checkpoints
from llfc.networks.store import Store
from llfc.specs import Network, Recipe
from sweeps.run.plan import Job
from tests.helpers.killed_trainings import killed

ADAM = Recipe(epochs=3, batch_size=10, optimizer="adam", lr=1e-3)
SGD = Recipe(epochs=3, batch_size=10, optimizer="sgd", lr=0.1, schedule="cosine", augment=True)
MLP = Network(
    architecture="mlp",
    width=1 / 32,
    norm="none",
    dataset="fashion-mnist-small",
    limit_train=200,
    seed=0,
    recipe=ADAM,
)
NETWORKS = [
    MLP,
    dataclasses.replace(MLP, norm="layer", limit_train=100),
    dataclasses.replace(MLP, norm="batch", recipe=SGD, seed=1),
]
HOT = dataclasses.replace(MLP, recipe=dataclasses.replace(SGD, lr=1e30))


def jobs_of(*networks):
    jobs = [Job(record=net, needs=frozenset(), cost=1.0, keep_epochs=(1,)) for net in networks]
    return [job.to_plain() for job in jobs]


def place_in(folder):
    return {
        "store": str(folder),
        "data_root": None,
        "cache": str(folder),
        "device": "cpu",
        "threads": torch.get_num_threads(),
        "checkpoint_seconds": 0,
        "provenance": {},
    }


def main(folder: str) -> None:
    from sweeps.run.worker import work

    checkpoints.SHARE, keep, store = math.inf, Checkpoints.keep, Store(folder)

    def kept(self, state):
        keep(self, state)
        if state.step > 2 and len(store.names(RUNNING)) == len(NETWORKS):
            killed()

    Checkpoints.keep = kept  # type: ignore[method-assign]
    work(jobs_of(*NETWORKS), place_in(folder))


if __name__ == "__main__":
    main(sys.argv[1])
