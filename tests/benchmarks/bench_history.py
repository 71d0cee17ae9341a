"""What states and histories add to training: the same training with them and without.

    OMP_NUM_THREADS=1 python tests/benchmarks/bench_history.py [--seconds 2]

A state every `--seconds`, more often than the usual 120 so that short trainings have some; the
history as it always is: the network is judged at chosen epochs, and written every five seconds.
The two take turns, in seconds of processor time, and the least of each counts.
"""

import argparse
import time
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir

from llfc.data.datasets import Data, load_dataset
from llfc.networks.recipes import default_recipe
from llfc.networks.spawning import train_network, untrained
from llfc.networks.store import Store
from llfc.networks.training import initial_state, train
from llfc.specs import Network

REPEATS = 3
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
    parser.add_argument("--seconds", type=float, default=2.0)
    seconds = parser.parse_args().seconds
    print(f"a state every {seconds:g} s; seconds of processor time")
    print(f"{'network':>16} {'with':>8} {'without':>8} {'with / without':>15}")
    for architecture, norm, width, name, limit, epochs in CASES:
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
        taken = [
            (whole(network, dataset, seconds), plain(network, dataset)) for _ in range(REPEATS)
        ]
        one, two = (min(each) for each in zip(*taken, strict=True))
        print(
            f"{architecture + f' x {width:g}':>16} {one:8.2f} {two:8.2f} {one / two:15.3f}",
            flush=True,
        )


def whole(network: Network, dataset: Data, seconds: float) -> float:
    """As a sweep trains it, into a store."""
    with TemporaryDirectory() as folder:
        begin = time.process_time()
        train_network(network, Store(folder), dataset, checkpoint_seconds=seconds)
        return time.process_time() - begin


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


if __name__ == "__main__":
    main()
