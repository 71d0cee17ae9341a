"""Networks of complex numbers: everything counts their imaginary parts as it does the real ones.

The reference is the real network of twice the size, or the sum over real and imaginary parts.
"""

import copy
import itertools

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from llfc import connect
from llfc.connectivity.distances import weight_distance
from llfc.matching import MATCHERS, match, match_many, permutation_spec
from llfc.matching.cached import _digest
from llfc.symmetry.spec.selfcheck import relative_gap
from tests.helpers.bounds_by_hand import undoes
from tests.helpers.matchable_pairs import permuted

UNITS = (10, 6)


class Complex(nn.Module):
    """Two complex hidden layers with split rectifiers; absolute values of the last are logits."""

    def __init__(self, seed, kind=torch.complex64):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        sizes = (5, *UNITS, 3)
        for k, (before, after) in enumerate(itertools.pairwise(sizes)):
            layer = nn.Linear(before, after, dtype=kind)
            with torch.no_grad():
                for parameter in layer.parameters():
                    drawn = torch.randn(parameter.shape, generator=generator, dtype=kind)
                    parameter.copy_(drawn / before**0.5)
            setattr(self, f"layer{k}", layer)

    def forward(self, x):
        x = torch.complex(x, x.flip(-1)).to(self.layer0.weight.dtype)
        for layer in (self.layer0, self.layer1):
            x = layer(x)
            x = torch.complex(F.relu(x.real), F.relu(x.imag))
        return self.layer2(x).abs()


def images(count=60):
    return torch.randn(count, 5, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def pair():
    a, b = Complex(0), Complex(1)
    return a, b, permutation_spec(a, images(2))


@pytest.mark.parametrize("name", sorted(set(MATCHERS) - {"none"}))
def test_planted_permutations_of_complex_units_are_undone(name, pair):
    a, _, spec = pair
    planted = spec.random(3)
    found = match(name, a, permuted(a, spec, planted), spec, [images()])
    assert undoes(found, planted, spec)
    assert found.record["certificate"] == pytest.approx(1.0, abs=1e-6)


def test_units_that_differ_in_their_imaginary_parts_alone_are_told_apart(pair):
    """Real parts all alike: what drops the imaginary ones sees one unit."""
    a, _, spec = pair
    a = copy.deepcopy(a)
    with torch.no_grad():
        for name, parameter in a.named_parameters():
            if not name.startswith("layer2"):
                parameter.copy_(torch.complex(torch.ones_like(parameter.real), parameter.imag))
    planted = spec.random(3)
    for name in ("weights", "frank-wolfe", "sinkhorn"):
        found = match(name, a, permuted(a, spec, planted), spec, [images()])
        assert spec.compose(planted, found) == spec.identity()


def test_the_overlap_is_the_real_part_of_the_hermitian_product(pair):
    a, b, spec = pair
    found = match("weights", a, b, spec)
    state = spec.apply(found, b.state_dict())
    with torch.no_grad():
        by_hand = sum(torch.vdot(p.flatten(), state[n].flatten()) for n, p in a.named_parameters())
    assert found.record["overlap"] == pytest.approx(float(by_hand.real), rel=1e-5)


def test_many_complex_networks_come_into_one_basis(pair):
    a, _, spec = pair
    planted = spec.random(3)
    found = match_many([a, permuted(a, spec, planted)], spec)
    assert spec.compose(planted, found[1]) == spec.identity()


def parts(model):
    with torch.no_grad():
        return np.concatenate([torch.view_as_real(p).flatten().numpy() for p in model.parameters()])


def test_weight_distance_and_cosine_count_imaginary_parts(pair):
    a, b, _ = pair
    x, y = (parts(model).astype(np.float64) for model in (a, b))
    distance, cosine = weight_distance(a, b)
    assert distance == pytest.approx(np.linalg.norm(x - y), rel=1e-6)
    assert cosine == pytest.approx(x @ y / np.linalg.norm(x) / np.linalg.norm(y), rel=1e-5)


def test_llfc_of_complex_features_is_that_of_their_real_and_imaginary_parts(pair):
    a, b, _ = pair
    x = images(12)
    labels = torch.arange(12) % 3
    found = connect(
        a,
        b,
        test=(x, labels),
        matching=None,
        correction="none",
        probes=["layer0", "layer1"],
        measures=("similarity", "random-direction"),
        alphas=3,
    )
    middle = copy.deepcopy(a)
    with torch.no_grad():
        for half, other in zip(middle.parameters(), b.parameters(), strict=True):
            half.add_(other).div_(2)
    features = {name: [] for name in ("layer0", "layer1")}
    models = [copy.deepcopy(model) for model in (a, b, middle)]
    for model in models:
        for name, kept in features.items():
            model.get_submodule(name).register_forward_hook(
                lambda m, i, y, kept=kept: kept.append(torch.view_as_real(y.detach()).flatten(1))
            )
        model(x)
    for profile in found.layers:
        of_a, of_b, blend = (f.double() for f in features[profile.name])
        line = (of_a + of_b) / 2
        error = 1 - F.cosine_similarity(blend, line)
        assert profile.cos_error[1] == pytest.approx(float(error.mean()), abs=1e-5)
        residual = (blend - line).norm(dim=1) / line.norm(dim=1)
        assert profile.residual[1] == pytest.approx(float(residual.mean()), abs=1e-4)


def test_commutativity_of_complex_layers_is_that_of_complex_products(pair):
    a, b, _ = pair
    x = images(12)
    found = connect(a, b, test=(x, torch.arange(12) % 3), matching=None, correction="none")
    inputs = {name: [] for name in ("layer1", "layer2")}
    for model in map(copy.deepcopy, (a, b)):
        for name, kept in inputs.items():
            model.get_submodule(name).register_forward_pre_hook(
                lambda m, given, kept=kept: kept.append(given[0].detach().to(torch.complex128))
            )
        model(x)
    table = found.tables["commutativity"]
    of = dict(zip(table["layer"][:3], table["dist_com"][:3], strict=True))
    for name, (of_a, of_b) in inputs.items():
        w_a, w_b = (m.get_submodule(name).weight.detach().to(of_a.dtype).T for m in (a, b))
        one, other = of_a @ w_a + of_b @ w_b, of_a @ w_b + of_b @ w_a
        expected = (one - other).norm() ** 2 / (one.norm() * other.norm())
        assert of[name] == pytest.approx(float(expected), rel=1e-5)


def test_repair_passes_complex_layers_over_and_says_so(pair):
    a, b, _ = pair
    samples = (images(12), torch.arange(12) % 3)
    options = dict(test=samples, train=samples, matching=None, measures=())
    found = connect(a, b, correction="repair", **options)
    passed = {entry.name for entry in found.left_out if entry.kind == "correction"}
    assert passed == {"layer0", "layer1", "layer2"}
    plain = connect(a, b, correction="none", **options)
    assert found.curve["test_loss"].tolist() == plain.curve["test_loss"].tolist()


def test_a_digest_and_a_check_of_the_function_see_imaginary_parts(pair):
    a, _, spec = pair
    other = copy.deepcopy(a)
    with torch.no_grad():
        other.layer0.weight[0, 0] += 0.5j
    assert _digest(spec, a) != _digest(spec, other)
    one = torch.ones(3, dtype=torch.complex64)
    assert relative_gap([one], [one + 0.5j]) == pytest.approx(0.5)


def test_complex_logits_are_refused(pair):
    class Bare(Complex):
        def forward(self, x):
            return self.layer2(self.layer1(self.layer0(x.to(torch.complex64))))

    with pytest.raises(ValueError, match=r"must return real logits, got torch\.complex64"):
        connect(
            Bare(0),
            Bare(1),
            test=(images(6), torch.arange(6) % 3),
            matching=None,
            correction="none",
            measures=(),
            alphas=3,
        )
