"""Which statistics a correction takes for a batch norm's, and which it says it left out."""

import pytest
import torch
from torch import nn

import llfc
from llfc.connectivity.corrections.reset import batch_norms
from tests.helpers.quick_cases import slow_unless
from tests.helpers.small_networks import convnet, samples
from tests.helpers.written_out_norms import (
    BATCH_NORMS,
    SHAPE,
    WrittenOutBatchNorm,
    conv,
    on_maps,
    written,
)

NORMS = ("norm", "block1.norm", "block2.norm")


def test_batch_norms_are_those_with_statistics():
    model = convnet(0).eval()
    model.block1.norm = torch.nn.BatchNorm2d(5, track_running_stats=False).double()
    found = batch_norms(model, samples(2, (2, 7, 7))[0])
    assert found == tuple((f"{n}.running_mean", f"{n}.running_var") for n in (NORMS[0], NORMS[2]))


def connected(make, **options):
    images, labels = samples(24, SHAPE)
    given = {"test": (images, labels), "train": (images, labels), "matching": None, "alphas": 3}
    return llfc.connect(*(written(make, seed) for seed in (0, 1)), measures=(), **given | options)


@pytest.mark.parametrize("way", slow_unless(["functional", "own names"], BATCH_NORMS))
def test_a_batch_norm_is_one_whatever_class_keeps_its_statistics(way):
    found, plain = connected(BATCH_NORMS[way]), connected(BATCH_NORMS["torch.nn"])
    assert found.curve["test_loss"] == pytest.approx(plain.curve["test_loss"], rel=1e-12)
    assert found.scalars()["correction_layers"] == 1
    assert found.scalars()["left_out_correction"] == 0
    blended_ = connected(BATCH_NORMS[way], correction="none")
    assert abs(found.curve["test_loss"] - blended_.curve["test_loss"])[1] > 1e-3
    with pytest.raises(ValueError, match=r"^correction 'reset' needs train images"):
        connected(BATCH_NORMS[way], train=None)


class Frozen(nn.Module):
    """Its statistics never change, and have the usual names."""

    def __init__(self, channels):
        super().__init__()
        self.register_buffer("running_mean", torch.zeros(channels, 1, 1))
        self.register_buffer("running_var", torch.ones(channels, 1, 1))

    def forward(self, x):
        return (x - self.running_mean) / (self.running_var.abs() + 1e-5).sqrt()


OTHER_STATISTICS = {
    "written out": (lambda: WrittenOutBatchNorm(5), "mu, sigma2"),
    "frozen": (lambda: Frozen(5), "running_mean, running_var"),
    "of single images": (
        lambda: nn.InstanceNorm2d(5, track_running_stats=True),
        "running_mean, running_var",
    ),
}


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("alike", [True, False])
@pytest.mark.parametrize("kind", OTHER_STATISTICS)
def test_statistics_that_no_batch_norm_reads_are_said_to_be_left_out(kind, alike, train):
    norm, buffers = OTHER_STATISTICS[kind]
    a, b = (written(lambda: on_maps(conv(), norm(), nn.ReLU()), seed) for seed in (0, 1))
    if alike:  # as of networks that were never trained
        for of_a, of_b in zip(a.buffers(), b.buffers(), strict=True):
            of_b.copy_(of_a)
    images, labels = samples(24, SHAPE)
    given = {"test": (images, labels), "matching": None, "alphas": 3, "measures": ()}
    if train:
        given["train"] = images, labels
    found = llfc.connect(a, b, **given)
    (left_out,) = [each for each in found.left_out if each.kind == "correction"]
    assert left_out.name == "1"
    assert left_out.reason == f"{buffers}: left as blended, read by no batch_norm"
    assert found.scalars()["correction_layers"] == 0
    assert found.scalars()["left_out_correction"] == 1


def test_buffers_that_are_no_statistics_are_left_out_only_where_a_and_b_differ():
    class Scaled(nn.Module):
        def __init__(self, scale):
            super().__init__()
            self.register_buffer("scale", torch.tensor(scale))

        def forward(self, x):
            return x * self.scale

    images, labels = samples(24, (6,))
    given = {"test": (images, labels), "matching": None, "alphas": 3, "measures": ()}
    for scale, expected in ((2.0, []), (3.0, ["0"])):
        nets = [nn.Sequential(Scaled(s), nn.Linear(6, 4)).double() for s in (2.0, scale)]
        left_out = llfc.connect(*nets, **given).left_out
        assert [each.name for each in left_out if each.kind == "correction"] == expected


def test_a_network_that_cannot_run_in_training_mode_is_said_to_be_unknown():
    class Picky(nn.Sequential):
        def forward(self, x):
            if self.training:
                raise RuntimeError("give me labels\nplease")
            return super().forward(x)

    make = lambda: Picky(on_maps(conv(), WrittenOutBatchNorm(5), nn.ReLU()))  # noqa: E731
    (of_modules, of_model) = (
        each for each in connected(make).left_out if each.kind == "correction"
    )
    assert of_modules.reason.endswith("would show what it updates: give me labels")
    assert of_model.name == "0.1"
