"""LLFC in closed form: what a layer's numbers must be, without any stored value."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from llfc.connectivity.barrier import chord_barrier, lemma1_slack
from llfc.connectivity.blend import Line, line_positions
from llfc.connectivity.layerwise import InnerProducts, cosine, quantities
from llfc.connectivity.moments import Moments
from llfc.connectivity.path import walk
from llfc.connectivity.probes import choose_probes, products_between, products_of_ends
from llfc.connectivity.samples import Batches
from tests.helpers.small_networks import CLASSES, blended, mlp, samples, stored_features

ALPHA = line_positions(7)
seeds = pytest.mark.parametrize("seed", range(3))


def profiles(a, b, images, labels=None):
    labels = torch.zeros(len(images), dtype=torch.int64) if labels is None else labels
    line = Line(a, b, ALPHA)
    found = walk(
        line, Batches("test", (images, labels), 16, images.device), choose_probes(line.a, images)
    )
    return {layer.name: layer for layer in found.layers}, found


def exact(layer):
    return (
        abs(layer.cos_error).max() < 1e-14
        and abs(layer.coef - 1).max() < 1e-13
        and layer.residual.max() < 1e-13
    )


@seeds
def test_one_linear_layer_is_linear_in_its_weights(seed):
    images, labels = samples(30, (6,), seed)
    a, b = (mlp(2 * seed + i, sizes=(6, CLASSES)) for i in (0, 1))
    layers, found = profiles(a, b, images, labels)
    assert exact(layers["linear0"])
    assert layers["linear0"].baseline > 0.1
    assert chord_barrier(ALPHA, found.loss) == pytest.approx(0, abs=1e-15)  # the loss is convex


@seeds
@pytest.mark.parametrize("differing", [0, 1, 2])
def test_llfc_is_exact_up_to_the_single_layer_that_differs(seed, differing):
    images, _ = samples(30, (6,), seed)
    a = mlp(seed)
    b = copy.deepcopy(a)
    setattr(b, f"linear{differing}", getattr(mlp(seed + 10), f"linear{differing}"))
    layers, _ = profiles(a, b, images)
    names = list(layers)
    until = names.index(f"linear{differing}")
    assert all(exact(layers[name]) for name in names[: until + 1])
    assert not any(exact(layers[name]) for name in names[until + 1 : -1])


@seeds
@pytest.mark.parametrize("scale", [0.2, 3.0])
def test_a_scaled_network_bends_the_length_and_not_the_direction(seed, scale):
    images, _ = samples(30, (6,), seed)
    a = mlp(seed, bias=False)
    b = copy.deepcopy(a)
    with torch.no_grad():
        for parameter in b.parameters():
            parameter.mul_(scale)
    layers, _ = profiles(a, b, images)
    for depth in (1, 2, 3):
        layer = layers[f"linear{depth - 1}"]
        coef = (1 - ALPHA + ALPHA * scale) ** depth / (1 - ALPHA + ALPHA * scale**depth)
        assert layer.coef == pytest.approx(coef, rel=1e-12)
        assert layer.residual == pytest.approx(abs(coef - 1), rel=1e-12, abs=1e-14)
        assert abs(layer.cos_error).max() < 1e-14
        assert layer.cos_a == pytest.approx(1, abs=1e-14)


@seeds
def test_two_linear_layers_leave_a_parabola(seed):
    """The residual is -alpha (1 - alpha) (W_A - W_B)(H_A - H_B), and biases add nothing to it."""
    images, _ = samples(30, (6,), seed)
    first, second = nn.Linear(6, 5), nn.Linear(5, CLASSES)
    a = nn.Sequential(first, second).double()
    b = nn.Sequential(*mlp(seed, sizes=(6, 5, CLASSES))[::2])
    layers, _ = profiles(a, b, images)
    (h_a, z_a), (h_b, z_b) = (
        stored_features(model, images, ["0", "1"])[0].values() for model in (a, b)
    )
    weights = (a[1].weight - b[1].weight).detach().numpy()
    for position, alpha in enumerate(ALPHA):
        bend = -alpha * (1 - alpha) * (h_a - h_b) @ weights.T
        between = (1 - alpha) * z_a + alpha * z_b
        expected = np.linalg.norm(bend, axis=1) / np.linalg.norm(between, axis=1)
        assert layers["1"].residual[position] == pytest.approx(expected.mean(), rel=1e-9, abs=1e-13)
        _, logits = stored_features(blended(a, b, alpha), images, [])
        assert logits.numpy() == pytest.approx(between + bend, rel=1e-12)


def test_opposite_features_are_as_wrong_as_can_be():
    """1 - cos, and never 1 - |cos|."""

    class Turned(nn.Module):
        """Gives x (1 - 2 |w|): x at w = 0 or 1 in size, and -x in between, at w = +-1 / 2."""

        def __init__(self, w):
            super().__init__()
            self.w = nn.Parameter(torch.tensor(w, dtype=torch.float64))
            self.out = nn.Identity()

        def forward(self, x):
            return self.out(x * (1 - 8 * self.w * (1 - self.w)))

    images, labels = samples(20, (CLASSES,))
    line = Line(Turned(0.0), Turned(1.0), line_positions(3))
    source = Batches("test", (images, labels), 7, images.device)
    (layer,) = walk(line, source, choose_probes(line.a, images, ["out"])).layers
    assert layer.cos_error == pytest.approx([0, 2, 0], abs=1e-14)
    assert layer.coef == pytest.approx([1, -1, 1], abs=1e-14)
    assert layer.residual == pytest.approx([0, 2, 0], abs=1e-14)


@seeds
def test_lemma_1_holds_where_llfc_holds_at_the_output(seed):
    images, labels = samples(200, (6,), seed)
    a = mlp(seed)
    b = copy.deepcopy(a)
    b.linear2 = mlp(seed + 10).linear2
    layers, found = profiles(a, b, images, labels)
    assert exact(layers["linear2"])
    assert lemma1_slack(found.error) >= -1e-15


# Floors


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("step", [1e-1, 1e-2, 1e-3, 1e-4])
def test_what_is_small_keeps_its_digits(dtype, step):
    """Features of 5000 numbers that differ by `step`, against the same ones with 64 digits."""
    generator = torch.Generator().manual_seed(0)
    a, b, f = (torch.randn(20, 5000, generator=generator, dtype=torch.float64) for _ in range(3))
    b = (a + step * b).to(dtype)
    a = a.to(dtype)
    f = (torch.lerp(a, b, 0.5) + step**2 * f).to(dtype)
    given = torch.tensor([0.5], dtype=torch.float64), products(f, a, b), torch.finfo(dtype).eps
    found, _ = quantities(*given)
    x, y, z = (feature.numpy().astype(np.longdouble) for feature in (f, a, b))
    g = (y + z) / 2
    eps = torch.finfo(dtype).eps

    def error(one, other):
        """1 - cos, as half the squared distance of the two unit vectors."""
        one, other = (v / np.sqrt((v * v).sum(1, keepdims=True)) for v in (one, other))
        return ((one - other) ** 2).sum(1).astype(float) / 2

    residual = np.sqrt(((x - g) ** 2).sum(1) / (g**2).sum(1)).astype(float)
    assert found["residual"][0, 0] == pytest.approx(residual, rel=1e-4, abs=2 * eps)
    floor = eps * residual.max() + eps**2
    assert found["cos_error"][0, 0] == pytest.approx(error(x, g), rel=1e-4, abs=floor)
    assert found["baseline"][0] == pytest.approx(error(y, z), rel=1e-4, abs=eps * step)


def test_a_network_and_itself_in_float32():
    a = mlp(0).float()
    images, _ = samples(30, (6,))
    layers, _ = profiles(a, a, images.float())
    for layer in layers.values():
        assert (layer.cos_error == 0).all()
        assert (layer.residual == 0).all()
        assert layer.baseline == 0


# Zero features


def products(f, a, b):
    """Of features [N, D]; one layer."""
    ends = products_of_ends([a], [b])
    return InnerProducts(*ends, *products_between(f, a, b, 0.5)[:, None, None])


def at_half(f, a, b):
    rows = [torch.tensor([row], dtype=torch.float64) for row in (f, a, b)]
    half = torch.tensor([0.5], dtype=torch.float64)
    values, zeros = quantities(half, products(*rows), torch.finfo(torch.float64).eps)
    return {name: value.item() for name, value in values.items()}, int(zeros)


ZERO, X, Y = (0.0, 0.0), (0.3, 0.4), (-0.3, -0.4)


def test_zero_features_have_a_definition_and_are_counted():
    found, zeros = at_half(ZERO, ZERO, ZERO)
    assert found == {
        "cos_error": 0, "coef": 1, "residual": 0, "cos_a": 1, "cos_b": 1, "baseline": 0
    }  # fmt: skip
    assert zeros == 1
    found, zeros = at_half(ZERO, X, X)
    assert found == {
        "cos_error": 1, "coef": 0, "residual": 1, "cos_a": 0, "cos_b": 0, "baseline": 0
    }  # fmt: skip
    assert zeros == 1
    found, zeros = at_half(X, X, Y)  # A and B cancel
    assert (found["cos_error"], found["coef"], found["residual"]) == (1, 0, 1)
    assert (found["cos_a"], found["cos_b"]) == pytest.approx((1, -1))
    assert zeros == 1
    found, zeros = at_half(X, X, ZERO)
    assert found["cos_error"] == pytest.approx(0, abs=1e-15)
    assert found["coef"] == pytest.approx(2)
    assert found["baseline"] == 1
    assert zeros == 0


def test_features_that_cancel_but_for_rounding_count_as_zero():
    a = torch.randn(40, 100, generator=torch.Generator().manual_seed(0))
    b = -a * (1 + 3e-8)
    values, zeros = quantities(
        torch.tensor([0.5], dtype=torch.float64),
        products(a, a, b),
        torch.finfo(torch.float32).eps,
    )
    assert zeros == 40
    assert (values["coef"] == 0).all()


def test_dead_layer_spoils_no_mean():
    images, labels = samples(20, (6,))
    a, b = mlp(0), mlp(1)
    with torch.no_grad():
        for model in (a, b):
            model.linear1.bias.fill_(-1e3)
    layers, found = profiles(a, b, images, labels)
    assert (layers["relu1"].cos_error == 0).all()
    assert (layers["relu1"].coef == 1).all()
    assert found.zeros == 20 * len(ALPHA)


def test_cosine_of_a_feature_with_itself_is_one_to_the_last_digit():
    squares = torch.rand(10_000, generator=torch.Generator().manual_seed(0)).double() * 1e3
    assert (cosine(squares, squares, squares) - 1).abs().max() < 2.3e-16


# Moments


@pytest.mark.parametrize("sizes", [(50,), (1, 49), (20, 1, 29), (10,) * 5])
def test_moments_are_numpys_in_any_batching(sizes):
    values = 1e-6 * torch.rand(3, 50, generator=torch.Generator().manual_seed(0)).double() + 0.7
    first, *rest = [Moments.of(part) for part in values.split(sizes, dim=1)]
    for moments in rest:
        first = first.merged(moments)
    assert first.count == 50
    assert first.mean.numpy() == pytest.approx(values.numpy().mean(1), rel=1e-15)
    assert first.std().numpy() == pytest.approx(values.numpy().std(1), rel=1e-8)
