"""What is captured of a network: every way to write an activation or a linear layer."""

import copy
import subprocess
import sys

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm

from llfc.connectivity.measures.conditions.imageaxis import image_axes
from llfc.connectivity.measures.conditions.operations import operations, stream_operations
from tests.helpers.conditions_measured import measured, rows, same
from tests.helpers.in_memory_reference import distance
from tests.helpers.small_networks import CLASSES, random_, samples


class Net(nn.Module):
    """An activation written in one of many ways."""

    def __init__(self, activate):
        super().__init__()
        self.first, self.last = nn.Linear(6, 8), nn.Linear(8, CLASSES)
        self.activate = activate

    def forward(self, x):
        return self.last(self.activate(self.first(x)))


RELUS = {
    "F.relu": F.relu,
    "F.relu in place": lambda x: F.relu(x, inplace=True),
    "torch.relu": torch.relu,
    "relu_": lambda x: x.relu_(),
    "clamp": lambda x: x.clamp(min=0),
    "clamp_min_": lambda x: x.clamp_min_(0),
    "threshold": lambda x: F.threshold(x, 0, 0),
    "module in place": nn.ReLU(inplace=True),
}


@pytest.mark.parametrize("way", RELUS)
def test_every_way_to_write_a_relu_is_seen(way):
    images, _ = samples(30, (6,))
    plain = measured(*(random_(Net(nn.ReLU()), seed) for seed in (0, 1)), images)
    other = measured(*(random_(Net(RELUS[way]), seed) for seed in (0, 1)), images)
    (row,) = rows(other, "additivity").values()
    assert row == pytest.approx(rows(plain, "additivity")["activate"], rel=1e-12)
    same(rows(other, "commutativity"), rows(plain, "commutativity"))
    name = "activate" if way == "module in place" else "model"
    assert list(rows(other, "additivity")) == [name]


ACTIVATIONS = [F.leaky_relu, F.gelu, F.silu, torch.tanh, F.elu, F.selu, F.relu6, F.hardswish]
ACTIVATIONS += [F.mish, F.softplus, torch.sigmoid, F.hardtanh, F.hardsigmoid, F.celu]


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=lambda f: f.__name__)
def test_other_activations_are_seen(activation):
    a, b = (random_(Net(activation), seed) for seed in (0, 1))
    images, _ = samples(30, (6,))
    (row,) = rows(measured(a, b, images), "additivity").values()
    with torch.no_grad():
        h_a, h_b = a.first(images), b.first(images)
        u, v = (activation(h_a) + activation(h_b)) / 2, activation((h_a + h_b) / 2)
    assert row["dist"] == pytest.approx(distance(u, v), rel=1e-10)
    assert row["cos"] == pytest.approx(torch.cosine_similarity(u, v).mean().item(), rel=1e-10)


LAYERS = {
    "conv1d": (nn.Conv1d(4, 6, 3, padding="same", padding_mode="circular"), (4, 9)),
    "conv2d grouped": (nn.Conv2d(4, 6, 3, groups=2, stride=2, dilation=2), (4, 9, 9)),
    "conv3d": (nn.Conv3d(4, 2, 2), (4, 3, 3, 3)),
    "transposed": (nn.ConvTranspose2d(4, 6, 3, groups=2, stride=2, output_padding=1), (4, 5, 5)),
    "linear on tokens": (nn.Linear(4, 5), (3, 4)),
    "parametrised": (weight_norm(nn.Linear(4, 5)), (4,)),
}


@pytest.mark.parametrize("kind", LAYERS)
def test_every_kind_of_linear_layer_is_seen(kind):
    """Both with features that differ, as a pointwise layer stands before it."""
    layer, shape = LAYERS[kind]

    def model(seed):
        return random_(nn.Sequential(nn.Tanh(), Scale(), copy.deepcopy(layer)), seed).eval()

    a, b = model(0), model(1)
    images, _ = samples(16, shape)
    found = measured(a, b, images)
    with torch.no_grad():
        bare = [copy.deepcopy(m[2]) for m in (a, b)]
        h_a, h_b = a[:2](images), b[:2](images)
        zero = torch.zeros_like(h_a)
        w_a, w_b = ((lambda h, m=m: m(h) - m(zero)) for m in bare)
        expected = {
            "dist_com": distance(w_a(h_a) + w_b(h_b), w_a(h_b) + w_b(h_a)),
            "dist_w": distance(a[2].weight, b[2].weight),
            "dist_h": distance(h_a, h_b),
        }
    assert rows(found, "commutativity") == {"2": pytest.approx(expected, rel=1e-9)}


class Scale(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, x):
        return x * self.scale


class Transformer(nn.Module):
    """Attention with its images in the second dimension, a layer that runs twice, tied weights."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Linear(4, 8)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=False)
        self.mix = nn.Linear(8, 8, bias=False)
        self.tied = nn.Linear(8, 8, bias=False)
        self.tied.weight = self.mix.weight
        self.head = nn.Linear(8, CLASSES)

    def forward(self, x):
        tokens = self.embed(x).transpose(0, 1)
        tokens = tokens + self.attention(tokens, tokens, tokens)[0]
        tokens = F.gelu(self.mix(F.gelu(self.mix(tokens))))
        return self.head(F.relu_(self.tied(tokens)).mean(0))


def test_attention_and_layers_that_run_twice():
    a, b = (random_(Transformer(), seed) for seed in (0, 1))
    images, _ = samples(16, (5, 4))
    found = measured(a, b, images)
    layers = ["embed", "attention", "attention.out_proj", "mix", "mix#2", "tied", "head"]
    assert list(rows(found, "commutativity")) == layers
    assert list(rows(found, "commutativity", "shuffled")) == layers
    assert list(rows(found, "additivity")) == ["model", "model#2", "model#3"]
    with torch.no_grad():
        h = []
        for model in (a, b):
            tokens = model.embed(images).transpose(0, 1)
            h.append(model.mix(tokens + model.attention(tokens, tokens, tokens)[0]))
        u, v = (F.gelu(h[0]) + F.gelu(h[1])) / 2, F.gelu((h[0] + h[1]) / 2)
        rows_u, rows_v = (x.transpose(0, 1).flatten(1) for x in (u, v))
    row = rows(found, "additivity")["model"]
    assert row["cos"] == pytest.approx(torch.cosine_similarity(rows_u, rows_v).mean().item())
    assert row["coef"] == pytest.approx(
        ((rows_u * rows_v).sum(1) / rows_u.square().sum(1)).mean().item()
    )
    same(rows(measured(a, b, images, size=4), "additivity"), rows(found, "additivity"))


def test_images_are_found_in_folded_dimensions():
    class Folds(nn.Module):
        def __init__(self):
            super().__init__()
            self.table = nn.Parameter(torch.randn(3, 4))
            self.mlp, self.gate = nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x):
            windows = self.mlp(x.flatten(0, 1)).relu()  # images outside, windows inside
            tokens = self.mlp(x.transpose(0, 1).flatten(0, 1)).relu()
            return (windows + tokens).unflatten(0, (-1, 2)).sum(1) * self.gate(2 * self.table).sum()

    model, example = random_(Folds(), 0).eval(), samples(2, (2, 4))[0]
    axes = image_axes(model, example, operations(model, example))
    found = [axis and (axis.dim, axis.outer) for axis in axes]
    assert found == [(0, True), (0, True), (0, False), (0, False), None]


@pytest.mark.parametrize("inplace", [False, True])
def test_what_is_overwritten_is_kept(inplace):
    """A ReLU and a residual addition in place: each operation's input and output as they were."""

    class Overwrites(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(6, 6), nn.Linear(6, 6)

        def forward(self, x):
            hidden = self.first(x)
            hidden = F.relu(hidden, inplace=inplace)
            out = self.second(hidden)
            if inplace:
                hidden += out
                return hidden.mul_(2)
            return (hidden + out) * 2

    model = random_(Overwrites(), 0).requires_grad_(False)
    images, _ = samples(5, (6,))
    first, relu, second = kept = operations(model, images)
    assert torch.equal(first.output, F.linear(images, model.first.weight, model.first.bias))
    assert torch.equal(relu.input, first.output)
    assert torch.equal(relu.output, first.output.relu())
    assert torch.equal(second.input, relu.output)
    captured = []
    stream_operations(
        model, images, lambda each: captured.append((each.input + 0, each.output + 0))
    )
    for one, (was_input, was_output) in zip(kept, captured, strict=True):
        assert torch.equal(one.input, was_input)
        assert torch.equal(one.output, was_output)


def test_no_hook_is_left_behind():
    class Fails(nn.Module):
        def forward(self, x):
            raise RuntimeError("as planned")

    before = torch.nn.modules.module
    hooks = len(before._global_forward_hooks), len(before._global_forward_pre_hooks)
    with pytest.raises(RuntimeError, match="as planned"):
        operations(nn.Sequential(nn.Linear(6, 6), Fails()), samples(5, (6,))[0].float())
    assert (len(before._global_forward_hooks), len(before._global_forward_pre_hooks)) == hooks
    assert torch.backends.mha.get_fastpath_enabled()


@pytest.mark.slow
def test_no_compiler_is_loaded_for_it():
    """What torch.compile is made of takes seconds to import."""
    code = """
import sys, torch
from torch import nn
from llfc.connectivity.measures.conditions.operations import operations
assert len(operations(nn.Sequential(nn.Linear(3, 3), nn.ReLU()), torch.zeros(2, 3))) == 2
print("torch._dynamo" in sys.modules)
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "False"
