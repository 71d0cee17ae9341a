"""Norms: the third condition of LLFC, and those that are a part of the layer before them."""

import copy
import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

import llfc
from tests.helpers import in_memory_reference as in_memory
from tests.helpers.conditions_measured import measured, rows, same
from tests.helpers.small_networks import CLASSES, blended, convnet, random_, samples


def with_statistics(model, seed):
    """Batch norms that have seen something; all parameters drawn."""
    generator = torch.Generator().manual_seed(seed)
    for module in random_(model, seed).modules():
        if isinstance(module, in_memory.BATCH_NORMS) and module.track_running_stats:
            module.running_mean.normal_(generator=generator)
            module.running_var.uniform_(0.5, 3, generator=generator)
    return model.double().eval()


def perceptron(seed):
    layers = nn.Linear(6, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, CLASSES)
    return with_statistics(nn.Sequential(*layers), seed)


def upward(seed):
    """A transposed convolution."""
    layers = nn.ConvTranspose2d(2, 5, 2), nn.BatchNorm2d(5), nn.Flatten(), nn.Linear(320, CLASSES)
    return with_statistics(nn.Sequential(*layers), seed)


class Tokens(nn.Module):
    """A linear layer on three tokens, and a batch norm that has its channels in their middle."""

    def __init__(self, flat):
        super().__init__()
        self.linear, self.norm = nn.Linear(2, 5), nn.BatchNorm1d(5)
        self.head, self.flat = nn.Linear(5, CLASSES), flat

    def forward(self, x):
        x = self.linear(x)
        if self.flat:
            x = self.norm(x.flatten(0, 1)).view(x.shape)
        else:
            x = self.norm(x.transpose(1, 2)).transpose(1, 2)
        return self.head(x.relu().mean(1))


FUSED = {
    "tokens": (lambda seed: with_statistics(Tokens(False), seed), (3, 2), {"linear": "norm"}),
    "flat tokens": (lambda seed: with_statistics(Tokens(True), seed), (3, 2), {"linear": "norm"}),
    "convnet": (
        convnet,
        (2, 7, 7),
        {f"{at}conv": f"{at}norm" for at in ("", "block1.", "block2.")},
    ),
    "perceptron": (perceptron, (6,), {"0": "1"}),
    "upward": (upward, (2, 7, 7), {"0": "1"}),
}


@pytest.mark.parametrize("case", FUSED)
def test_a_layer_and_its_batch_norm_are_measured_as_their_fused_twin(case):
    make, shape, after = FUSED[case]
    a, b = make(0).eval(), make(1).eval()
    twins = [copy.deepcopy(model) for model in (a, b)]
    for twin in twins:
        for layer, norm in after.items():
            one, other = twin.get_submodule(layer), twin.get_submodule(norm)
            if isinstance(one, nn.Linear):
                twin.set_submodule(layer, fuse_linear_bn_eval(one, other))
            else:
                transposed = isinstance(one, nn.ConvTranspose2d)
                twin.set_submodule(layer, fuse_conv_bn_eval(one, other, transpose=transposed))
            twin.set_submodule(norm, nn.Identity())
    images, _ = samples(20, shape)
    found, plain = measured(a, b, images, size=7), measured(*twins, images)
    for table in ("additivity", "commutativity"):
        for pair in ("matched", "shuffled"):
            same(rows(found, table, pair), rows(plain, table, pair))
    raw = rows(found, "raw_commutativity")
    assert set(after) == set(raw)
    if case not in ("upward", "tokens", "flat tokens"):
        same(raw, in_memory.raw_commutativity(a, b, images, images))
    for layer in after:
        assert raw[layer]["dist_h"] == rows(found, "commutativity")[layer]["dist_h"]
        assert raw[layer]["dist_w"] != pytest.approx(
            rows(found, "commutativity")[layer]["dist_w"], rel=1e-3
        )


def test_a_scale_that_a_batch_norm_undoes_is_none():
    """Twice the weights and twice the deviation are one function, and one weight once folded."""
    a = perceptron(0)
    a[1].eps = 0.0
    b = copy.deepcopy(a)
    with torch.no_grad():
        b[0].weight *= 2
        b[0].bias *= 2
    b[1].running_mean *= 2
    b[1].running_var *= 4
    found = measured(a, b, samples(20, (6,))[0])
    assert rows(found, "commutativity")["0"]["dist_w"] == pytest.approx(0, abs=1e-15)
    assert rows(found, "raw_commutativity")["0"]["dist_w"] == pytest.approx(0.5)
    assert rows(found, "commutativity")["3"]["dist_h"] == pytest.approx(0, abs=1e-15)


class Functional(nn.Module):
    """Norms called as functions, and one that keeps no statistics."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(6, 6)
        self.gain, self.shift = nn.Parameter(torch.ones(6)), nn.Parameter(torch.zeros(6))
        self.out = nn.Linear(6, CLASSES)

    def forward(self, x):
        x = F.layer_norm(self.linear(x), (6,), self.gain, bias=self.shift)
        return self.out(F.rms_norm(torch.layer_norm(x, (6,)), (6,)))


NORMED = {
    "layer": lambda: nn.LayerNorm(5),
    "RMS": lambda: nn.RMSNorm(5),
    "batch": lambda: nn.BatchNorm1d(5),
    "group": lambda: nn.GroupNorm(1, 5),
    "batch, of images": lambda: nn.BatchNorm2d(5),
    "group, of images": lambda: nn.GroupNorm(5, 5),
    "instance": lambda: nn.InstanceNorm2d(5, affine=True),
    "instance, fixed": lambda: nn.InstanceNorm2d(5, affine=True, track_running_stats=True),
}


@pytest.mark.parametrize("name", NORMED)
def test_every_norm_is_what_stored_features_give(name):
    norm = NORMED[name]()
    on_images = "2d" in type(norm).__name__ or "images" in name
    first = nn.Conv2d(2, 5, 3) if on_images else nn.Linear(6, 5)
    model = nn.Sequential(first, norm, nn.ReLU(), nn.Flatten(), nn.LazyLinear(CLASSES))
    images, _ = samples(20, (2, 7, 7) if on_images else (6,))
    model.double()(images)
    a, b = (with_statistics(copy.deepcopy(model), seed) for seed in (0, 1))
    found = measured(a, b, images, size=7, unmatched=b)
    expected = in_memory.norms(a, b, blended(a, b, 0.5), images, images)
    assert expected["1"]["dist"] > 1e-3
    for pair in ("matched", "unmatched"):
        same(rows(found, "norms", pair), expected, rel=1e-9)
    assert found.scalars["norms_dist_mean"] == pytest.approx(expected["1"]["dist"])
    assert 0 < found.scalars["norms_ratio_shuffled"] < 3


def test_norms_that_are_functions_are_measured_too():
    a, b = (random_(Functional(), seed) for seed in (0, 1))
    found = measured(a, b, samples(20, (6,))[0])
    assert list(rows(found, "norms")) == ["model", "model#2", "model#3"]
    assert min(row["dist"] for row in rows(found, "norms").values()) > 1e-3


def test_without_norms_there_is_no_third_condition():
    a, b = (random_(nn.Sequential(nn.Linear(6, 5), nn.ReLU()), seed) for seed in (0, 1))
    found = measured(a, b, samples(20, (6,))[0])
    assert set(found.tables) == {"additivity", "commutativity"}
    assert not any("norm" in name or "raw" in name for name in found.scalars)


# What theory says


def angled(length, direction):
    """Features of one direction and, where x > 0, of any length; then a layer norm; then logits."""
    first, norm, head = nn.Linear(1, 3, bias=False), nn.LayerNorm(3, eps=0.0), nn.Linear(3, 3)
    model = nn.Sequential(first, norm, head).double()
    with torch.no_grad():
        first.weight.copy_(length * torch.tensor(direction, dtype=torch.float64)[:, None])
        first.weight.div_(torch.tensor(direction, dtype=torch.float64).norm())
        head.weight.copy_(torch.eye(3))
        head.bias.zero_()
    return model


def test_across_a_norm_both_conditions_hold_and_llfc_does_not():
    """Two centred, orthogonal directions of lengths 1 and t: cos = (1 + t) / sqrt(2 (1 + t²)).

    That is 7 / 8 for t = (1 - sqrt(1 - 4 c²)) / (2 c), c = t / (1 + t²) = 49 / 64 - 1 / 2. The mean
    of the two unit features is 1 / sqrt(2) long, in units of that of a normed one.
    """
    c = 49 / 64 - 1 / 2
    t = (1 - math.sqrt(1 - 4 * c**2)) / (2 * c)
    a, b = angled(1.0, [1, -1, 0]), angled(t, [1, 1, -2])
    images = torch.rand(20, 1, dtype=torch.float64) + 0.5
    found = measured(a, b, images)
    assert found.scalars["commutativity_dist_com_max"] < 1e-30
    assert "additivity" not in found.tables
    norm = rows(found, "norms")["1"]
    assert norm["cos"] == pytest.approx(7 / 8)
    assert norm["coef"] == pytest.approx(7 / 8 * math.sqrt(2))
    assert norm["dist"] == pytest.approx((1 + 1 / 2 - 2 * 7 / 8 / math.sqrt(2)) * math.sqrt(2))
    labels = torch.zeros(20, dtype=torch.int64)
    given = {"test": (images, labels), "matching": None, "alphas": 3, "measures": ()}
    logits = {layer.name: layer for layer in llfc.connect(a, b, **given).layers}["2"]
    assert logits.cos_error[1] == pytest.approx(1 / 8)


def test_all_three_conditions_give_llfc():
    """Networks that differ in the gains and shifts of one batch norm, after which all is linear."""
    layers = nn.Conv2d(2, 5, 3), nn.LayerNorm([5, 5]), nn.BatchNorm2d(5), nn.Flatten()
    a = with_statistics(nn.Sequential(*layers, nn.Linear(125, CLASSES)), 0)
    b = copy.deepcopy(a)
    with torch.no_grad():
        b[2].weight.mul_(2)
        b[2].bias.mul_(3)
    given = {"test": samples(30, (2, 7, 7)), "matching": None, "alphas": 3, "correction": "none"}
    found = llfc.connect(a, b, **given)
    assert found.summaries["norms_dist_max"] < 1e-28
    assert found.summaries["commutativity_dist_com_max"] < 1e-28
    for layer in found.layers:
        assert layer.cos_error[1] < 1e-14
        assert layer.coef[1] == pytest.approx(1, abs=1e-13)


def test_the_blends_norms_are_corrected_as_it_is():
    images, labels = samples(30, (2, 7, 7))
    given = {"test": (images, labels), "train": (images, labels), "matching": None, "alphas": 3}
    one, other = (
        llfc.connect(convnet(0), convnet(1), correction=correction, **given)
        for correction in ("none", "reset")
    )
    a, b = (reset(convnet(seed), images) for seed in (0, 1))
    between = reset(blended(convnet(0), convnet(1), 0.5), images)
    expected = in_memory.norms(a, b, between, images, images)
    assert other.summaries["norms_dist_mean"] == pytest.approx(
        sum(row["dist"] for row in expected.values()) / len(expected)
    )
    assert one.summaries["norms_dist_mean"] != pytest.approx(other.summaries["norms_dist_mean"])


def reset(model, images):
    in_memory.reset(model.eval(), [images])
    return model
