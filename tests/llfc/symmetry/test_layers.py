"""Layers one by one: the groups counted by hand."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tests.helpers.quick_cases import slow_unless
from tests.helpers.wired_networks import (
    Net,
    P,
    assert_groups,
    chain,
    conv,
    image,
    lin,
    on_tokens,
    tokens,
)


def experts(m, x):
    x = m.embed(x)
    y = torch.einsum("bd,edh->beh", x, m.up).relu()
    return m.head(torch.einsum("be,beh,ehd->bd", m.gate(x).softmax(-1), y, m.down))


def routed(m, x):
    x = m.embed(x)
    gate = m.gate(x)
    values, places = gate.topk(2, -1)
    weight = torch.zeros_like(gate).scatter(-1, places, values.softmax(-1))
    return m.head((torch.stack([m.a(x), m.b(x), m.c(x)], 1) * weight[..., None]).sum(1))


def mixer(m, x):
    x = m.embed(x)
    x = x + m.wide(F.gelu(m.mix(m.norm(x).transpose(1, 2)))).transpose(1, 2)
    return m.head(x.mean(1))


def recurrent(layer, outputs=4, x=tokens):
    return Net(lambda m, x: m.head(m.layer(x)[0]), layer=layer, head=lin(outputs, 2)), [x]


def standardised(m, x):
    w = m.w - m.w.mean((1, 2, 3), keepdim=True)
    w = w / (m.w.std((1, 2, 3), keepdim=True) + 1e-5)
    x = m.stem(x)
    return m.head(F.relu(F.conv2d(x, w, groups=x.shape[1] // w.shape[1])))


norms = nn.utils.parametrizations

# name -> (model, inputs, the sizes of its groups)
CASES = {
    "weight norm": lambda: (
        chain(norms.weight_norm(lin(3, 5)), nn.ReLU(), norms.weight_norm(lin(5, 2))),
        [torch.randn(2, 3)],
        [5],
    ),
    "spectral norm": lambda: (
        chain(norms.spectral_norm(lin(3, 5)), nn.ReLU(), norms.spectral_norm(lin(5, 2))),
        [torch.randn(2, 3)],
        [5],
    ),
    "weight standardisation": lambda: (
        Net(standardised, stem=conv(3, 6, 1), w=P(5, 6, 3, 3), head=conv(5, 2, 1)),
        [image()],
        [6, 5],
    ),
    "weight standardisation in groups": lambda: (
        Net(standardised, stem=conv(3, 6, 1), w=P(4, 3, 3, 3), head=conv(4, 2, 1)),
        [image()],
        [2, 3, 3, 2, 2],
    ),
    "low rank": lambda: (
        Net(
            lambda m, x: m.last(F.relu(F.linear(x, m.w + m.a @ m.b))),
            w=P(5, 3),
            a=P(5, 2),
            b=P(2, 3),
            last=lin(5, 2),
        ),
        [torch.randn(2, 3)],
        [5, 2],
    ),
    "lstm": lambda: (*recurrent(nn.LSTM(5, 4, batch_first=True)), [4]),
    "lstm, two layers both ways": lambda: (
        *recurrent(nn.LSTM(5, 4, 2, batch_first=True, bidirectional=True), 8),
        [4, 4, 4, 4],
    ),
    "the last state of two layers": lambda: (
        Net(lambda m, x: m.head(m.layer(x)[1][-1]), layer=nn.GRU(5, 4, 2), head=lin(4, 2)),
        [tokens],
        [4, 4],
    ),
    "lstm over many steps": lambda: (
        *recurrent(nn.LSTM(5, 4, batch_first=True), x=torch.randn(2, 400, 5)),
        [4],
    ),
    "gru": lambda: (*recurrent(nn.GRU(5, 4, batch_first=True)), [4]),
    "bilinear": lambda: (
        Net(
            lambda m, x: m.last(F.relu(m.both(m.a(x), m.b(x)))),
            a=lin(3, 5),
            b=lin(3, 4),
            both=nn.Bilinear(5, 4, 3),
            last=lin(3, 2),
        ),
        [torch.randn(2, 3)],
        [5, 4, 3],
    ),
    # Groups of six, then runs of eight: what lies in both of one pair is a group.
    "runs across groups": lambda: (
        chain(conv(3, 12, 1), conv(12, 24, 1, groups=4), nn.GroupNorm(3, 24), conv(24, 2, 1)),
        [image()],
        [3, 3, 3, 3, 6, 2, 4, 4, 2, 6],
    ),
    "mixer": lambda: (
        *on_tokens(mixer, norm=nn.LayerNorm(6), mix=lin(4, 7), wide=lin(7, 4)),
        [6, 7],
    ),
    "experts": lambda: (
        Net(
            experts, embed=lin(3, 6), gate=lin(6, 3), up=P(3, 6, 4), down=P(3, 4, 5), head=lin(5, 2)
        ),
        [torch.randn(2, 3)],
        [6, 5, 3, 4, 4, 4],
    ),
    "routed experts": lambda: (
        Net(
            routed,
            embed=lin(3, 6),
            gate=lin(6, 3),
            a=lin(6, 4),
            b=lin(6, 4),
            c=lin(6, 4),
            head=lin(4, 2),
        ),
        [torch.randn(2, 3)],
        [6, 4],
    ),
    "gru cell": lambda: (
        Net(
            lambda m, x: m.head(m.cell(x[:, 1], m.cell(x[:, 0]))),
            cell=nn.GRUCell(5, 4),
            head=lin(4, 2),
        ),
        [tokens],
        [4],
    ),
    "lstm cell": lambda: (
        Net(
            lambda m, x: m.head(m.cell(x[:, 1], m.cell(x[:, 0]))[0]),
            cell=nn.LSTMCell(5, 4),
            head=lin(4, 2),
        ),
        [tokens],
        [4],
    ),
    "bags": lambda: (
        chain(nn.EmbeddingBag(7, 5), lin(5, 2)),
        [torch.tensor([[1, 2, 3]])],
        [5],
    ),
}


# The quick tests have recurrent layers of one direction and few steps.
DEAR = {"lstm over many steps", "lstm, two layers both ways", "the last state of two layers"}


@pytest.mark.parametrize("case", slow_unless({*[*CASES][::2]} - DEAR, CASES))
def test_groups_are_those_counted_by_hand(case):
    torch.manual_seed(0)
    assert_groups(*CASES[case]())
