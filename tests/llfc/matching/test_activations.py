"""Activation matching: against all features in memory, and what its moments owe."""

import pytest
import torch
from torch import nn

from llfc.matching import match, permutation_spec
from llfc.matching.activations import CrossMoments, cross_moments
from llfc.matching.taps import taps
from tests.helpers.matchable_pairs import KINDS, inputs, network, pair, permuted
from tests.helpers.quick_cases import slow_unless


@pytest.mark.parametrize("name", ["activations", "activations-uncentred"])
def test_activation_matching_is_that_of_all_features_in_memory(name):
    """Each hidden layer's features, in double precision, and one assignment from scipy."""
    from scipy.optimize import linear_sum_assignment

    a, b = network("perceptron", 0), network("perceptron", 1)
    with torch.no_grad():
        for model in (a, b):
            model[1].bias.fill_(1.0)  # no unit is silent
            model[3].bias.fill_(1.0)
    data = inputs(1)
    found = match(name, a, b, permutation_spec(a, data[0]), data)
    total = 0.0
    for (_, index), end in zip(found.items(), (3, 5), strict=True):
        x, y = (m.double()[:end](torch.cat(data).double()).detach().T.numpy() for m in (a, b))
        if name == "activations":
            x, y = (s - s.mean(1, keepdims=True) for s in (x, y))
            scale = [s.std(1) for s in (x, y)]
            score = x @ y.T / x.shape[1] / (scale[0][:, None] * scale[1][None])
        else:
            score = x @ y.T / x.shape[1]
        _, columns = linear_sum_assignment(score, maximize=True)
        assert index.tolist() == columns.tolist()
        total += score[range(len(columns)), columns].sum()
    assert found.record["objective"] == pytest.approx(total, rel=1e-5)


@pytest.mark.parametrize("kind", slow_unless(["residual"], KINDS))
def test_moments_do_not_depend_on_the_batches(kind):
    a, b, spec = pair(kind)
    data = torch.cat(inputs(1))
    whole, _ = cross_moments(a, b, taps(spec), [data])
    parts, count = cross_moments(a, b, taps(spec), data.split(7))
    assert count == 7
    for key in whole:
        assert torch.allclose(whole[key].correlation(), parts[key].correlation(), atol=1e-4)
        assert torch.allclose(whole[key].product(), parts[key].product(), rtol=1e-4, atol=1e-5)


def test_moments_are_not_lost_to_a_large_mean():
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(4, 500, generator=generator) for _ in range(2))
    moments = CrossMoments()
    for x, y in zip((a + 1e4).split(100, 1), (b + 1e4).split(100, 1), strict=True):
        moments.update(x, y)
    expected = torch.corrcoef(torch.cat([a + 1e4, b + 1e4]).double())[:4, 4:]
    assert torch.allclose(moments.correlation(), expected, atol=1e-5)


def test_a_constant_unit_correlates_with_nothing():
    moments = CrossMoments()
    ramp = torch.arange(6.0)
    moments.update(torch.stack([ramp, torch.full((6,), 0.1)]), torch.stack([ramp, -ramp]))
    expected = torch.tensor([[1.0, -1.0], [0.0, 0.0]]).double()
    assert torch.allclose(moments.correlation(), expected)


def test_silent_units_are_told_apart_before_the_rectifier():
    a = nn.Sequential(nn.Flatten(), nn.Linear(72, 6), nn.ReLU(), nn.Linear(6, 3))
    with torch.no_grad():
        a[1].bias[:4] = -1e3
    spec = permutation_spec(a, inputs(0)[0])
    planted = spec.random(0)
    found = match("activations", a, permuted(a, spec, planted), spec, inputs(1))
    assert spec.compose(planted, found) == spec.identity()
