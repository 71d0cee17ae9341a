"""The derived groups of small networks, against groups counted by hand."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tests.helpers.quick_cases import a_third_quick
from tests.helpers.wired_networks import (
    Net,
    P,
    assert_groups,
    chain,
    conv,
    image,
    lin,
    on_tokens,
)


def residual(m, x):
    x = m.stem(x)
    return m.head(x + m.body(x))


def option_a(m, x):
    x = m.stem(x)
    return m.head(F.relu(m.conv(x) + F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 2, 2))))


def dense(m, x):
    x = m.stem(x)
    x = torch.cat([x, m.grow(F.relu(m.norm(x)))], 1)
    return m.head(F.relu(m.last(x)))


def split_glu(m, x):
    a, b = m.up(x).chunk(2, -1)
    return m.down(a * torch.sigmoid(b))


def channel_shuffle(m, x):
    x = m.stem(x)
    n, c, h, w = x.shape
    x = x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)
    a, b = x.chunk(2, 1)
    return m.head(torch.cat([a, m.body(b)], 1))


def squeeze_excite(m, x):
    x = m.stem(x)
    gate = torch.sigmoid(m.up(F.relu(m.down(F.adaptive_avg_pool2d(x, 1)))))
    return m.head(x * gate)


def tied_embedding(m, tokens):
    return F.linear(torch.tanh(m.hidden(m.table(tokens))), m.table.weight)


def class_token(m, x):
    x = m.embed(x)
    x = torch.cat([m.token.expand(len(x), -1, -1), x], 1) + m.place
    return m.head(m.norm(x)[:, 0])


def two_inputs(m, x, y):
    h = m.a(x) + m.b(y)
    return m.c(F.relu(h)), m.d(h)


def patch_merging(m, x):
    x = m.stem(x).permute(0, 2, 3, 1)
    x = torch.cat([x[:, i::2, j::2] for i in (0, 1) for j in (0, 1)], -1)
    return m.head(F.gelu(m.reduce(m.norm(x))))


def sliced_use(m, x):
    x = m.stem(x)
    return m.head(torch.cat([F.relu(x[:, :3]), torch.sigmoid(x[:, 3:])], 1))


def twice(m, x):
    x = m.stem(x)
    return m.head(F.relu(m.again(F.relu(m.again(x)))))


# name -> (model, inputs, the sizes of its groups)
CASES = {
    "mlp": lambda: (chain(lin(4, 5), nn.ReLU(), lin(5, 3)), [torch.randn(2, 4)], [5]),
    "batch norm": lambda: (
        chain(conv(3, 5, 3), nn.BatchNorm2d(5), nn.ReLU(), conv(5, 2, 1)),
        [image()],
        [5],
    ),
    "layer norm": lambda: (
        chain(lin(4, 5), nn.LayerNorm(5), nn.GELU(), lin(5, 2)),
        [torch.randn(2, 4)],
        [5],
    ),
    "rms norm": lambda: (chain(lin(4, 5), nn.RMSNorm(5), lin(5, 2)), [torch.randn(2, 4)], [5]),
    "instance norm": lambda: (
        chain(conv(3, 5, 3), nn.InstanceNorm2d(5, affine=True), conv(5, 2, 1)),
        [image()],
        [5],
    ),
    "group norm of one": lambda: (
        chain(conv(3, 6, 3), nn.GroupNorm(1, 6), conv(6, 2, 1)),
        [image()],
        [6],
    ),
    "group norm": lambda: (
        chain(conv(3, 6, 3), nn.GroupNorm(3, 6), conv(6, 2, 1)),
        [image()],
        [3, 2, 2, 2],
    ),
    "grouped convolution": lambda: (
        chain(conv(3, 6, 3), nn.ReLU(), conv(6, 4, 3, groups=2), nn.ReLU(), conv(4, 2, 1)),
        [image()],
        [2, 3, 3, 2, 2],
    ),
    # The first group reads four of six channels; the second reads two of them and two others.
    "groups across a concatenation": lambda: (
        Net(
            lambda m, x: m.last(m.mid(torch.cat([m.a(x), m.b(x)], 1))),
            a=conv(3, 6, 1),
            b=conv(3, 2, 1),
            mid=conv(8, 6, 1, groups=2),
            last=conv(6, 2, 1),
        ),
        [image()],
        [4, 2, 2, 3, 3],
    ),
    "depthwise": lambda: (
        chain(conv(3, 6, 3), conv(6, 6, 3, groups=6), nn.ReLU(), conv(6, 2, 1)),
        [image()],
        [6],
    ),
    "depthwise with multiplier": lambda: (
        chain(conv(3, 3, 3), conv(3, 6, 3, groups=3), nn.ReLU(), conv(6, 2, 1)),
        [image()],
        [3, 2, 2, 2],
    ),
    "transposed": lambda: (
        chain(conv(3, 6, 3), nn.ConvTranspose2d(6, 4, 3, groups=2), conv(4, 2, 1)),
        [image()],
        [2, 3, 3, 2, 2],
    ),
    "one and three dimensions": lambda: (
        chain(nn.Conv1d(3, 5, 3, dilation=2, stride=2), nn.ReLU(), nn.Conv1d(5, 2, 1)),
        [torch.randn(2, 3, 9)],
        [5],
    ),
    "three dimensions": lambda: (
        chain(nn.Conv3d(2, 5, 2), nn.ReLU(), nn.Conv3d(5, 2, 1)),
        [torch.randn(2, 2, 4, 4, 4)],
        [5],
    ),
    "per-channel prelu": lambda: (
        chain(conv(3, 5, 3), nn.PReLU(5), conv(5, 2, 1)),
        [image()],
        [5],
    ),
    "flatten with extent": lambda: (
        chain(conv(3, 5, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), lin(20, 4), lin(4, 2)),
        [image()],
        [5, 4],
    ),
    "residual": lambda: (
        Net(
            residual,
            stem=conv(3, 5, 1),
            body=chain(conv(5, 4, 1), conv(4, 5, 1)),
            head=conv(5, 2, 1),
        ),
        [image()],
        [5, 4],
    ),
    "zero-padded shortcut": lambda: (
        Net(option_a, stem=conv(3, 4, 1), conv=conv(4, 8, 3, 2, 1), head=conv(8, 2, 1)),
        [image()],
        [4, 4],
    ),
    "dense": lambda: (
        Net(
            dense,
            stem=conv(3, 4, 1),
            norm=nn.BatchNorm2d(4),
            grow=conv(4, 3, 1),
            last=conv(7, 5, 1),
            head=conv(5, 2, 1),
        ),
        [image()],
        [4, 3, 5],
    ),
    "glu by chunk": lambda: (
        Net(split_glu, up=lin(4, 10), down=lin(5, 2)),
        [torch.randn(2, 4)],
        [5],
    ),
    "glu": lambda: (chain(lin(4, 10), nn.GLU(), lin(5, 2)), [torch.randn(2, 4)], [5]),
    "squeeze and excite": lambda: (
        Net(
            squeeze_excite,
            stem=conv(3, 6, 1),
            down=conv(6, 2, 1),
            up=conv(2, 6, 1),
            head=conv(6, 2, 1),
        ),
        [image()],
        [6, 2],
    ),
    # Even channels go on untouched or through the body, as do odd ones: halves of two cells each.
    "channel shuffle": lambda: (
        Net(channel_shuffle, stem=conv(3, 8, 1), body=conv(4, 4, 1), head=conv(8, 2, 1)),
        [image()],
        [4, 4, 4],
    ),
    "slices used differently": lambda: (
        Net(sliced_use, stem=conv(3, 7, 1), head=conv(7, 2, 1)),
        [image()],
        [3, 4],
    ),
    "class token": lambda: (
        *on_tokens(class_token, token=P(1, 1, 6), place=P(1, 5, 6), norm=nn.LayerNorm(6)),
        [6],
    ),
    "tied embedding": lambda: (
        Net(tied_embedding, table=nn.Embedding(7, 5), hidden=lin(5, 5)),
        [torch.tensor([[1, 2, 3]])],
        [5],  # the table's units are the inputs of `hidden` and its outputs
    ),
    "patch merging": lambda: (
        Net(
            patch_merging,
            stem=conv(3, 3, 1),
            norm=nn.LayerNorm(12),
            reduce=lin(12, 6),
            head=lin(6, 2),
        ),
        [image()],
        [3, 6],
    ),
    "layer used twice": lambda: (
        Net(twice, stem=lin(4, 5), again=lin(5, 5), head=lin(5, 2)),
        [torch.randn(2, 4)],
        [5],
    ),
    "two inputs and outputs": lambda: (
        Net(two_inputs, a=lin(4, 5), b=lin(3, 5), c=lin(5, 2), d=lin(5, 2)),
        [torch.randn(2, 4), torch.randn(2, 3)],
        [5],
    ),
}


@pytest.mark.parametrize("case", a_third_quick(CASES))
def test_groups_are_those_counted_by_hand(case):
    torch.manual_seed(0)
    assert_groups(*CASES[case]())
