"""The two conditions are what all features in memory would give, and what theory says."""

import copy
import dataclasses
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import llfc
from llfc.connectivity import shuffled
from llfc.connectivity.measures.conditions.additivity import additivity
from llfc.connectivity.measures.conditions.measure import conditions
from llfc.connectivity.measures.conditions.sums import square
from llfc.connectivity.shuffled import Shuffled
from tests.helpers import in_memory_reference as in_memory
from tests.helpers.conditions_measured import measured, rows, same
from tests.helpers.measure_subjects import subject
from tests.helpers.small_networks import CLASSES, blended, convnet, mlp, random_, samples

CASES = {"mlp": (mlp, (6,)), "convnet": (convnet, (2, 7, 7))}
every_case = pytest.mark.parametrize("case", CASES)


def stored(*given):
    """Both conditions of two networks on two networks' images."""
    return in_memory.additivity(*given), in_memory.commutativity(*given)


@every_case
def test_conditions_are_what_stored_features_give(case):
    make, shape = CASES[case]
    a, b, other = (make(seed).eval() for seed in range(3))
    images, _ = samples(37, shape)
    found = measured(a, b, images, size=10, unmatched=other)
    for pair, end in (("matched", b), ("unmatched", other)):
        additive, commuting = stored(a, end, images, images)
        assert rows(found, "additivity", pair).keys() == additive.keys()
        for layer, numbers in rows(found, "additivity", pair).items():
            assert numbers == pytest.approx(additive[layer], rel=1e-10), layer
        for layer, numbers in rows(found, "commutativity", pair).items():
            assert numbers == pytest.approx(commuting[layer], rel=1e-10, abs=1e-14), layer
        assert rows(found, "commutativity", pair).keys() == commuting.keys()


@every_case
def test_the_shuffled_pair_is_of_different_images(case):
    make, shape = CASES[case]
    a, b = make(0).eval(), make(1).eval()
    images, _ = samples(48, shape)
    chosen = Shuffled(seed=0)
    chosen.add(images)
    ((first, then),) = chosen.pairs(48)
    assert not (first == then).flatten(1).all(1).any()
    additive, commuting = stored(a, b, first, then)
    found = measured(a, b, images, size=24)
    same(rows(found, "additivity", "shuffled"), additive)
    same(rows(found, "commutativity", "shuffled"), commuting)


@every_case
@pytest.mark.parametrize("size", [1, 7, 48])
def test_the_shuffled_pair_knows_neither_order_nor_batches(case, size):
    """A test set may be sorted by class: near neighbours are then no control."""
    make, shape = CASES[case]
    images = samples(48, shape)[0] + 3 * torch.arange(48)[:, None].reshape(48, *[1] * len(shape))
    usual = measured(make(0), make(1), images[torch.randperm(48)], size=10)
    found = measured(make(0), make(1), images, size=size)
    for table in ("additivity", "commutativity"):
        same(rows(found, table, "shuffled"), rows(usual, table, "shuffled"))
    assert found.scalars == pytest.approx(usual.scalars, rel=1e-10)


def test_a_shuffled_sample_is_of_the_whole_set(monkeypatch):
    """Pairs that a stream of batches gives, and each image once on either side; never itself."""
    monkeypatch.setattr(shuffled, "SAMPLE_SIZE", 10)
    images = torch.arange(100.0)[:, None]
    taken = set()
    for seed in range(20):
        one, other = Shuffled(seed), Shuffled(seed)
        one.add(images)
        for part in images.flip(0).split(7):
            other.add(part)
        lefts, rights = (torch.cat(side)[:, 0] for side in zip(*one.pairs(3), strict=True))
        assert [len(part) for part, _ in one.pairs(3)] == [3, 3, 3, 1]
        assert torch.equal(one.images, other.images)
        assert len(set(lefts.tolist())) == len(set(rights.tolist())) == 10
        assert (lefts != rights).all()
        taken.add(tuple(lefts.tolist()))
    assert len(taken) == 20
    share = np.mean([np.array(each) < 50 for each in taken])
    assert share == pytest.approx(0.5, abs=0.15)  # 200 draws: four standard errors


def test_one_image_has_no_other():
    found = measured(mlp(0), mlp(1), samples(1, (6,))[0])
    assert set(found.tables["additivity"]["pair"]) == {"matched"}


@every_case
@pytest.mark.parametrize("size", [1, 7])
def test_batching_changes_nothing(case, size):
    make, shape = CASES[case]
    images, _ = samples(30, shape)
    whole = measured(make(0), make(1), images)
    part = measured(make(0), make(1), images, size=size)
    for table in ("additivity", "commutativity"):
        for pair in ("matched", "shuffled"):
            same(rows(part, table, pair), rows(whole, table, pair))


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


def test_sums_of_squares_keep_float32s_digits():
    x = 0.1 + torch.rand(168, 784, generator=torch.Generator().manual_seed(0))
    for part in (x, x.T, x.reshape(6, 4, 56, 98).to(memory_format=torch.channels_last)):
        assert square(part) == pytest.approx(float(part.double().square().sum()), rel=1e-6)


def test_zero_features_have_definitions():
    zero, some = torch.zeros(1, 3), torch.tensor([[1.0, -2.0, 3.0]])
    relu = torch.relu
    dead = additivity((zero, -some.abs(), zero, zero), relu).values()
    assert dead == (0, 1, 1, 1)
    opposite = additivity((some, -some, some.relu(), (-some).relu()), relu).values()
    assert opposite == (1, 0, 0, 0)


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


@pytest.mark.parametrize("work", [torch.float32, torch.bfloat16])
def test_narrower_types_agree(work):
    images, _ = samples(64, (2, 7, 7))
    wide = measured(convnet(0), convnet(1), images)
    narrow = measured(convnet(0).to(work), convnet(1).to(work), images.to(work))
    tolerance = 64 * torch.finfo(work).eps
    for table in ("additivity", "commutativity"):
        for pair in ("matched", "shuffled"):
            for layer, numbers in rows(narrow, table, pair).items():
                expected = rows(wide, table, pair)[layer]
                assert numbers == pytest.approx(expected, rel=tolerance, abs=tolerance / 8), layer


def test_a_network_without_activations_or_without_layers():
    images, _ = samples(10, (6,))
    found = measured(nn.Linear(6, CLASSES).double(), nn.Linear(6, CLASSES).double(), images)
    assert list(found.tables) == ["commutativity"]
    assert found.tables["commutativity"]["layer"] == ["model", "model"]
    assert not any(name.startswith("additivity") for name in found.scalars)
    found = measured(nn.ReLU(), nn.ReLU(), images)
    assert list(found.tables) == ["additivity"]
    assert not measured(nn.Flatten(), nn.Flatten(), images).tables


def test_scalars_are_of_the_matched_pair():
    found = measured(mlp(0), mlp(1), samples(30, (6,))[0], unmatched=mlp(2))
    matched, control = (rows(found, "additivity", pair) for pair in ("matched", "unmatched"))
    dist, of_control = ([row["dist"] for row in each.values()] for each in (matched, control))
    assert found.scalars["additivity_dist_mean"] == pytest.approx(np.mean(dist))
    assert found.scalars["additivity_dist_max"] == max(dist)
    assert found.scalars["additivity_ratio_unmatched"] == pytest.approx(sum(dist) / sum(of_control))


def test_networks_may_lie_differently_in_memory():
    """Images of one are in channels-last order, those of the other are not; numbers are paired."""
    looked_at = subject(convnet(0), convnet(1), samples(16, (2, 7, 7)), batch=16)
    ours = looked_at.line.b
    contiguous = copy.deepcopy(ours).to(memory_format=torch.contiguous_format)
    assert not ours.conv.weight.is_contiguous()
    found = conditions(dataclasses.replace(looked_at, unmatched=contiguous))
    for table in ("additivity", "commutativity"):
        same(rows(found, table, "unmatched"), rows(found, table))


# Refusals


class Chooses(nn.Module):
    """What it runs depends on its weights."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(6, CLASSES)

    def forward(self, x):
        out = self.linear(x)
        return F.relu(out) if self.linear.bias.sum() > 0 else torch.tanh(out)


def test_networks_that_run_different_operations_are_refused():
    a, b = Chooses().double(), Chooses().double()
    with torch.no_grad():
        a.linear.bias.fill_(1.0)
        b.linear.bias.fill_(-1.0)
    line = r"relu in 'model' on \(2, 4\) and tanh in 'model' on \(2, 4\)"
    way = "leave out the measure 'conditions'; or, if a router .* run every expert on all images"
    with pytest.raises(ValueError, match=f"^A and B run different operations: {line}; {way}"):
        measured(a, b, samples(5, (6,))[0])


def test_features_that_are_not_finite_are_refused():
    a = mlp(0)
    a.linear1.bias.data[0] = math.nan
    with pytest.raises(ValueError, match=r"^features of layer 'relu1' are not finite$"):
        measured(a, mlp(1), samples(5, (6,))[0])
