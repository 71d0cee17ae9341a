"""Several networks trained at once in threads of one process, as one rarely fills a GPU.

And what each costs, by which the longest comes first.
"""

import functools
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from torch import nn

from llfc.data.datasets import Data
from llfc.modules.hooks import hooked
from llfc.networks.architectures import architecture_of, skeleton
from llfc.networks.spawning import train_network
from llfc.networks.steps import fork_step, in_epochs, steps_per_epoch
from llfc.networks.store import Store
from llfc.seeds import drawn_alike
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
    counted = (in_epochs(network, dataset.inputs_of(network)) for network in networks)
    wanted = list(dict.fromkeys(counted))
    dataset = dataset.to(device)
    keep: dict[Network, set[int]] = {network.root: set() for network in wanted}
    for network in wanted:
        if (step := fork_step(network, dataset.inputs_of(network))) is not None:
            keep[network.root].add(step)

    def train(network: Network) -> None:
        train_network(network, store, dataset, device=device, keep_steps=keep.get(network, ()))

    with ThreadPoolExecutor(at_once) as pool:
        for stage in (list(keep), [network for network in wanted if network not in keep]):
            ordered = sorted(stage, key=lambda n: (-training_cost(n, dataset), fingerprint(n)))
            for training in [pool.submit(train, network) for network in ordered]:
                training.result()


def training_cost(network: Network, dataset: Data | None = None) -> float:
    """The relative cost of training `network`, by which the longest is trained first.

    Epochs left after the fork, times images, times the multiply-adds of one. Without `dataset`
    5000 images of 32x32 pixels are assumed.
    """
    one = torch.zeros(1, 3, 32, 32) if dataset is None else dataset.example()[:1]
    classes = 10 if dataset is None else dataset.num_classes
    images = (network.limit_train or 5000) if dataset is None else dataset.inputs_of(network)
    left = network.recipe.epochs - (fork_step(network, images) or 0) / steps_per_epoch(
        network.recipe, images
    )
    return float(
        left
        * images
        * _multiply_adds(
            network.architecture,
            network.width,
            network.norm,
            tuple(one.shape[1:]),
            one.dtype,
            classes,
            *network.options.items(),
        )
    )


@functools.cache
def _multiply_adds(
    architecture: str,
    width: float,
    norm: str,
    shape: tuple[int, ...],
    dtype: torch.dtype,
    classes: int,
    *options: tuple[str, Any],
) -> int:
    """Multiplications of weights in the forward pass of one input of `shape`."""
    with drawn_alike(0):
        model = skeleton(
            architecture,
            width=width,
            norm=norm,
            input_shape=shape,
            num_classes=classes,
            **dict(options),
        )
    total = 0

    def count(module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        nonlocal total
        if isinstance(module, nn.Linear | nn.Conv2d):
            total += module.weight.numel() * (output[0].numel() // len(module.weight))

    # Not on the meta device, nor by torch's counter, for which it first loads its compiler, for
    # seconds.
    if not architecture_of(architecture).own:
        model.to_empty(device="cpu")
    for parameter in model.eval().parameters():
        parameter.detach().zero_()
    with torch.no_grad(), hooked(m.register_forward_hook(count) for m in model.modules()):
        model(torch.zeros((1, *shape), dtype=dtype))
    return total
