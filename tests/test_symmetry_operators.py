"""Operators one by one: the groups counted by hand, or one line that refuses."""

from collections import Counter

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from llfc.matching.symmetry import permutation_spec
from tests.test_symmetry import Net, P, attention, chain, conv, image, lin, tokens


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


def on_images(function, channels=4):
    return (
        Net(
            lambda m, x: m.last(function(m.first(x))),
            first=conv(3, channels, 1),
            last=conv(channels, 2, 1),
        ),
        [image()],
    )


def heads(function, qkv=18, inner=6, **more):
    """An attention layer: `function(m, x)` from embedded tokens to the heads' results."""

    def forward(m, x):
        y = function(m, m.embed(x))
        return m.head(m.out(y))

    modules = {"embed": lin(5, 6), "qkv": lin(6, qkv), "out": lin(inner, 6), "head": lin(6, 2)}
    return Net(forward, **(modules | more)), [tokens]


def two_halves(h):
    y = torch.zeros(2, 8)
    y[:, :5] = h[:, :5]
    y[:, 5:] = h[:, 5:].relu()
    return y


def through_a_view(h):
    y = torch.zeros(2, 5)
    view = y.view(5, 2)
    y.add_(h)
    return view.reshape(2, 5)


def added_to_a_slice(h):
    h[:, :3] += h[:, 2:]
    return h


def a_result_written(h):
    y = F.silu(h, inplace=True)
    y += 2 * h.flip(0)
    return h


def without_gradients(h):
    with torch.no_grad():
        return h.relu() * 2


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


def mixer(m, x):
    x = m.embed(x)
    x = x + m.wide(F.gelu(m.mix(m.norm(x).transpose(1, 2)))).transpose(1, 2)
    return m.head(x.mean(1))


def recurrent(layer):
    return Net(lambda m, x: m.head(m.layer(x)[0]), layer=layer, head=lin(4, 2)), [tokens]


def standardised(m, x):
    w = m.w - m.w.mean((1, 2, 3), keepdim=True)
    return m.head(F.relu(F.conv2d(x, w / (m.w.std((1, 2, 3), keepdim=True) + 1e-5))))


SIX = [6, 6, 2, 3, 3, 3, 3]  # embedding, output, two heads, three units for q/k and v in each
decoder = nn.TransformerDecoderLayer
norms = nn.utils.parametrizations

# name -> (model, inputs, the sizes of its groups)
CASES = {
    "sorted values": lambda: (*between(lambda h: h.sort(-1).values), [5]),
    "largest values": lambda: (*between(lambda h: h.topk(3, -1).values, out=3), [5]),
    "largest of pieces": lambda: (
        *between(lambda h: h.view(2, 5, 2).max(-1)[0], 10, 5),
        [5] + [2] * 5,
    ),
    "places of the largest": lambda: (*between(lambda h: h.sort(-1)[1].float()), []),
    "soft maximum of units": lambda: (*between(lambda h: h.softmax(-1)), [5]),
    "turned round": lambda: (*between(lambda h: h.roll(1, -1)), [5]),
    # Unit 4 of the first sample comes before unit 0 of the second.
    "turned round as a line": lambda: (*between(lambda h: h.roll(1)), [4]),
    "a constant order": lambda: (*between(lambda h: h[:, [2, 0, 3, 1, 4]]), [5]),
    # Two are read, three are not.
    "a constant mask": lambda: (
        *between(lambda h: h[:, torch.tensor([True, False, False, True, False])], 5, 2),
        [2, 3],
    ),
    "both signs": lambda: (*between(lambda h: F.relu(torch.cat([h, -h], 1)), 5, 10), [5]),
    "halves written": lambda: (*between(two_halves, 8), [5, 3]),
    "written through a view": lambda: (*between(through_a_view), [5]),
    # Units 0 and 1 take on 2 and 3, unit 2 takes on 4: 0, 1 | 2 | 2, 3 | 4, so no unit is free
    # but the pair 0-2, 1-3 is not either, as unit 2 is in both.
    "a slice added to": lambda: (*between(added_to_a_slice), []),
    "a result written": lambda: (*between(a_result_written), [5]),
    "without gradients": lambda: (*between(without_gradients), [5]),
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
        Net(standardised, w=P(5, 3, 3, 3), head=conv(5, 2, 1)),
        [image()],
        [5],
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
    "distances": lambda: (
        Net(lambda m, x: torch.cdist(m.a(x), m.c), a=lin(3, 5), c=P(4, 5)),
        [torch.randn(2, 3)],
        [5],
    ),
    "cosines": lambda: (
        Net(
            lambda m, x: F.cosine_similarity(m.a(x)[:, None], m.c[None], -1),
            a=lin(3, 5),
            c=P(4, 5),
        ),
        [torch.randn(2, 3)],
        [5],
    ),
    "patches": lambda: (
        Net(
            lambda m, x: m.last(F.relu(m.mid(F.unfold(m.first(x), 2).transpose(1, 2)))),
            first=conv(3, 4, 1),
            mid=lin(16, 3),
            last=lin(3, 2),
        ),
        [image()],
        [4, 3],
    ),
    "patches and back": lambda: (
        *on_images(lambda h: F.fold(F.unfold(h, 2, stride=2), (6, 6), 2, stride=2)),
        [4],
    ),
    "windows": lambda: (
        *on_images(lambda h: h.unfold(2, 2, 2).unfold(3, 2, 2).mean((-1, -2))),
        [4],
    ),
    "sampled": lambda: (
        *on_images(lambda h: F.grid_sample(h, torch.rand(2, 3, 3, 2), align_corners=True)),
        [4],
    ),
    "pixel shuffle": lambda: (
        chain(conv(3, 5, 1), nn.ReLU(), conv(5, 8, 1), nn.PixelShuffle(2), conv(2, 2, 1)),
        [image()],
        [5, 2],
    ),
    # Groups of six, then runs of eight: what lies in both of one pair is a group.
    "runs across groups": lambda: (
        chain(conv(3, 12, 1), conv(12, 24, 1, groups=4), nn.GroupNorm(3, 24), conv(24, 2, 1)),
        [image()],
        [3, 3, 3, 3, 6, 2, 4, 4, 2, 6],
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
        Net(
            lambda m, x: m.head(m.mha(m.embed(x), x, x)[0]),
            embed=lin(5, 6),
            mha=nn.MultiheadAttention(6, 2, kdim=5, vdim=5, batch_first=True),
            head=lin(6, 2),
        ),
        [tokens],
        SIX,
    ),
    "learned queries": lambda: (
        Net(
            lambda m, x: m.head(m.mha(m.q.expand(2, -1, -1), m.embed(x), m.embed(x))[0]),
            embed=lin(5, 6),
            q=P(1, 4, 6),
            mha=attention(),
            head=lin(6, 2),
        ),
        [tokens],
        SIX,
    ),
    "rotary": lambda: (*heads(rotary, 24, 8), [6, 6, 2, 4, 4]),  # pairs of q/k differ in angle
    "q, k, v inside a head": lambda: (*heads(interleaved), SIX),
    # No axis says how units lie that come in unequal runs inside a head: the heads move whole.
    "unequal runs inside a head": lambda: (*heads(unequal, 20, 8), [6, 6, 2]),
    "norms of q and k": lambda: (*heads(shared_norms, norm=nn.LayerNorm(3)), [6, 6, 2, 3, 3, 3]),
    "attention over units": lambda: (*heads(over_units, scale=P(2, 1, 1)), SIX),
    "one key head": lambda: (*heads(one_key_head, 18, 12), [6, 6, 4, 3, 3]),
    "windows with a bias": lambda: (*swin(), [3, 6, 6, 2, 3, 3, 3, 3]),
    "mixer": lambda: (
        Net(
            mixer,
            embed=lin(5, 6),
            norm=nn.LayerNorm(6),
            mix=lin(4, 7),
            wide=lin(7, 4),
            head=lin(6, 2),
        ),
        [tokens],
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
    "entries by place": lambda: (
        *between(
            lambda h: h.gather(1, torch.tensor([[[0], [2]], [[1], [1]]]).expand(-1, -1, 5)),
            x=torch.randn(2, 4, 3),
        ),
        [5],
    ),
    "bags": lambda: (
        chain(nn.EmbeddingBag(7, 5), lin(5, 2)),
        [torch.tensor([[1, 2, 3]])],
        [5],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_groups_are_those_counted_by_hand(case):
    torch.manual_seed(0)
    model, inputs, sizes = CASES[case]()
    spec = permutation_spec(model, *inputs)
    assert Counter(spec.groups.values()) == Counter(sizes), str(spec)


@pytest.mark.parametrize(
    ("function", "operator"),
    [
        (lambda h: torch.fft.fft(h).real, "fft_fft"),
        (lambda h: torch.linalg.inv(h.transpose(1, 2) @ h)[:, :4], "linalg_inv"),
        (lambda h: torch.zeros(2, 4, 5).scatter_add(2, torch.zeros(2, 4, 5).long(), h), "scatter"),
    ],
    ids=["fft", "inverse", "scatter"],
)
def test_what_no_rule_covers_is_refused_with_operator_node_and_module(function, operator):
    model, inputs = between(function, x=torch.randn(2, 4, 3))
    with pytest.raises(
        ValueError, match=rf"aten\.{operator}.* at node \w+ in module .+: "
    ) as caught:
        permutation_spec(model, *inputs)
    assert "\n" not in str(caught.value)
    spec = permutation_spec(model, *inputs, strict=False)
    assert any(operator in line for line in spec.frozen)


def test_a_constant_input_hides_nothing_from_the_check():
    """Zeros would: every wrong spec of the first layer keeps the function on them."""
    from llfc.matching.permutation import Factor

    model, zeros = chain(lin(4, 5), nn.ReLU(), lin(5, 2)), torch.zeros(2, 4)
    spec = permutation_spec(model, zeros)
    spec.axes["0.weight"] = (((Factor(5),),), spec.axes["0.weight"][1])
    with torch.no_grad():
        model[0].bias.zero_()
    with pytest.raises(ValueError, match="outputs in eval mode change by"):
        spec.check(model, zeros)
