"""Blends and merges: what they are by the plainest means, that they are whole, what is refused."""

import re

import pytest
import torch
from torch import nn

import llfc
from llfc.connectivity.blend import Line, line_positions
from llfc.connectivity.corrections import CORRECTIONS
from llfc.connectivity.samples import Batches
from llfc.matching import match_many, permutation_spec
from tests.helpers.small_networks import CLASSES, convnet, mlp, random_, samples

IMAGES, LABELS = samples(12, (2, 7, 7))
SHARES = (0.5, 0.3, 0.2)


def floats(model):
    return {n: t for n, t in model.state_dict().items() if t.is_floating_point()}


def permuted(model, spec, seed):
    copied = convnet(0)
    copied.load_state_dict(spec.apply(spec.random(seed), model.state_dict()))
    return copied


def test_a_blend_is_the_weighted_mean():
    models = [convnet(seed) for seed in range(3)]
    found = floats(llfc.blend(models, SHARES))
    parts = [floats(model) for model in models]
    for name, tensor in found.items():
        wanted = sum(share * part[name] for share, part in zip(SHARES, parts, strict=True))
        assert torch.allclose(tensor, wanted, rtol=0, atol=1e-12), name


@pytest.mark.parametrize("correction", ["none", "reset", "repair", "rescale"])
def test_a_merge_of_two_is_the_corrected_network_on_the_line(correction):
    a, b, statistics = convnet(0), convnet(1), (IMAGES, LABELS)
    merged = llfc.merge(
        [a, b], statistics=statistics, weights=(0.7, 0.3), matching=None, correction=correction
    )
    line, train = (
        Line(a, b, line_positions([0, 0.3, 1])),
        Batches("x", statistics, 250, IMAGES.device),
    )
    line.correct(CORRECTIONS[correction](line, train, train.example(), [1]))
    again = convnet(2).eval()
    again.load_state_dict(merged.model.state_dict())
    assert torch.allclose(again(IMAGES), line.at(1)(IMAGES), rtol=0, atol=1e-9)
    assert merged.permutations is None


@pytest.mark.slow
def test_copies_that_were_permuted_merge_into_the_network_itself():
    model = convnet(0).eval()
    spec = permutation_spec(model, IMAGES[:2])
    models = [model, permuted(model, spec, 1), permuted(model, spec, 2)]
    for few in (models[:2], models):
        merged = llfc.merge(few, inputs=IMAGES, correction="none")
        assert torch.allclose(merged.model(IMAGES), model(IMAGES), rtol=0, atol=1e-9)
        assert [each.moved() > 0 for each in merged.permutations] == [False, *[True] * len(few[1:])]


@pytest.mark.slow
def test_given_permutations_are_used_and_statistics_are_those_of_the_data():
    models = [convnet(seed) for seed in range(3)]
    spec = permutation_spec(models[0], IMAGES[:2])
    found = match_many(models, spec)
    merged = llfc.merge(models, statistics=(IMAGES, LABELS), weights=SHARES, matching=found)
    assert merged.permutations == found
    moved = [spec.apply(p, m.state_dict()) for p, m in zip(found, models, strict=True)]
    kernel = sum(share * state["conv.weight"] for share, state in zip(SHARES, moved, strict=True))
    bias = sum(share * state["conv.bias"] for share, state in zip(SHARES, moved, strict=True))
    features = torch.nn.functional.conv2d(IMAGES, kernel, bias)
    mean = merged.model.state_dict()["norm.running_mean"]
    assert torch.allclose(mean, features.mean((0, 2, 3)), rtol=0, atol=1e-9)


def test_models_stay_as_they_are():
    models = [convnet(0), convnet(1)]
    before = [{n: t.clone() for n, t in m.state_dict().items()} for m in models]
    llfc.merge(models, statistics=(IMAGES, LABELS))
    for model, state in zip(models, before, strict=True):
        assert model.training
        assert all(torch.equal(t, state[n]) for n, t in model.state_dict().items())


def unbiased(seed):
    layers = nn.Conv2d(2, 5, 3, bias=False), nn.ReLU(), nn.Flatten(), nn.Linear(125, CLASSES)
    return random_(nn.Sequential(*layers), seed)


@pytest.mark.parametrize(
    ("models", "options", "said"),
    [
        ([mlp(0)], {}, "models must be at least two networks, got 1"),
        ([mlp(0), mlp(1)], {}, "merge needs inputs or statistics, to see that functions are kept"),
        (
            [mlp(0), mlp(1)],
            {"weights": (0.5, 0.6)},
            "weights must lie between 0 and 1 and add up to 1, got 0.5, 0.6",
        ),
        (
            [mlp(0), mlp(1)],
            {"weights": (0.5, 0.3, 0.2)},
            "weights must be 2, one for each network, got 3",
        ),
        (
            [mlp(0), mlp(1), mlp(2)],
            {"correction": "repair"},
            "correction of more than two networks must be one of none, reset, got 'repair'",
        ),
        (
            [mlp(0), mlp(1), mlp(2)],
            {"inputs": samples(3, (6,))[0], "matching": "activations"},
            "matching of several networks must be one of weights, orthogonal, got 'activations'",
        ),
        (
            [convnet(0), convnet(1)],
            {"inputs": IMAGES},
            "correction 'reset' needs train images for the batch norms, got None",
        ),
        (
            [unbiased(0), unbiased(1)],
            {"statistics": (IMAGES, LABELS), "correction": "repair"},
            "the correction cannot become part of the weights of '0', which has no bias: choose"
            " 'reset', 'rescale' or 'none'",
        ),
    ],
)
def test_refusals(models, options, said):
    with pytest.raises(ValueError, match=f"^{re.escape(said)}$"):
        llfc.merge(models, **options)
