"""What states and histories add to training.

    OMP_NUM_THREADS=1 python tests/benchmarks/bench_history.py [--seconds 120]

Twice: as the share of the training's processor time that was spent in them, read off within one
training, which other work on the machine moves little; and as the ratio of the same training with
them, into a store, to the loop alone, where the two take turns and the least of each counts. The
ratio holds the opening of a store and the writing of the network too, some hundredths of a second.
The history is as it always is: the network is judged at chosen epochs, and written every five
seconds. So are states, `--seconds` apart; fewer than 120 let short trainings have some.
"""

import argparse
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from typing import Any
from unittest.mock import patch

from llfc.data.datasets import Data, load_dataset
from llfc.networks import training
from llfc.networks.checkpoints import Checkpoints
from llfc.networks.history import History
from llfc.networks.recipes import default_recipe
from llfc.networks.spawning import train_network, untrained
from llfc.networks.store import Store
from llfc.networks.training import initial_state, train
from llfc.specs import Network

REPEATS = 3
# Where states and histories are at work; a state's copies are made by the loop.
SPENT = {
    History: ("__init__", "after_step", "after_epoch", "write"),
    Checkpoints: ("after_step", "keep", "latest", "remove"),
    training: ("_copies", "_tensors"),
}
# Architecture, norm, width, data set, training inputs, epochs.
CASES = (
    ("mlp", "none", 1 / 4, "fashion-mnist-small", 5000, 20),
    ("vgg11", "none", 1 / 8, "fashion-mnist-small", 5000, 10),
    ("resnet20", "batch", 1 / 4, "fashion-mnist-small", 2000, 10),
    ("gpt", "layer", 1, "king-james", 2000, 10),
)


def main() -> None:
    """Print a line a case."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--only", choices=[case[0] for case in CASES], nargs="+")
    options = parser.parse_args()
    print(f"a state every {options.seconds:g} s; seconds of processor time")
    print(f"{'network':>16} {'share':>7} {'with':>8} {'without':>8} {'with / without':>15}")
    for architecture, norm, width, name, limit, epochs in CASES:
        if architecture not in (options.only or [architecture]):
            continue
        dataset = load_dataset(name, cache=Path(gettempdir()), limit_train=limit)
        recipe = default_recipe(architecture, name, norm)
        network = Network(
            architecture=architecture,
            width=width,
            norm=norm,
            dataset=name,
            limit_train=limit,
            seed=0,
            recipe=type(recipe)(**{**vars(recipe), "epochs": epochs}),
        )
        plain(network, dataset)  # once unmeasured: torch loads and chooses its kernels
        shares, withs, withouts = zip(
            *(
                (*whole(network, dataset, options.seconds), plain(network, dataset))
                for _ in range(REPEATS)
            ),
            strict=True,
        )
        one, two = min(withs), min(withouts)
        print(
            f"{architecture + f' x {width:g}':>16} {min(shares):7.2%} {one:8.2f} {two:8.2f}"
            f" {one / two:15.3f}",
            flush=True,
        )


def whole(network: Network, dataset: Data, seconds: float) -> tuple[float, float]:
    """As a sweep trains it, into a store: the share of states and histories, and the time."""
    with TemporaryDirectory() as folder, metered() as spent:
        begin = time.process_time()
        train_network(network, Store(folder), dataset, checkpoint_seconds=seconds)
        taken = time.process_time() - begin
        return spent[0] / (taken - spent[0]), taken


def plain(network: Network, dataset: Data) -> float:
    """The loop alone."""
    begin = time.process_time()
    model = untrained(network, dataset)
    start, epochs = initial_state(model), network.recipe.epochs
    train(
        model,
        dataset,
        network.recipe,
        start=start,
        until_epoch=epochs,
        seed=0,
        branch="0",
    )
    return time.process_time() - begin


@contextmanager
def metered() -> Iterator[list[float]]:
    """The processor time spent in SPENT while this is open, in a list of one."""
    spent, depth = [0.0], [0]

    def meter(call: Any) -> Any:
        def counted(*args: Any, **settings: Any) -> Any:
            begin = time.process_time()
            depth[0] += 1
            try:
                return call(*args, **settings)
            finally:
                depth[0] -= 1
                if not depth[0]:
                    spent[0] += time.process_time() - begin

        return counted

    held = [(home, name) for home, names in SPENT.items() for name in names]
    patches = [patch.object(home, name, meter(getattr(home, name))) for home, name in held]
    for each in patches:
        each.start()
    try:
        yield spent
    finally:
        for each in patches:
            each.stop()


if __name__ == "__main__":
    main()
