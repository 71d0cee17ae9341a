"""Networks in which an image's logits depend on the other images of its batch: that is said."""

import pytest
import torch
from torch import nn

import llfc
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


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", BY_IMAGES)
def test_logits_of_an_image_alone_leave_nothing_to_be_said(kind, dtype):
    assert by(BY_IMAGES[kind], dtype).left_out == ()
    assert by(BY_IMAGES[kind], dtype, batch_size=1).left_out == ()
