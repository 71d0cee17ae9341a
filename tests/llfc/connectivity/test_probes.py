"""Which layers are probed: by default, by name, by pattern; none twice, none missed."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from llfc.connectivity.probes import choose_probes, tapped
from llfc.networks.architectures import ARCHITECTURES, build_network
from llfc.networks.families.mixer import MixerBlock
from llfc.networks.families.resnet import ResidualBlock
from llfc.networks.families.transformer import Block
from llfc.seeds import stream
from tests.helpers.quick_cases import slow_unless
from tests.helpers.small_networks import convnet, mlp


def names(model, images, chosen=None):
    return [probe.name for probe in choose_probes(model.eval(), images, chosen)]


IMAGES = torch.zeros(2, 2, 7, 7, dtype=torch.float64)
VECTORS = torch.zeros(2, 6, dtype=torch.float64)


def test_plain_networks_are_probed_at_linear_layers_and_activations():
    assert names(mlp(0), VECTORS) == ["linear0", "relu0", "linear1", "relu1", "linear2"]


def test_residual_networks_are_probed_at_stem_blocks_and_head():
    assert names(convnet(0), IMAGES) == ["relu", "block1", "block2", "head"]


@pytest.mark.parametrize(
    ("architecture", "norm"),
    slow_unless(
        [(a, entry.norms[0]) for a, entry in ARCHITECTURES.items()],
        [
            (a, norm)
            for a, entry in ARCHITECTURES.items()
            for norm in entry.norms
            if "images" in entry.inputs
        ],
    ),
)
def test_our_own_architectures(architecture, norm):
    model = build_network(
        architecture,
        width=1 / 8,
        norm=norm,
        input_shape=(3, 32, 32),
        num_classes=10,
        generator=stream(0, "init"),
    )
    found = names(model, torch.zeros(2, 3, 32, 32))
    modules = dict(model.named_modules())
    residual = (ResidualBlock, Block, MixerBlock)
    if blocks := [name for name, module in modules.items() if isinstance(module, residual)]:
        stem = "relu" if "relu" in modules else "patches"
        inner = ("attention", "mlp.gelu") if architecture == "vit" else ()
        parts = [f"{block}.{name}" if name else block for block in blocks for name in (*inner, "")]
        assert found == [stem, *parts, "head"]
    else:
        plain = (nn.Linear, nn.Conv2d, nn.ReLU)
        assert found == [name for name, module in modules.items() if isinstance(module, plain)]


class Odd(nn.Module):
    """Shared layers, a functional activation, a module that never runs, one with two outputs."""

    class Pair(nn.Module):
        def forward(self, x):
            return x, x

    class Turned(nn.Module):
        def forward(self, x):
            return x.T

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(6, 6)
        self.shared = nn.Linear(6, 6)
        self.relu = nn.ReLU(inplace=True)
        self.unused = nn.Linear(6, 6)
        self.pair = self.Pair()
        self.turned = self.Turned()
        self.double()

    def forward(self, x):
        x = F.relu(self.first(x))
        x = self.relu(self.shared(x))
        x, _ = self.pair(self.relu(self.shared(x)))
        return self.turned(x).T


def test_each_call_is_a_probe_of_its_own():
    model = Odd()
    every = ["first", "shared", "relu", "shared#2", "relu#2"]
    assert names(model, VECTORS[:, :6].repeat(2, 1)) == every
    assert names(model, VECTORS, ["shared"]) == ["shared", "shared#2"]
    assert names(model, VECTORS, ["relu#2", "first"]) == ["first", "relu#2"]


def test_each_call_is_read_before_it_is_overwritten():
    torch.manual_seed(0)
    model = Odd()
    inputs = torch.randn(3, 6, dtype=torch.float64)
    probes = choose_probes(model, inputs)
    captured = {}
    with tapped(
        model, probes, lambda i, feature: captured.update({probes[i].name: feature.clone()})
    ):
        for _ in range(2):  # the count of calls begins anew
            captured.clear()
            model(inputs)
    x = model.first(inputs)
    assert torch.equal(captured["first"], x)
    x = model.shared(F.relu(x))
    assert torch.equal(captured["shared"], x)
    assert torch.equal(captured["relu"], F.relu(x))
    x = model.shared(F.relu(x))
    assert torch.equal(captured["shared#2"], x)
    assert torch.equal(captured["relu#2"], F.relu(x))


def test_patterns():
    assert names(mlp(0), VECTORS, ["relu*", "linear2"]) == ["relu0", "relu1", "linear2"]
    assert names(convnet(0), IMAGES, ["block?.conv"]) == ["block1.conv", "block2.conv"]


def refusal(model, images, chosen):
    with pytest.raises(ValueError, match=r".") as refused:
        names(model, images, chosen)
    return str(refused.value)


def test_names_that_match_nothing_are_refused():
    known = "choose from linear0, linear1, linear2, relu0, relu1"
    assert refusal(mlp(0), VECTORS, ["relu0", "linaer1"]) == (
        f"unknown probe 'linaer1': {known}; did you mean 'linear1'?"
    )
    assert refusal(mlp(0), VECTORS, ["norm*"]) == f"unknown probe 'norm*': {known}"
    assert refusal(mlp(0), VECTORS, []) == "probes must name at least one module, got none"
    odd = refusal(Odd(), VECTORS.repeat(2, 1)[:3], ["unused"])  # never runs
    assert odd.startswith("unknown probe 'unused': choose from first, pair, relu, relu#2, shared,")


def test_a_container_beside_its_last_layer_is_refused():
    model = nn.Sequential(mlp(0), nn.Identity()).eval()
    assert refusal(model, VECTORS, ["0", "0.linear2"]) == (
        "probes '0.linear2' and '0' read the same output"
    )
    assert names(model, VECTORS) == [f"0.{name}" for name in names(mlp(0), VECTORS)]


@pytest.mark.parametrize("pattern", ["*", "0*"])
def test_a_pattern_finds_the_layer_and_not_its_container(pattern):
    model = nn.Sequential(mlp(0)).eval()
    assert names(model, VECTORS, [pattern]) == [f"0.{name}" for name in names(mlp(0), VECTORS)]
    assert names(model, VECTORS, ["0", "*.relu?"]) == ["0.relu0", "0.relu1", "0"]


def test_in_place_activation_is_not_the_layer_before_it():
    """They give one and the same tensor, but not at the same time."""
    assert names(mlp(0), VECTORS, ["linear0", "relu0"]) == ["linear0", "relu0"]


def test_a_single_layer_is_a_network():
    assert names(nn.Linear(6, 3).double(), VECTORS) == ["model"]


def test_a_sum_in_the_networks_own_forward_makes_no_block():
    class Skips(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.Linear(6, 6).double(), nn.Linear(6, 6).double()

        def forward(self, x):
            x = x + self.one(x)
            return x + self.two(x)

    assert names(Skips(), VECTORS) == ["one", "two"]


def test_added_parameters_make_no_block():
    class Shifted(nn.Module):
        def __init__(self):
            super().__init__()
            self.shift = nn.Parameter(torch.zeros(2, 6, dtype=torch.float64))

        def forward(self, x):
            return x + self.shift

    model = nn.Sequential(Shifted(), nn.Linear(6, 3).double())
    assert names(model, VECTORS) == ["1"]


class Own(nn.Module):
    """A linear layer of its own code."""

    def __init__(self, given, made):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(given, made, dtype=torch.float64))
        self.bias = nn.Parameter(torch.zeros(made, dtype=torch.float64))

    def forward(self, x):
        return x @ self.weight + self.bias


def test_linear_maps_that_no_linear_layer_runs_are_probed():
    assert names(nn.Sequential(Own(6, 5), nn.ReLU(), Own(5, 3)), VECTORS) == ["0", "1", "2"]
    assert names(Own(6, 3), VECTORS) == ["model"]

    class Headless(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.block, self.head = Own(6, 6), Block(), Own(6, 3)

        def forward(self, x):
            return self.block(self.stem(x)) @ self.head.weight

    class Block(Own):
        def __init__(self):
            super().__init__(6, 6)

        def forward(self, x):
            return x + super().forward(x)

    assert names(Headless(), VECTORS) == ["stem", "block", "model"]


@pytest.mark.parametrize("norm", ["weight_norm", "spectral_norm", "orthogonal"])
def test_layers_whose_weights_are_parametrised_are_probed_as_plain_ones(norm):
    parametrised = getattr(nn.utils.parametrizations, norm)
    layers = [nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 3)]
    plain = nn.Sequential(*layers).double()
    expected = [(p.name, p.kind) for p in choose_probes(plain.eval(), VECTORS)]
    for layer in layers[::2]:
        parametrised(layer)
    assert [(p.name, p.kind) for p in choose_probes(plain.eval(), VECTORS)] == expected


def test_a_network_with_nothing_to_probe_is_read_at_its_output():
    (probe,) = choose_probes(nn.Flatten(), VECTORS)
    assert probe.name == "model"
    assert probe.logits


class Looking(nn.Module):
    """Computes with what it is given, for a loss say, and hands it on as it is."""

    def forward(self, x):
        self.penalty = (x.T @ x).relu().sum()
        return x


def test_what_a_module_hands_on_as_it_is_is_read_once_and_in_forward_order():
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), Looking(), nn.Linear(8, 4), Looking())
    probes = choose_probes(model.eval(), torch.randn(2, 6))
    assert [probe.name for probe in probes] == ["0", "1", "3"]
    assert [probe.kind for probe in probes][:2] == ["pre-activation", "post-activation"]


def test_what_is_handed_on_after_others_ran_keeps_the_forward_order():
    class Late(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(6, 8), nn.Linear(8, 8)
            self.look, self.last = Looking(), nn.Linear(8, 4)

        def forward(self, x):
            x = self.first(x)
            y = self.second(x)
            return self.last(torch.cat([self.look(x), y], 1)[:, :8])

    probes = choose_probes(Late().eval(), torch.randn(2, 6))
    assert [probe.name for probe in probes] == ["first", "second", "last"]
