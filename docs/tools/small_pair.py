"""Two small networks, trained while the site is built, and all that measures say of them."""

import os
from functools import cache
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

import llfc
from llfc.connectivity.measures.registry import MEASURES
from llfc.data.datasets import load_dataset
from llfc.data.images import Dataset
from llfc.networks.architectures import build_network
from llfc.seeds import stream

WIDTH = 1 / 8  # 64 units a layer
EPOCHS, BATCH, TEST = 8, 50, 500
SAID = (
    f"Two MLPs of {512 * WIDTH:.0f} units a layer, trained apart for {EPOCHS} epochs on the"
    f" embedded Fashion-MNIST and matched by weights; {TEST} test images"
)


@cache
def measured() -> llfc.Connection:
    """The pair with its units matched, with every measure, at three positions."""
    cache = Path(os.environ.get("LLFC_CACHE", "."))  # nothing embedded is written there
    data = load_dataset("fashion-mnist-small", cache=cache, limit_test=TEST)
    assert isinstance(data, Dataset)
    test, train = (
        (data.normalised(images), labels) for images, labels in map(data.split, ("test", "train"))
    )
    a, b = (_trained(data, train, seed) for seed in (0, 1))
    return llfc.connect(
        a, b, test=test, correction="none", alphas=3, measures=[*MEASURES], progress=False
    )


def _trained(data: Dataset, train: tuple[torch.Tensor, torch.Tensor], seed: int) -> nn.Module:
    model = build_network(
        "mlp",
        width=WIDTH,
        input_shape=data.input_shape,
        num_classes=data.num_classes,
        generator=stream(seed, "init"),
    )
    images, labels = train
    optimiser, order = torch.optim.Adam(model.parameters(), lr=1e-3), stream(seed, "order")
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(labels), generator=order).split(BATCH):
            optimiser.zero_grad()
            F.cross_entropy(model(images[rows]), labels[rows]).backward()
            optimiser.step()
    return model.eval()
