"""The derived groups of small networks, against groups counted by hand."""

from collections import Counter

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from llfc.matching.symmetry import permutation_spec


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


def heads_by_reshape(m, x):
    x = m.embed(x)
    n, t, _ = x.shape
    q, k, v = (f(x).reshape(n, t, 2, 3).transpose(1, 2) for f in (m.q, m.k, m.v))
    y = torch.softmax(q @ k.transpose(-1, -2) / 3**0.5, -1) @ v
    return m.head(x + m.out(y.transpose(1, 2).reshape(n, t, 6)))


def fused_qkv(m, x):
    x = m.embed(x)
    n, t, _ = x.shape
    q, k, v = m.qkv(x).reshape(n, t, 3, 2, 3).permute(2, 0, 3, 1, 4).unbind(0)
    y = F.scaled_dot_product_attention(q, k, v)
    return m.head(x + m.out(y.transpose(1, 2).reshape(n, t, 6)))


def grouped_queries(m, x):
    x = m.embed(x)
    n, t, _ = x.shape
    q = m.q(x).view(n, t, 4, 3).transpose(1, 2)
    k, v = (f(x).view(n, t, 2, 3).transpose(1, 2) for f in (m.k, m.v))
    k, v = (y[:, :, None].expand(n, 2, 2, t, 3).reshape(n, 4, t, 3) for y in (k, v))
    y = F.scaled_dot_product_attention(q, k, v)
    return m.head(x + m.out(y.transpose(1, 2).reshape(n, t, 12)))


def einsum_heads(m, x):
    x = m.embed(x)
    q, k, v = (torch.einsum("bte,hde->bhtd", x, w) for w in (m.q, m.k, m.v))
    y = torch.softmax(torch.einsum("bhid,bhjd->bhij", q, k), -1)
    y = torch.einsum("bhij,bhjd->bhid", y, v)
    return m.head(x + torch.einsum("bhtd,hde->bte", y, m.out))


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


def attention(x=6, heads=2):
    return nn.MultiheadAttention(x, heads, batch_first=True)


def multihead(m, x):
    x = m.embed(x)
    return m.head(x + m.mha(x, x, x, need_weights=False)[0])


tokens = torch.randn(2, 4, 5)
lin, conv = nn.Linear, nn.Conv2d
P = lambda *s: nn.Parameter(torch.randn(*s))  # noqa: E731

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
    "multi-head attention": lambda: (
        Net(multihead, embed=lin(5, 6), mha=attention(), head=lin(6, 2)),
        [tokens],
        [6, 2, 3, 3, 3, 3],
    ),
    "heads by reshape": lambda: (
        Net(
            heads_by_reshape,
            embed=lin(5, 6),
            q=lin(6, 6),
            k=lin(6, 6),
            v=lin(6, 6),
            out=lin(6, 6),
            head=lin(6, 2),
        ),
        [tokens],
        [6, 2, 3, 3, 3, 3],
    ),
    "fused qkv": lambda: (
        Net(fused_qkv, embed=lin(5, 6), qkv=lin(6, 18), out=lin(6, 6), head=lin(6, 2)),
        [tokens],
        [6, 2, 3, 3, 3, 3],
    ),
    "heads by einsum": lambda: (
        Net(
            einsum_heads,
            embed=lin(5, 6),
            q=P(2, 3, 6),
            k=P(2, 3, 6),
            v=P(2, 3, 6),
            out=P(2, 3, 6),
            head=lin(6, 2),
        ),
        [tokens],
        [6, 2, 3, 3, 3, 3],
    ),
    # Two key heads, two queries in each, three units for keys and three for values in each.
    "grouped queries": lambda: (
        Net(
            grouped_queries,
            embed=lin(5, 6),
            q=lin(6, 12),
            k=lin(6, 6),
            v=lin(6, 6),
            out=lin(12, 6),
            head=lin(6, 2),
        ),
        [tokens],
        [6, 2, 2, 2, 3, 3, 3, 3],
    ),
    "class token": lambda: (
        Net(
            class_token,
            embed=lin(5, 6),
            token=P(1, 1, 6),
            place=P(1, 5, 6),
            norm=nn.LayerNorm(6),
            head=lin(6, 2),
        ),
        [tokens],
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


@pytest.mark.parametrize("case", CASES)
def test_groups_are_those_counted_by_hand(case):
    torch.manual_seed(0)
    model, inputs, sizes = CASES[case]()
    spec = permutation_spec(model, *inputs)
    assert Counter(spec.groups.values()) == Counter(sizes), str(spec)
