"""Wherever the images are in what a module gives, its LLFC numbers are those of all it gives."""

import itertools

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from llfc import connect
from llfc.connectivity.probes import features_of, select_probes
from llfc.results import PROFILE
from tests.helpers.quick_cases import slow_unless
from tests.helpers.small_networks import CLASSES, random_, samples

OPTIONS = {"matching": None, "correction": "none", "alphas": 3}
EVERY = ("conditions", "samples", "similarity", "stitching", "layer-barriers")


class Sequences(nn.Module):
    """A transformer encoder on [images, tokens, 6], images first or second inside it."""

    def __init__(self, *, first, prenorm=False):
        super().__init__()
        self.first = first
        self.embed = nn.Linear(6, 4)
        layer = nn.TransformerEncoderLayer(
            4, 2, 8, dropout=0, batch_first=first, norm_first=prenorm
        )
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(4, CLASSES)

    def forward(self, x):
        x = self.embed(x)
        x = self.encoder(x) if self.first else self.encoder(x.transpose(0, 1)).transpose(0, 1)
        return self.head(x.mean(1))


class Recurrent(nn.Module):
    def __init__(self, *, first, kind=nn.GRU):
        super().__init__()
        self.first = first
        self.cells = kind(6, 5, batch_first=first)
        self.head = nn.Linear(5, CLASSES)

    def forward(self, x):
        out, _ = self.cells(x if self.first else x.transpose(0, 1))
        return self.head(out[:, -1] if self.first else out[-1])


class Attention(nn.Module):
    """No residual block: attention gives its features beside its weights."""

    def __init__(self, *, first):
        super().__init__()
        self.first = first
        self.attend = nn.MultiheadAttention(6, 2, batch_first=first)
        self.relu, self.head = nn.ReLU(), nn.Linear(6, CLASSES)

    def forward(self, x):
        x = x if self.first else x.transpose(0, 1)
        x, _ = self.attend(x, x, x)
        return self.head(self.relu(x).mean(1 if self.first else 0))


class Given(nn.Module):
    """A residual block that gives its feature as a part of something."""

    def __init__(self, how):
        super().__init__()
        self.how, self.one = how, nn.Linear(6, 6)

    def forward(self, x):
        x = x + F.relu(self.one(x))
        return {"tensor": x, "tuple": (None, x), "dict": {"size": 6, "state": [x]}}[self.how]


class Blocks(nn.Module):
    def __init__(self, how):
        super().__init__()
        self.how, self.head = how, nn.Linear(6, CLASSES)
        self.blocks = nn.ModuleList([Given(how), Given(how)])

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
            x = {"tensor": lambda x: x, "tuple": lambda x: x[1], "dict": lambda x: x["state"][0]}[
                self.how
            ](x)
        return self.head(x.mean(1))


class Folded(nn.Module):
    """Tokens that are images of their own to the layers: images-major, or tokens-major."""

    def __init__(self, how):
        super().__init__()
        self.how = how
        self.one, self.relu, self.head = nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, CLASSES)

    def forward(self, x):
        count = len(x)
        if self.how == "first":
            return self.head(self.relu(self.one(x)).mean(1))
        if self.how == "major":
            x = self.relu(self.one(x.flatten(0, 1))).unflatten(0, (count, -1))
        else:
            x = x.transpose(0, 1)
            x = self.relu(self.one(x.flatten(0, 1))).unflatten(0, (-1, count)).transpose(0, 1)
        return self.head(x.mean(1))


# Networks of one function, the plainest first.
TWINS = {
    "encoder": [lambda first=first: Sequences(first=first) for first in (True, False)],
    "prenorm": [
        lambda first=first: Sequences(first=first, prenorm=True) for first in (True, False)
    ],
    "GRU": [lambda first=first: Recurrent(first=first) for first in (True, False)],
    "LSTM": [lambda first=first: Recurrent(first=first, kind=nn.LSTM) for first in (True, False)],
    "attention": [lambda first=first: Attention(first=first) for first in (True, False)],
    "parts": [lambda how=how: Blocks(how) for how in ("tensor", "tuple", "dict")],
    "folded": [lambda how=how: Folded(how) for how in ("first", "major", "minor")],
}
ENCODER = [
    f"encoder.layers.{at}{part}" for at in (0, 1) for part in (".self_attn", ".dropout:input", "")
]
PROBED = {
    "encoder": ["embed", *ENCODER, "head"],
    "prenorm": ["embed", *ENCODER, "head"],
    "GRU": ["cells", "head"],
    "LSTM": ["cells", "head"],
    "attention": ["attend", "relu", "head"],
    "parts": ["blocks.0", "blocks.1", "head"],
    "folded": ["one", "relu", "head"],
}
every_twin = pytest.mark.parametrize("name", TWINS)


def pair(make):
    return [random_(make(), seed).eval() for seed in (0, 1)]


def in_batches(images, labels, sizes):
    return list(zip(images.split(sizes), labels.split(sizes), strict=True))


def same(one, other):
    assert [layer.name for layer in one.layers] == [layer.name for layer in other.layers]
    for x, y in zip(one.layers, other.layers, strict=True):
        assert (x.kind, x.depth) == (y.kind, y.depth)
        assert x.baseline == pytest.approx(y.baseline, abs=1e-9)
        for column in PROFILE:
            assert getattr(x, column) == pytest.approx(getattr(y, column), abs=1e-6), column
    assert one.summaries == pytest.approx(other.summaries, abs=1e-6, nan_ok=True)


# As few as images in an example, and as in a batch.
@pytest.mark.parametrize(
    ("name", "tokens"),
    slow_unless(
        [(name, 2) for name in TWINS if name not in ("encoder", "prenorm")],
        [*itertools.product(TWINS, (2, 3, 9))],
        [*itertools.product(TWINS, (3,))],
    ),
)
def test_twins_have_equal_numbers(name, tokens):
    images, labels = samples(9, (tokens, 6))
    plain, *others = TWINS[name]
    expected = connect(*pair(plain), test=(images, labels), measures=EVERY, **OPTIONS)
    assert [layer.name for layer in expected.layers] == PROBED[name]
    assert not expected.left_out
    for make in others:
        found = connect(*pair(make), test=(images, labels), measures=EVERY, **OPTIONS)
        same(found, expected)
        assert not found.left_out


@every_twin
@pytest.mark.parametrize("sizes", slow_unless([[2, 2, 2, 1]], [[1] * 7, [2, 2, 2, 1], [3, 1, 3]]))
def test_batching_changes_nothing(name, sizes):
    images, labels = samples(7, (2, 6))
    make = TWINS[name][-1]
    whole = connect(*pair(make), test=(images, labels), measures=(), **OPTIONS)
    parts = in_batches(images, labels, sizes)
    same(connect(*pair(make), test=parts, measures=(), **OPTIONS), whole)


def test_numbers_are_those_of_all_features_in_memory():
    a, b = pair(TWINS["encoder"][1])
    images, labels = samples(7, (2, 6))
    found = connect(a, b, test=(images, labels), measures=(), batch_size=3, **OPTIONS)
    blend = random_(TWINS["encoder"][1](), 0).eval()
    with torch.no_grad():
        for into, x, y in zip(*(m.parameters() for m in (blend, a, b)), strict=True):
            into.copy_((x + y) / 2)
    features = []
    for model in (a, b, blend):
        layer, kept = model.encoder.layers[0], []
        handle = layer.register_forward_hook(lambda m, i, out, kept=kept: kept.append(out))
        with torch.no_grad():
            model(images)
        handle.remove()
        features.append(np.stack([kept[0][:, i].flatten().numpy() for i in range(7)]))
    f_a, f_b, f = features
    g = (f_a + f_b) / 2

    def cosine(x, y):
        return (x * y).sum(1) / np.linalg.norm(x, axis=1) / np.linalg.norm(y, axis=1)

    (layer,) = (layer for layer in found.layers if layer.name == "encoder.layers.0")
    assert layer.cos_error[1] == pytest.approx((1 - cosine(f, g)).mean(), abs=1e-12)
    assert layer.baseline == pytest.approx((1 - cosine(f_a, f_b)).mean(), abs=1e-12)
    assert layer.coef[1] == pytest.approx(((f * g).sum(1) / (g * g).sum(1)).mean(), abs=1e-12)


def test_complex_features_are_real_and_imaginary_parts():
    class Waves(nn.Module):
        def __init__(self):
            super().__init__()
            self.fourier, self.head = Fourier(), nn.Linear(8, CLASSES)

        def forward(self, x):
            return self.head(torch.view_as_real(self.fourier(x)).flatten(1))

    class Fourier(nn.Module):
        def forward(self, x):
            return torch.fft.rfft(x)

    model, (images, _) = random_(Waves(), 0).eval(), samples(5, (6,))
    (probe,) = select_probes(model, images, ["fourier"]).probes
    (rows,) = features_of(model, (probe,), images)
    expected = torch.fft.rfft(images)
    assert torch.allclose(rows @ rows.T, (expected @ expected.conj().T).real)
