"""What theory says of the two conditions: they give LLFC, and its symmetries are theirs."""

import copy
import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import llfc
from llfc.connectivity.measures.conditions.additivity import additivity
from tests.helpers.conditions_measured import measured, rows, same
from tests.helpers.small_networks import CLASSES, blended, convnet, mlp, random_, samples

CASES = {"mlp": (mlp, (6,)), "convnet": (convnet, (2, 7, 7))}
every_case = pytest.mark.parametrize("case", CASES)


@every_case
def test_a_network_and_itself(case):
    make, shape = CASES[case]
    found = measured(make(0), make(0), samples(30, shape)[0])
    for numbers in rows(found, "additivity").values():
        assert numbers == {"dist": 0, "cos": 1, "coef": 1, "signs": 1}
    for numbers in rows(found, "commutativity").values():
        assert numbers == {"dist_com": 0, "dist_w": 0, "dist_h": 0}
    assert found.scalars["additivity_ratio_shuffled"] == 0
    assert found.scalars["commutativity_ratio_shuffled"] == 0


def test_two_independent_gaussians_are_nearly_additive():
    """In closed form: an absolute value proves nothing.

    With h_A, h_B standard and independent, s = h_A + h_B has variance 2, so E[relu(s)²] = 1 and
    E[(relu(h_A) + relu(h_B))²] = 1 + 1/pi. Their product is relu(s) (relu(h_A) + relu(h_B)), which
    is s² where both are positive and s max(h_A, h_B) where only one is and s > 0:
    1/2 + 1/pi + 2 E[s h_A; h_B < 0 < s] = 1/2 + 1/pi + 2 (1/8) = 3/4 + 1/pi.
    """
    generator = torch.Generator().manual_seed(0)
    h = [torch.randn(200, 20_000, generator=generator, dtype=torch.float64) for _ in range(2)]
    found = additivity((*h, h[0].relu(), h[1].relu()), torch.relu).values()
    product, mean = 3 / 4 + 1 / math.pi, 1 + 1 / math.pi
    expected = (1 + mean - 2 * product) / mean**0.5, product / mean**0.5, product / mean, 0.5
    assert expected[:2] == pytest.approx((0.158, 1 - 0.070), abs=1e-3)
    assert found == pytest.approx(expected, abs=1e-3)


# What theory says


def test_one_differing_layer_gives_llfc():
    """Theorem 1: both conditions hold up to there, so features are linear with coefficient 1."""
    a = mlp(0)
    b = copy.deepcopy(a)
    b.linear1.load_state_dict(mlp(1).linear1.state_dict())
    found = measured(a, b, samples(30, (6,))[0])
    commuting = rows(found, "commutativity")
    assert commuting["linear0"] == {"dist_com": 0, "dist_w": 0, "dist_h": 0}
    assert commuting["linear1"]["dist_com"] == commuting["linear1"]["dist_h"] == 0
    assert commuting["linear1"]["dist_w"] > 0
    assert commuting["linear2"]["dist_com"] == commuting["linear2"]["dist_w"] == 0
    assert rows(found, "additivity")["relu0"]["dist"] == 0
    assert rows(found, "additivity")["relu1"]["dist"] > 0
    pair = samples(30, (6,))
    walk = llfc.connect(a, b, test=pair, matching=None, alphas=3, correction="none")
    before = {layer.name: layer for layer in walk.layers}["linear1"]
    assert before.coef == pytest.approx(1, abs=1e-12)
    assert abs(before.cos_error).max() < 1e-12


def test_both_conditions_give_llfc_at_every_layer():
    """All pre-activations far above zero, and one differing layer: additive and commuting."""
    a = mlp(0)
    for layer in (a.linear0, a.linear1):
        layer.bias.data += 50
    b = copy.deepcopy(a)
    b.linear0.load_state_dict(mlp(1).linear0.state_dict())
    b.linear0.bias.data += 50
    images, labels = samples(30, (6,))
    a.linear1.weight.data.abs_()
    b.linear1.weight.data.abs_()
    found = measured(a, b, images)
    assert max(found.tables["additivity"]["dist"][:2]) < 1e-28
    assert found.scalars["commutativity_dist_com_max"] < 1e-28
    walk = llfc.connect(
        a, b, test=(images, labels), matching=None, alphas=5, correction="none", measures=()
    )
    for layer in walk.layers:
        assert layer.coef == pytest.approx(1, abs=1e-12)
        assert abs(layer.cos_error).max() < 1e-12
        assert layer.baseline > 1e-6 or layer.name != "linear0"


def test_the_gap_is_the_residual_of_the_blend():
    """After an exactly linear layer: f(alpha) - interpolated = -alpha (1 - alpha) dW dH."""
    a, b = (random_(nn.Sequential(nn.Linear(6, 8), nn.Linear(8, CLASSES)), s) for s in (0, 1))
    images, _ = samples(30, (6,))
    found = rows(measured(a, b, images), "commutativity")["1"]
    with torch.no_grad():
        f_a, f_b, hidden = a(images), b(images), (a[0](images), b[0](images))
        x = f_a + f_b - a[1].bias - b[1].bias
        y = F.linear(hidden[1], a[1].weight) + F.linear(hidden[0], b[1].weight)
        for alpha in (0.25, 0.5):
            residual = blended(a, b, alpha)(images) - (1 - alpha) * f_a - alpha * f_b
            gap = residual.norm() / (alpha * (1 - alpha))
            assert found["dist_com"] == pytest.approx(float(gap**2 / (x.norm() * y.norm())))


@every_case
def test_swapping_the_networks_changes_nothing(case):
    make, shape = CASES[case]
    images, _ = samples(30, shape)
    there, back = measured(make(0), make(1), images), measured(make(1), make(0), images)
    for table in ("additivity", "commutativity"):
        same(rows(there, table), rows(back, table))


@pytest.mark.slow
def test_permuting_both_alike_changes_nothing():
    a, b = convnet(0), convnet(1)
    images, _ = samples(30, (2, 7, 7))
    spec = llfc.permutation_spec(a, images[:2])
    moved = [copy.deepcopy(model) for model in (a, b)]
    for model in moved:
        model.load_state_dict(spec.apply(spec.random(seed=3), model.state_dict()))
    one, other = measured(a, b, images), measured(*moved, images)
    for table in ("additivity", "commutativity"):
        same(rows(one, table), rows(other, table))
