"""Multi-layer perceptrons: three hidden layers of 512 units, as in the matching literature."""

from collections import OrderedDict

from torch import nn

from llfc.networks.families.layers import scaled, vector_norm

HIDDEN = (512, 512, 512)


def mlp(*, width: float, norm: str, input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
    """A perceptron on the flattened image; hidden layer i is `hidden{i}`, `norm{i}`, `relu{i}`.

    Reference:
        Ainsworth, Hayase & Srinivasa, Git Re-Basin, ICLR 2023. https://arxiv.org/abs/2209.04836
    """
    channels, height, across = input_shape
    units = channels * height * across
    layers: OrderedDict[str, nn.Module] = OrderedDict(flatten=nn.Flatten())
    for index, hidden in enumerate(HIDDEN, start=1):
        layers[f"hidden{index}"] = nn.Linear(units, scaled(hidden, width))
        units = scaled(hidden, width)
        if (after := vector_norm(norm, units)) is not None:
            layers[f"norm{index}"] = after
        layers[f"relu{index}"] = nn.ReLU()
    layers["head"] = nn.Linear(units, num_classes)
    return nn.Sequential(layers)
