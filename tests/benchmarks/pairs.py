"""What several benchmarks measure, and how: pairs of networks as they begin, and least times."""

import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from llfc.devices import keep_freed_memory
from llfc.networks.architectures import build_network
from llfc.seeds import stream

# Networks and the shape of their images; of token ids, the length of a sequence.
NETWORKS: dict[str, tuple[int, ...]] = {
    "mlp": (1, 28, 28),
    "resnet20": (3, 32, 32),
    "vgg16": (3, 32, 32),
    "vit": (3, 32, 32),
    "gpt": (64,),
}
CLASSES = {"gpt": 65}


def network(name: str, seed: int, width: float = 1.0) -> nn.Module:
    """A network as it begins."""
    return build_network(
        name,
        width=width,
        input_shape=NETWORKS[name],
        num_classes=CLASSES.get(name, 10),
        generator=stream(seed, "init"),
    )


def samples(name: str, count: int) -> tuple[Tensor, Tensor]:
    """Random images for a network, and labels that are all 0; or token ids, twice."""
    if name in CLASSES:
        ids = torch.randint(CLASSES[name], (count, *NETWORKS[name]), generator=stream(0, "ids"))
        return ids, ids
    images = torch.randn(count, *NETWORKS[name], generator=stream(0, "images"))
    return images, torch.zeros(count, dtype=torch.int64)


def least(works: Sequence[Callable[[], object]], rounds: int) -> list[float]:
    """The least processor time of each in `rounds`, taken by turns, in a process like a worker's.

    Processor time, as other programs on the machine then do not count; and memory is kept, as a
    sweep's workers keep it.
    """
    keep_freed_memory()
    times: list[list[float]] = [[] for _ in works]
    for _ in range(rounds):
        for work, taken in zip(works, times, strict=True):
            begun = time.process_time()
            work()
            taken.append(time.process_time() - begun)
    return [min(taken) for taken in times]
