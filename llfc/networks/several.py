"""Several networks trained at once in threads of one process, as one rarely fills a GPU."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import torch

from llfc.data.datasets import Data
from llfc.networks.spawning import train_network, training_cost
from llfc.networks.steps import fork_step, in_epochs
from llfc.networks.store import Store
from llfc.specs import Network, fingerprint


def train_networks(
    networks: Iterable[Network],
    store: Store,
    dataset: Data,
    *,
    device: torch.device | str = "cpu",
    at_once: int = 1,
) -> None:
    """Leave all of `networks` in `store`, and the roots of those that are branches.

    Roots come before branches, the longest first. Each network is what `train_network` makes of it,
    whatever is trained beside it.

    Args:
        networks: what to train; those that are in the store already are not trained again.
        store: where trained networks and training states are.
        dataset: the data set that all of them name, limited as they say.
        device: where to train.
        at_once: how many at a time. Four ResNet-20 on one H200 pass twice the images of one; on a
            CPU a process per core is faster than threads.

    Raises:
        ValueError: as `train_network`, of the first network that fails; no branch is begun if that
            is a root.
    """
    inputs = dataset.count("train")
    wanted = list(dict.fromkeys(in_epochs(network, inputs) for network in networks))
    dataset = dataset.to(device)
    keep: dict[Network, set[int]] = {network.root: set() for network in wanted}
    for network in wanted:
        if (step := fork_step(network, inputs)) is not None:
            keep[network.root].add(step)

    def train(network: Network) -> None:
        train_network(network, store, dataset, device=device, keep_steps=keep.get(network, ()))

    with ThreadPoolExecutor(at_once) as pool:
        for stage in (list(keep), [network for network in wanted if network not in keep]):
            ordered = sorted(stage, key=lambda n: (-training_cost(n, dataset), fingerprint(n)))
            for training in [pool.submit(train, network) for network in ordered]:
                training.result()
