"""Networks in which an image's logits depend on the other images of its batch: that is said."""

import itertools

import pytest
import torch
from torch import nn

import llfc
from llfc.modules import batch_dependence
from tests.helpers.quick_cases import slow_unless
from tests.helpers.small_networks import mlp, samples


class ByItsBatch(nn.Module):
    """A batch norm written out, of numbers [N, D]."""

    def forward(self, x):
        return (x - x.mean(0)) / (x.var(0, correction=0) + 1e-5).sqrt()


class Trained(nn.BatchNorm1d):
    """Stays in training mode, as some networks freeze all but their norms."""

    def train(self, mode=True):
        del mode
        return super().train()


class Attending(nn.Module):
    """Attention from each image to all of its batch."""

    def forward(self, x):
        return x + torch.softmax(x @ x.T, -1) @ x


BY_BATCHES = {
    "no running statistics": lambda: nn.BatchNorm1d(8, track_running_stats=False),
    "running statistics that are not read": lambda: Trained(8, momentum=0.0),
    "written out": ByItsBatch,
    "attention from image to image": Attending,
}
BY_IMAGES = {
    "running statistics": lambda: nn.BatchNorm1d(8),
    "layer norm": lambda: nn.LayerNorm(8),
    "group norm": lambda: nn.GroupNorm(2, 8),
}


def by(norm, dtype=torch.float64, **options):
    """Between two networks with this norm behind their first layer."""

    def make(seed):
        first, *others = mlp(seed)
        return nn.Sequential(first, norm(), *others).to(dtype)

    images, labels = samples(24, (6,), 1)
    given = {"matching": None, "correction": "none", "measures": (), "alphas": 3}
    return llfc.connect(make(0), make(1), test=(images.to(dtype), labels), **given | options)


@pytest.mark.parametrize("batch_size", [24, 8, 2])
@pytest.mark.parametrize("kind", BY_BATCHES)
def test_logits_that_depend_on_the_batch_are_said_to(kind, batch_size):
    found = by(BY_BATCHES[kind], batch_size=batch_size)
    (entry,) = [each for each in found.left_out if each.kind == "definition"]
    assert entry.name == "logits"
    assert "with the other images in its batch" in entry.reason


@pytest.mark.parametrize(
    ("kind", "dtype"),
    slow_unless(
        [*((kind, torch.float32) for kind in BY_IMAGES), ("layer norm", torch.bfloat16)],
        [*itertools.product(BY_IMAGES, (torch.float64, torch.float32, torch.bfloat16))],
    ),
)
def test_logits_of_an_image_alone_leave_nothing_to_be_said(kind, dtype):
    assert by(BY_IMAGES[kind], dtype).left_out == ()
    assert by(BY_IMAGES[kind], dtype, batch_size=1).left_out == ()


def matched(norm, matching, *, size=24):
    """By B's units, between two networks with this norm behind their first layer."""

    def make(seed):
        first, *others = mlp(seed)
        return nn.Sequential(first, norm(), *others).double().eval()

    images, _ = samples(24, (6,), 1)
    a, b = make(0), make(1)
    spec = llfc.permutation_spec(a, images[:4])
    return llfc.match(matching, a, b, spec, iter(images.split(size)))


@pytest.mark.parametrize("size", slow_unless([8], [24, 8, 2]))
@pytest.mark.parametrize("matching", ["activations", "activations-uncentred", "straight-through"])
def test_units_that_are_matched_by_the_batch_are_said_to_be(matching, size):
    found = matched(BY_BATCHES["no running statistics"], matching, size=size)
    assert set(found.definitions) == {"features"}
    assert "with the other images in its batch" in found.definitions["features"]


@pytest.mark.parametrize("norm", slow_unless(["running statistics"], BY_IMAGES))
def test_units_that_are_matched_by_images_alone_leave_nothing_to_be_said(norm):
    found = matched(BY_IMAGES[norm], "activations")
    assert found.definitions == {}
    assert found.record["iterations"] == 1


def test_no_feature_no_dependence():
    assert matched(BY_BATCHES["no running statistics"], "weights").definitions == {}


def test_a_matching_by_the_batch_is_in_what_the_connection_says():
    images, labels = samples(24, (6,), 1)
    given = {"matching": "activations", "train": (images, labels)}
    entries = by(BY_BATCHES["no running statistics"], **given).left_out
    names = [entry.name for entry in entries if entry.kind == "definition"]
    assert names == ["features", "logits"]


def test_outputs_of_several_tensors_are_looked_at_too():
    class Several(nn.Module):
        def __init__(self, model):
            super().__init__()
            self.model = model

        def forward(self, x, scale):
            logits = self.model(x) * scale
            return {"logits": logits, "mean": logits.mean()}

    images, _ = samples(24, (6,), 1)
    inputs = images, torch.ones(24, 1).double()
    for norm, dependent in (
        (nn.BatchNorm1d(6, track_running_stats=False), True),
        (nn.Tanh(), False),
    ):
        model = Several(nn.Sequential(norm, mlp(0)).double().eval())
        assert (batch_dependence(model, inputs) > 0) == dependent
