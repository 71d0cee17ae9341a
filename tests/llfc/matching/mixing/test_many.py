"""Several networks in one basis, by maps of every kind."""

import copy

import pytest
import torch

from llfc import Transform, match_many
from tests.helpers.kinds_by_hand import network


def planted_in(model, spec, seeds):
    """The network in several bases; seed None is its own."""
    found = []
    for seed in seeds:
        other = copy.deepcopy(model).double()
        if seed is not None:
            other.load_state_dict(Transform.random(spec, seed).apply(other.state_dict()))
        found.append(other)
    return found


def distance(one, other):
    sides = zip(one.values(), other.values(), strict=True)
    return sum(float((x - y).square().sum()) for x, y in sides)


@pytest.mark.parametrize("name", ["mlp tanh", "mlp relu", "rms without gains", "gpt"])
def test_planted_elements_of_three_networks_are_undone(name):
    model, _, spec = network(name)
    models = planted_in(model, spec, (None, 0, 1))
    found = match_many(models, spec, matching="orthogonal")
    assert not found[0].moved()
    states = [each.apply(net.state_dict()) for each, net in zip(found, models, strict=True)]
    for state, net in zip(states[1:], models[1:], strict=True):
        assert distance(state, states[0]) < 1e-15 * distance(net.state_dict(), states[0])


def test_the_sum_of_distances_is_less_than_of_pairs_with_the_first():
    """Of unrelated networks, in one basis: cycles are consistent as all maps go through it."""
    model, _, spec = network("rms without gains")
    models = []
    for seed in range(3):
        torch.manual_seed(seed)
        other = copy.deepcopy(model).double()
        for parameter in other.parameters():
            torch.nn.init.normal_(parameter)
        models.append(other)
    maps = match_many(models, spec, matching="orthogonal")
    states = [each.apply(net.state_dict()) for each, net in zip(maps, models, strict=True)]
    pairs = ((0, 1), (0, 2), (1, 2))
    after = sum(distance(states[p], states[q]) for p, q in pairs)
    before = sum(distance(models[p].state_dict(), models[q].state_dict()) for p, q in pairs)
    assert after < before
    assert all(
        torch.allclose(models[0].state_dict()[key], value) for key, value in states[0].items()
    )


def test_another_matcher_is_refused():
    model, _, spec = network("mlp tanh")
    with pytest.raises(ValueError, match=r"^matching of several networks must be one of weights, "):
        match_many([model, model], spec, matching="learned")
