"""Activation matching also reads what no module returns, and says which groups it cannot read."""

from collections import Counter

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from llfc import connect
from llfc.matching import PermutationSpec, match, permutation_spec
from tests.helpers.matchable_pairs import permuted
from tests.helpers.quick_cases import slow_unless
from tests.helpers.seeded_networks import randn, seeded
from tests.helpers.wired_networks import Net, chain

lin, conv = nn.Linear, nn.Conv2d


def transformer(batch_first=True, norm_first=False):
    layer = nn.TransformerEncoderLayer(
        8, 2, 12, dropout=0.1, batch_first=batch_first, norm_first=norm_first
    )
    mean = 1 if batch_first else 0
    return Net(
        lambda m, x: m.head(m.encoder(m.embed(x)).mean(mean)),
        embed=lin(6, 8),
        encoder=nn.TransformerEncoder(layer, 2, enable_nested_tensor=False),
        head=lin(8, 3),
    )


def written_out():
    """Attention by hand: queries, keys and values apart, a softmax that can be read."""

    def forward(m, x):
        q, k, v = (part(x).unflatten(-1, (2, 4)).transpose(1, 2) for part in (m.q, m.k, m.v))
        mixed = (q @ k.mT / 2).softmax(-1) @ v
        return m.head(m.out(mixed.transpose(1, 2).flatten(2)).relu().mean(1))

    return Net(forward, q=lin(6, 8), k=lin(6, 8), v=lin(6, 8), out=lin(8, 5), head=lin(5, 3))


def with_weights():
    """Attention that also returns its weights: heads and images lie on one dimension."""
    return Net(
        lambda m, x: m.head(m.core(x, x, x)[0].mean(1)),
        core=nn.MultiheadAttention(6, 2, batch_first=True),
        head=lin(6, 3),
    )


def looked_up():
    return Net(
        lambda m, x: m.head(F.relu(m.hidden(m.table((x > 0).long().sum(-1)))).mean(1)),
        table=nn.Embedding(7, 6),
        hidden=lin(6, 8),
        head=lin(8, 3),
    )


def mixer():
    """Token and channel perceptrons: hidden units of tokens lie beside channels."""

    def forward(m, x):
        x = m.embed(x)
        x = x + m.down(F.gelu(m.up(x.mT))).mT
        return m.head(F.relu(x).mean(1))

    return Net(forward, embed=lin(6, 8), up=lin(4, 7), down=lin(7, 4), head=lin(8, 3))


def recurrent(kind):
    return Net(
        lambda m, x: m.head(m.core(m.embed(x))[0][:, -1]),
        embed=lin(6, 5),
        core=kind(5, 7, batch_first=True),
        head=lin(7, 3),
    )


class Parts(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.two = lin(6, 5), lin(6, 4)

    def forward(self, x):
        return {"one": F.relu(self.one(x)), "rest": (F.relu(self.two(x)), None)}


def dictionary():
    def forward(m, x):
        parts = m.parts(x)
        return m.head(torch.cat([parts["one"], parts["rest"][0]], -1).mean(1))

    return Net(forward, parts=Parts(), head=lin(9, 3))


INSIDE = {
    "transformer": transformer,
    "sequence first": lambda: transformer(batch_first=False),
    "norm first": lambda: transformer(norm_first=True),
    "written out": written_out,
    "with weights": with_weights,
    "looked up": looked_up,
    "mixer": mixer,
    "gru": lambda: recurrent(nn.GRU),
    "lstm": lambda: recurrent(nn.LSTM),
    "dictionary": dictionary,
}


# The quick tests have the smaller ones.
DEAR = {"transformer", "sequence first", "norm first", "with weights", "gru"}


@pytest.mark.parametrize("kind", slow_unless({*INSIDE} - DEAR, INSIDE))
def test_what_no_module_returns_is_read_too(kind):
    """All groups, those inside attention too; of random networks all units are found again."""
    a, x = seeded(INSIDE[kind], 0), randn(4, 4, 6)
    spec = permutation_spec(a, x[:2] if kind != "sequence first" else x)
    planted = spec.random(3)
    found = match("activations", a, permuted(a, spec, planted), spec, [randn(4, 4, 6)])
    assert not found.left_out
    assert found.record["groups_unread"] == 0
    assert spec.compose(planted, found) == spec.identity()


def test_groups_that_cannot_be_read_are_named_in_permutation_and_connection():
    a, b = (seeded(lambda: chain(lin(6, 5), nn.ReLU(), lin(5, 3)), seed) for seed in (0, 1))
    x, y = randn(8, 6), torch.arange(8) % 3
    spec = permutation_spec(a, x)
    bare = PermutationSpec(spec.groups, spec.axes)  # of a spec made by hand
    found = match("activations", a, b, bare, [x])
    assert found == bare.identity()
    assert found.left_out.keys() == spec.groups.keys()
    assert found.record["groups_unread"] == len(spec.groups)
    result = connect(
        a,
        b,
        test=(x, y),
        train=(x, y),
        matching="activations",
        spec=bare,
        correction="none",
        measures=(),
        alphas=3,
    )
    counts = Counter(each.kind for each in result.left_out)
    assert counts["group"] == len(spec.groups)
