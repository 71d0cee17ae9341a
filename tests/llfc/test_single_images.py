"""Norms that take their statistics from a batch of one image: one line says the way out."""

import pytest
import torch
from torch import nn

import llfc
from llfc.connectivity.measures import similarity
from tests.helpers.small_networks import mlp, random_, samples

WAY_OUT = r"got input size \[1, 8\]: give batches of at least 2 images"
MAPS = r"an instance norm needs maps of more than one element, got input size \[2, 8, 1, 1\]: give"


def by_batch(seed, *, track=False):
    first, *others = mlp(seed)
    norm = nn.BatchNorm1d(8, track_running_stats=track).double()
    return nn.Sequential(first, norm, *others)


def by_map(seed):
    layers = nn.Conv2d(3, 8, 1), nn.InstanceNorm2d(8), nn.Flatten(), nn.Linear(8, 4)
    return random_(nn.Sequential(*layers), seed)


def in_batches(count, size):
    images, labels = samples(count, (6,))
    return list(zip(images.split(size), labels.split(size), strict=True))


def refused(call, said):
    with pytest.raises(ValueError, match=said) as error:
        call()
    assert "\n" not in str(error.value)
    assert "Expected more than" not in str(error.value)


@pytest.mark.parametrize("track", [False, True])
@pytest.mark.parametrize("sizes", [1, 4])
def test_matching_by_a_batch_of_one(track, sizes):
    """The only batch, or the last one."""
    a, b = (by_batch(seed, track=track) for seed in (0, 1))
    images = samples(9 if sizes > 1 else 1, (6,))[0].split(sizes)
    spec = llfc.permutation_spec(a, samples(4, (6,))[0])
    refused(lambda: llfc.match("straight-through", a, b, spec, images), WAY_OUT)
    if not track:
        for call in (
            lambda: llfc.match("activations", a, b, spec, images),
            lambda: llfc.permutation_spec(a, images[-1]),
        ):
            refused(call, WAY_OUT)
        if sizes == 1:
            for call in (
                lambda: llfc.match("weights", a, b, spec, images),
                lambda: llfc.matching.match_many([a, b], spec, batches=images),
            ):
                refused(call, WAY_OUT)


@pytest.mark.parametrize("correction", ["none", "reset", "repair"])
def test_a_last_batch_of_one(correction):
    given = {"matching": None, "correction": correction, "alphas": 3, "measures": ()}
    whole, single_last = in_batches(8, 4), in_batches(9, 4)
    a, b = by_batch(0), by_batch(1)
    refused(lambda: llfc.connect(a, b, test=single_last, train=whole, **given), WAY_OUT)
    refused(lambda: llfc.connect(a, b, test=whole, train=single_last, **given), WAY_OUT)
    refused(lambda: llfc.connect(a, b, test=in_batches(1, 1), train=whole, **given), WAY_OUT)


def test_maps_of_one_element():
    images, labels = torch.randn(9, 3, 1, 1).double(), torch.zeros(9, dtype=torch.int64)
    a, b = by_map(0), by_map(1)
    refused(lambda: llfc.permutation_spec(a, images[:2]), MAPS)
    refused(lambda: llfc.connect(a, b, test=(images, labels), alphas=3), MAPS)


@pytest.mark.parametrize("measure", ["conditions", "similarity"])
def test_parts_that_we_cut_leave_no_single_image(measure, monkeypatch):
    """Of nine images in batches of four, as of pairs of images and blocks of them."""
    monkeypatch.setattr(similarity, "BLOCK", 4)
    monkeypatch.setattr(similarity, "NARROW", 2)
    given = {"matching": None, "correction": "none", "alphas": 3, "measures": (measure,)}
    found = llfc.connect(by_batch(0), by_batch(1), test=samples(9, (6,)), batch_size=4, **given)
    assert measure in found.tables or "additivity" in found.tables


def test_other_errors_pass():
    a = by_batch(0)
    with pytest.raises(ValueError, match="must fit the model"):
        llfc.permutation_spec(a, torch.zeros(2, 5).double())
