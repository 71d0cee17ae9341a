"""Small networks wired by a function, and the groups of units that they should have."""

from collections import Counter

import torch
from torch import nn

from llfc.symmetry import permutation_spec


class Net(nn.Module):
    """Modules by name and a function of them."""

    def __init__(self, forward, **modules):
        super().__init__()
        for name, module in modules.items():
            setattr(self, name, module)
        self.function = forward

    def forward(self, *inputs):
        return self.function(self, *inputs)


def chain(*modules):
    return nn.Sequential(*modules)


def image(channels=3, side=6, batch=2):
    return torch.randn(batch, channels, side, side)


def attention(x=6, heads=2):
    return nn.MultiheadAttention(x, heads, batch_first=True)


def between(function, units=5, out=None, x=None):
    """`last(function(first(x)))`, with as many units between."""
    return (
        Net(
            lambda m, x: m.last(function(m.first(x))),
            first=lin(3, units),
            last=lin(out or units, 2),
        ),
        [torch.randn(2, 3) if x is None else x],
    )


def on_tokens(function, **modules):
    """A network whose `embed` makes six units of each token, and whose `head` makes two of six."""
    return Net(function, embed=lin(5, 6), **modules, head=lin(6, 2)), [tokens]


def on_images(function, channels=4):
    return (
        Net(
            lambda m, x: m.last(function(m.first(x))),
            first=conv(3, channels, 1),
            last=conv(channels, 2, 1),
        ),
        [image()],
    )


def P(*shape):
    return nn.Parameter(torch.randn(*shape))


tokens = torch.randn(2, 4, 5)
lin, conv = nn.Linear, nn.Conv2d


def assert_groups(model, inputs, sizes):
    """The spec, checked on the model as it is made; its groups have these sizes."""
    spec = permutation_spec(model, *inputs)
    assert Counter(spec.groups.values()) == Counter(sizes), str(spec)
    return spec
