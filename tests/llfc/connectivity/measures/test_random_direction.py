"""The control at the same distance, and the distance itself."""

import copy

import numpy as np
import pytest
import torch

import llfc
from llfc.connectivity.distances import weight_distance
from llfc.connectivity.measures import random_direction as measure
from llfc.connectivity.measures.random_direction import _moved
from llfc.seeds import stream
from tests.helpers.small_networks import convnet, mlp, samples


def controlled(a, b, **options):
    given = {"test": samples(40, (2, 7, 7)), "train": samples(30, (2, 7, 7), 1)} | options
    return llfc.connect(a, b, matching=None, alphas=3, measures=["random-direction"], **given)


def test_distance_is_that_of_the_flat_vectors():
    a, b = convnet(0), convnet(1)
    x, y = (torch.cat([p.detach().flatten() for p in m.parameters()]).numpy() for m in (a, b))
    distance, cosine = weight_distance(a, b)
    assert distance == pytest.approx(np.linalg.norm(x - y))
    assert cosine == pytest.approx(x @ y / np.linalg.norm(x) / np.linalg.norm(y))
    assert weight_distance(a, a) == (0, pytest.approx(1))


def test_matching_brings_a_permuted_network_back():
    a = mlp(0)
    images, labels = samples(20, (6,))
    spec = llfc.permutation_spec(a, images[:2])
    b = copy.deepcopy(a)
    b.load_state_dict(spec.apply(spec.random(seed=1), a.state_dict()))
    found = llfc.connect(a, b, test=(images, labels), matching="weights", spec=spec, alphas=3)
    assert found.summaries["weight_distance"] == 0
    assert found.summaries["weight_distance_before"] > 1


def test_every_parameter_moves_as_far_as_on_the_line():
    a, b = convnet(0), convnet(1)
    moved = _moved(a, b, stream(0, "x"))
    for x, y, z in zip(a.parameters(), b.parameters(), moved.parameters(), strict=True):
        assert torch.dist(x, z).item() == pytest.approx(torch.dist(x, y).item())
        assert not torch.equal(z, y)
    for (name, x), z in zip(a.named_buffers(), moved.buffers(), strict=True):
        assert torch.equal(x, z), name
    assert weight_distance(a, moved)[0] == pytest.approx(weight_distance(a, b)[0])


def test_no_distance_no_change():
    found = controlled(convnet(0), convnet(0), correction="none")
    table = found.tables["random_direction"]
    assert table["start"] == ["a", "b"]
    assert table["loss"].tolist() == pytest.approx([found.curve["test_loss"][0]] * 2)


@pytest.mark.slow
def test_statistics_are_corrected_as_those_of_the_blends():
    a, b = convnet(0), convnet(1)
    losses = {
        correction: controlled(a, b, correction=correction).summaries["random_loss_mid"]
        for correction in ("none", "reset", "repair")
    }
    assert len({round(loss, 6) for loss in losses.values()}) == 3


def directions(a, b, seed, monkeypatch):
    """Where the measure goes from either end, as flat vectors."""
    found = []

    def spied(start, other, generator):
        moved = _moved(start, other, generator)
        found.append(flat(moved) - flat(start))
        return moved

    monkeypatch.setattr(measure, "_moved", spied)
    controlled(a, b, seed=seed, correction="none")
    return found


def flat(model):
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


@pytest.mark.slow
def test_no_two_directions_are_one(monkeypatch):
    """Neither of two starts, nor of two seeds, nor of one's second start and the next's first."""
    a, b = convnet(0), convnet(1)
    found = torch.stack([d for seed in range(4) for d in directions(a, b, seed, monkeypatch)])
    cosines = torch.nn.functional.cosine_similarity(found[:, None], found[None], dim=-1)
    assert len(found) == 8
    assert (cosines - torch.eye(8)).abs().max() < 0.3


def test_a_seed_is_a_direction():
    a, b = convnet(0), convnet(1)
    one, same, other = (controlled(a, b, seed=seed) for seed in (0, 0, 1))
    loss = [each.summaries["random_loss_mid"] for each in (one, same, other)]
    assert loss[0] == loss[1] != loss[2]
    table = one.tables["random_direction"]
    assert one.summaries["random_loss_mid"] == pytest.approx(table["loss"].mean())
    assert one.summaries["random_error_mid"] == pytest.approx(table["error"].mean())
