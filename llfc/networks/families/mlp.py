"""Multi-layer perceptrons: three hidden layers of 512 units, as in the matching literature."""

import math
from collections import OrderedDict
from collections.abc import Mapping

from torch import nn

from llfc.networks.families.layers import scaled, vector_norm

HIDDEN = (512, 512, 512)
MODULES: Mapping[str, type[nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh, "gelu": nn.GELU}


def mlp(
    *,
    width: float,
    norm: str,
    input_shape: tuple[int, ...],
    num_classes: int,
    activation: str = "relu",
) -> nn.Module:
    """A perceptron on the flattened image, or on a row.

    Hidden layer i is `hidden{i}`, `norm{i}`, `relu{i}`.

    Or, with another activation, `tanh{i}` or `gelu{i}`. Units of ReLU can be permuted and scaled,
    those of tanh permuted and their signs changed, those of GELU only permuted.

    Reference:
        Ainsworth, Hayase & Srinivasa, Git Re-Basin, ICLR 2023. https://arxiv.org/abs/2209.04836
    """
    units = math.prod(input_shape)
    layers: OrderedDict[str, nn.Module] = OrderedDict(flatten=nn.Flatten())
    for index, hidden in enumerate(HIDDEN, start=1):
        layers[f"hidden{index}"] = nn.Linear(units, scaled(hidden, width))
        units = scaled(hidden, width)
        if (after := vector_norm(norm, units)) is not None:
            layers[f"norm{index}"] = after
        layers[f"{activation}{index}"] = MODULES[activation]()
    layers["head"] = nn.Linear(units, num_classes)
    return nn.Sequential(layers)
