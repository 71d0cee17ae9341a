"""The two conditions are what all features in memory would give, in any batching and type."""

import copy
import dataclasses
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from llfc.connectivity.measures import shuffled
from llfc.connectivity.measures.conditions.additivity import additivity
from llfc.connectivity.measures.conditions.measure import conditions
from llfc.connectivity.measures.conditions.sums import square
from llfc.connectivity.measures.shuffled import Shuffled
from tests.helpers import in_memory_reference as in_memory
from tests.helpers.conditions_measured import measured, rows, same
from tests.helpers.measure_subjects import subject
from tests.helpers.quick_cases import slow_unless
from tests.helpers.small_networks import CLASSES, convnet, mlp, samples

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
@pytest.mark.parametrize("size", slow_unless([7, 48], [1, 7, 48]))
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
        sizes = [len(part) for part, _ in one.pairs(3)]
        assert sum(sizes) == 10
        assert 2 <= min(sizes) <= max(sizes) <= 3  # a batch norm takes no part of one image
        assert torch.equal(one.images, other.images)
        assert len(set(lefts.tolist())) == len(set(rights.tolist())) == 10
        assert (lefts != rights).all()
        taken.add(tuple(lefts.tolist()))
    assert len(taken) == 20
    share = np.mean([np.array(each) < 50 for each in taken])
    assert share == pytest.approx(0.5, abs=0.15)  # 200 draws: four standard errors


@pytest.mark.parametrize("times", [2, 3])
def test_images_that_occur_again_are_no_other_images(times):
    images, _ = samples(24, (6,))
    usual = measured(mlp(0), mlp(1), images)
    for again in (images.repeat(times, 1), images.repeat_interleave(times, 0)):
        found = measured(mlp(0), mlp(1), again)
        for table in ("additivity", "commutativity"):
            same(rows(found, table, "shuffled"), rows(usual, table, "shuffled"))


@pytest.mark.parametrize("copies", [1, 5, 11])
def test_no_image_is_paired_with_its_copy(copies):
    images = torch.cat([torch.arange(12.0), torch.zeros(copies - 1)])[:, None]
    chosen = Shuffled(seed=0)
    chosen.add(images)
    for first, then in chosen.pairs(100):
        assert (first != then).all()


def test_one_image_has_no_other():
    found = measured(mlp(0), mlp(1), samples(1, (6,))[0])
    assert set(found.tables["additivity"]["pair"]) == {"matched"}


@every_case
@pytest.mark.parametrize("size", slow_unless([7], [1, 7]))
def test_batching_changes_nothing(case, size):
    make, shape = CASES[case]
    images, _ = samples(30, shape)
    whole = measured(make(0), make(1), images)
    part = measured(make(0), make(1), images, size=size)
    for table in ("additivity", "commutativity"):
        for pair in ("matched", "shuffled"):
            same(rows(part, table, pair), rows(whole, table, pair))


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
