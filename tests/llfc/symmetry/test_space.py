"""Hidden units along an axis that an operator calls space: they move where it treats them alike."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from llfc.symmetry import permutation_spec
from tests.helpers.quick_cases import a_third_quick
from tests.helpers.wired_networks import Net, assert_groups, chain, conv, image, lin


def across(function, *, out=5, x=None, **modules):
    """12 units of a linear layer, along the last axis of [2, 2, 12], and a head of `out` inputs."""
    return (
        Net(
            lambda m, x: m.head(function(m, m.first(x))),
            first=lin(6, 12),
            head=lin(out, 3),
            **modules,
        ),
        [torch.randn(2, 2, 6) if x is None else x],
    )


def pooled(pool):
    return across(lambda m, h: pool(m.mix(h)).flatten(1), mix=nn.Conv1d(2, 5, 1))


def in_the_middle(**options):
    """[2, 2, 4, 12] under a convolution that looks along the third axis and not along the last."""
    return across(
        lambda m, h: m.mix(h).mean((2, 3)),
        x=torch.randn(2, 2, 4, 6),
        mix=nn.Conv2d(2, 5, (3, 1), **options),
    )


class Mixer(nn.Module):
    """An MLP-Mixer block whose tokens are mixed by `tokens`, on [N, tokens, channels]."""

    def __init__(self, tokens, turned):
        super().__init__()
        self.embed, self.norm, self.tokens = lin(6, 8), nn.LayerNorm(8), tokens
        self.head, self.turned = lin(8, 3), turned

    def forward(self, x):
        x = self.embed(x)
        y = self.norm(x)
        y = self.tokens(y.mT).mT if self.turned else self.tokens(y)
        return self.head((x + y).mean(1))


class SpatialGate(nn.Module):
    """Half the units gate the others (gMLP: Liu et al., Pay Attention to MLPs, NeurIPS 2021)."""

    def __init__(self):
        super().__init__()
        self.embed, self.wide, self.norm = lin(6, 8), lin(8, 10), nn.LayerNorm(5)
        self.space, self.narrow, self.head = nn.Conv1d(4, 4, 1), lin(5, 8), lin(8, 3)

    def forward(self, x):
        x = self.embed(x)
        u, v = F.gelu(self.wide(x)).chunk(2, -1)
        return self.head((x + self.narrow(u * self.space(self.norm(v)))).mean(1))


MIXERS = {
    "linear": lambda: Mixer(chain(lin(4, 7), nn.GELU(), lin(7, 4)), turned=True),
    "kernel of one": lambda: Mixer(
        chain(nn.Conv1d(4, 7, 1), nn.GELU(), nn.Conv1d(7, 4, 1)), turned=False
    ),
    "kernel over all": lambda: Mixer(
        chain(nn.Conv1d(8, 7, 4), nn.ReLU(), nn.ConvTranspose1d(7, 8, 4)), turned=True
    ),
}
tokens = torch.randn(2, 4, 6)

# name -> (model, inputs, the sizes of its groups)
CASES = {
    "two kernels of one": lambda: (
        *across(
            lambda m, h: m.d(F.relu(m.c(h))).mean(-1),
            out=2,
            c=nn.Conv1d(2, 5, 1),
            d=nn.Conv1d(5, 2, 1),
        ),
        [12, 5, 2],
    ),
    "in groups": lambda: (
        *across(lambda m, h: m.mix(h).mean(-1), out=4, mix=nn.Conv1d(2, 4, 1, groups=2)),
        [12, 2, 2],
    ),
    "dilated by nothing": lambda: (
        *across(lambda m, h: m.mix(h).mean(-1), mix=nn.Conv1d(2, 5, 1, dilation=3)),
        [12, 5],
    ),
    "padded by nothing": lambda: (
        *across(lambda m, h: m.mix(h).mean(-1), mix=nn.Conv1d(2, 5, 1, padding="same")),
        [12, 5],
    ),
    "transposed": lambda: (
        *across(lambda m, h: m.mix(h).mean(-1), mix=nn.ConvTranspose1d(2, 5, 1)),
        [12, 5],
    ),
    "three dimensions": lambda: (
        *across(
            lambda m, h: m.mix(h).mean((2, 3, 4)),
            x=torch.randn(2, 2, 3, 4, 6),
            mix=nn.Conv3d(2, 5, (2, 2, 1)),
        ),
        [12, 5],
    ),
    "along another axis": lambda: (*in_the_middle(), [12, 5]),
    "along another axis, with steps": lambda: (
        *in_the_middle(stride=(2, 1), padding=(1, 0)),
        [12, 5],
    ),
    # Every other unit is read, and the six others by nothing.
    "every other unit": lambda: (
        *across(lambda m, h: m.mix(h).mean(-1), mix=nn.Conv1d(2, 5, 1, stride=2)),
        [6, 6, 5],
    ),
    "a kernel over all units": lambda: (
        *across(lambda m, h: m.mix(h).flatten(1), mix=nn.Conv1d(2, 5, 12)),
        [12, 5],
    ),
    "mean pool": lambda: (*pooled(nn.AdaptiveAvgPool1d(1)), [12, 5]),
    "largest pool": lambda: (*pooled(nn.AdaptiveMaxPool1d(1)), [12, 5]),
    "window over all": lambda: (*pooled(nn.AvgPool1d(12)), [12, 5]),
    "largest in a window over all": lambda: (*pooled(nn.MaxPool1d(12)), [12, 5]),
    "window wider than all": lambda: (*pooled(nn.MaxPool1d(24, padding=12, stride=13)), [12, 5]),
    "norm over all": lambda: (*pooled(nn.LPPool1d(2, 12)), [12, 5]),
    "sum": lambda: (*pooled(lambda h: h.sum(-1)), [12, 5]),
    "largest": lambda: (*pooled(lambda h: h.amax(-1)), [12, 5]),
    "pool of one axis of two": lambda: (
        *across(
            lambda m, h: F.max_pool2d(m.mix(h), (3, 12)).flatten(1),
            x=torch.randn(2, 2, 3, 6),
            mix=nn.Conv2d(2, 5, 1),
        ),
        [12, 5],
    ),
    "windows of one": lambda: (
        *across(
            lambda m, h: F.avg_pool2d(m.mix(h), (3, 1)).mean((2, 3)),
            x=torch.randn(2, 2, 3, 6),
            mix=nn.Conv2d(2, 5, 1),
        ),
        [12, 5],
    ),
    "squeeze and excite": lambda: (
        Net(
            lambda m, x: m.head(
                (m.c(x) * m.up(F.relu(m.down(m.c(x).mean((2, 3), True)))).sigmoid()).amax((2, 3))
            ),
            c=conv(3, 8, 3),
            down=conv(8, 4, 1),
            up=conv(4, 8, 1),
            head=lin(8, 2),
        ),
        [image()],
        [8, 4],
    ),
    "spatial gate": lambda: (SpatialGate(), [tokens], [8, 5]),
} | {
    f"mixer, {name}": lambda make=make: (make(), [tokens], [8, 7]) for name, make in MIXERS.items()
}


@pytest.mark.parametrize("case", a_third_quick(CASES))
def test_groups_are_those_counted_by_hand(case):
    torch.manual_seed(0)
    assert not assert_groups(*CASES[case]()).frozen


# What looks at neighbours tells units apart; so do positions that are used as numbers.
NEIGHBOURS = {
    "kernel": lambda: across(lambda m, h: m.mix(h).mean(-1), mix=nn.Conv1d(2, 5, 3)),
    "padding": lambda: across(lambda m, h: m.mix(h).mean(-1), mix=nn.Conv1d(2, 5, 1, padding=1)),
    "pool": lambda: pooled(nn.AvgPool1d(2, stride=12)),
    "adaptive pool": lambda: across(
        lambda m, h: F.adaptive_avg_pool1d(m.mix(h), 3).mean(-1), mix=nn.Conv1d(2, 5, 1)
    ),
    "resolution": lambda: pooled(
        lambda h: F.interpolate(h, scale_factor=2.0, mode="linear").mean(-1)
    ),
    "reflected": lambda: pooled(lambda h: F.pad(h, (1, 2), mode="reflect").mean(-1)),
    "windows": lambda: pooled(lambda h: h.unfold(-1, 3, 2).amax((-1, -2))),
    "sums so far": lambda: pooled(lambda h: h.cumsum(-1).amax(-1)),
    "triangle": lambda: pooled(lambda h: h.tril(3).mean(-1)),
    "places": lambda: pooled(lambda h: h.argmax(-1).float()),
    "places of the largest": lambda: pooled(lambda h: h.max(-1)[1] * 2.0),
}


@pytest.mark.parametrize("case", a_third_quick(NEIGHBOURS))
def test_units_held_back_by_a_rule_are_frozen_with_its_reason(case):
    torch.manual_seed(0)
    model, inputs = NEIGHBOURS[case]()
    spec = permutation_spec(model, *inputs)
    assert 12 not in spec.groups.values()
    lines = [line for line in spec.frozen if line.startswith("units of first: aten.")]
    assert lines, spec.frozen
    assert all(" at node " in line and " in module " in line for line in lines)
