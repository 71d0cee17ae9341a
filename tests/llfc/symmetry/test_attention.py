"""Attention heads in every spelling: the groups counted by hand."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tests.helpers.quick_cases import slow_unless
from tests.helpers.wired_networks import (
    Net,
    P,
    assert_groups,
    attention,
    conv,
    image,
    lin,
    on_tokens,
    tokens,
)


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


def multihead(m, x):
    x = m.embed(x)
    return m.head(x + m.mha(x, x, x, need_weights=False)[0])


def heads(function, qkv=18, inner=6, **more):
    """An attention layer: `function(m, x)` from embedded tokens to the heads' results."""

    def forward(m, x):
        y = function(m, m.embed(x))
        return m.head(m.out(y))

    modules = {"embed": lin(5, 6), "qkv": lin(6, qkv), "out": lin(inner, 6), "head": lin(6, 2)}
    return Net(forward, **(modules | more)), [tokens]


def rotary(m, x):
    n, t, _ = x.shape
    angle = torch.arange(float(t))[:, None] * torch.tensor([1.0, 0.3, 1.0, 0.3])

    def turned(y):
        return y * angle.cos() + torch.cat([-y[..., 2:], y[..., :2]], -1) * angle.sin()

    q, k, v = m.qkv(x).reshape(n, t, 3, 2, 4).permute(2, 0, 3, 1, 4)
    y = F.scaled_dot_product_attention(turned(q), turned(k), v, is_causal=True)
    return y.transpose(1, 2).reshape(n, t, 8)


def interleaved(m, x):
    n, t, _ = x.shape
    q, k, v = m.qkv(x).view(n, t, 2, 9).transpose(1, 2).chunk(3, -1)
    return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, t, 6)


def unequal(m, x):
    n, t, _ = x.shape
    q, k, v = m.qkv(x).view(n, t, 2, 10).transpose(1, 2).split([3, 3, 4], -1)
    return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, t, 8)


def faster(m, x):
    """Heads vary faster than the units in them: "(d h)"."""
    n, t, _ = x.shape
    q, k, v = m.qkv(x).view(n, t, 3, 3, 2).permute(2, 0, 4, 1, 3)
    return F.scaled_dot_product_attention(q, k, v).permute(0, 2, 3, 1).reshape(n, t, 6)


def fastest(m, x):
    """ "(d qkv h)"."""
    n, t, _ = x.shape
    q, k, v = m.qkv(x).view(n, t, 3, 3, 2).permute(3, 0, 4, 1, 2)
    return F.scaled_dot_product_attention(q, k, v).permute(0, 2, 3, 1).reshape(n, t, 6)


def shared_norms(m, x):
    n, t, _ = x.shape
    q, k, v = m.qkv(x).reshape(n, t, 3, 2, 3).permute(2, 0, 3, 1, 4)
    y = F.scaled_dot_product_attention(m.norm(q), m.norm(k), v)
    return y.transpose(1, 2).reshape(n, t, 6)


def over_units(m, x):
    n, t, _ = x.shape
    q, k, v = m.qkv(x).reshape(n, t, 3, 2, 3).permute(2, 0, 3, 4, 1)
    scores = F.normalize(q, dim=-1) @ F.normalize(k, dim=-1).transpose(-1, -2)
    return ((scores * m.scale).softmax(-1) @ v).permute(0, 3, 1, 2).reshape(n, t, 6)


def one_key_head(m, x):
    n, t, _ = x.shape
    q, k, v = m.qkv(x).split([12, 3, 3], -1)
    q = q.view(n, t, 4, 3).transpose(1, 2)
    y = (q @ k[:, None].transpose(-1, -2)).softmax(-1) @ v[:, None]
    return y.transpose(1, 2).reshape(n, t, 12)


def windows_with_bias(m, x):
    """Swin in small: four phases of pixels become channels, then windows attend with a bias."""
    x = m.stem(x).permute(0, 2, 3, 1)
    x = m.merge(torch.cat([x[:, i::2, j::2] for i in (0, 1) for j in (0, 1)], -1))
    x = x.view(2, 2, 2, 2, 2, 6).permute(0, 1, 3, 2, 4, 5).reshape(8, 4, 6)
    q, k, v = m.qkv(x).reshape(8, 4, 3, 2, 3).permute(2, 0, 3, 1, 4)
    bias = m.table[m.places].view(4, 4, 2).permute(2, 0, 1)
    y = (q @ k.transpose(-1, -2) + bias).softmax(-1) @ v
    return m.head(m.out(y.transpose(1, 2).reshape(8, 4, 6)))


def swin():
    model = Net(
        windows_with_bias,
        stem=conv(3, 3, 1),
        merge=lin(12, 6),
        qkv=lin(6, 18),
        table=P(7, 2),
        out=lin(6, 6),
        head=lin(6, 2),
    )
    places = torch.arange(4)[:, None] - torch.arange(4)[None] + 3
    model.register_buffer("places", places.flatten())
    return model, [image(side=8)]


# Embedding, two heads, three units for q/k and three for v in each; SIX: and an output of its own.
ATTENTION = [6, 2, 3, 3, 3, 3]
SIX = [6, *ATTENTION]
decoder = nn.TransformerDecoderLayer

# name -> (model, inputs, the sizes of its groups)
CASES = {
    "multi-head attention": lambda: (*on_tokens(multihead, mha=attention()), ATTENTION),
    "heads by reshape": lambda: (
        *on_tokens(heads_by_reshape, q=lin(6, 6), k=lin(6, 6), v=lin(6, 6), out=lin(6, 6)),
        ATTENTION,
    ),
    "fused qkv": lambda: (*on_tokens(fused_qkv, qkv=lin(6, 18), out=lin(6, 6)), ATTENTION),
    "heads by einsum": lambda: (
        *on_tokens(einsum_heads, **{name: P(2, 3, 6) for name in ("q", "k", "v", "out")}),
        ATTENTION,
    ),
    # Two key heads, two queries in each, three units for keys and three for values in each.
    "grouped queries": lambda: (
        *on_tokens(grouped_queries, q=lin(6, 12), k=lin(6, 6), v=lin(6, 6), out=lin(12, 6)),
        [6, 2, 2, 2, 3, 3, 3, 3],
    ),
    "decoder": lambda: (
        Net(
            lambda m, x, y: m.head(m.layer(m.embed(x), m.embed(y))),
            embed=lin(5, 6),
            layer=decoder(6, 2, 7, batch_first=True),
            head=lin(6, 2),
        ),
        [tokens, tokens.flip(0)],
        [6, 2, 3, 3, 3, 3, 2, 3, 3, 3, 3, 7],
    ),
    "keys of another width": lambda: (
        *on_tokens(
            lambda m, x: m.head(m.mha(m.embed(x), x, x)[0]),
            mha=nn.MultiheadAttention(6, 2, kdim=5, vdim=5, batch_first=True),
        ),
        SIX,
    ),
    "learned queries": lambda: (
        *on_tokens(
            lambda m, x: m.head(m.mha(m.q.expand(2, -1, -1), m.embed(x), m.embed(x))[0]),
            q=P(1, 4, 6),
            mha=attention(),
        ),
        SIX,
    ),
    "rotary": lambda: (*heads(rotary, 24, 8), [6, 6, 2, 4, 4]),  # pairs of q/k differ in angle
    "q, k, v inside a head": lambda: (*heads(interleaved), SIX),
    "unequal runs inside a head": lambda: (*heads(unequal, 20, 8), [6, 6, 2, 3, 3, 4, 4]),
    "heads that vary faster": lambda: (*heads(faster), SIX),
    "heads and q, k, v that vary faster": lambda: (*heads(fastest), SIX),
    "norms of q and k": lambda: (*heads(shared_norms, norm=nn.LayerNorm(3)), [6, 6, 2, 3, 3, 3]),
    "attention over units": lambda: (*heads(over_units, scale=P(2, 1, 1)), SIX),
    "one key head": lambda: (*heads(one_key_head, 18, 12), [6, 6, 4, 3, 3]),
    "windows with a bias": lambda: (*swin(), [3, 6, 6, 2, 3, 3, 3, 3]),
}


DEAR = {"attention over units", "decoder"}


@pytest.mark.parametrize("case", slow_unless({*[*CASES][::2]} - DEAR, CASES))
def test_groups_are_those_counted_by_hand(case):
    torch.manual_seed(0)
    assert_groups(*CASES[case]())
