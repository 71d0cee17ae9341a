"""The kind of each probe: pre-activation, post-activation or logits; and its relative depth."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from llfc.connectivity.probes import choose_probes
from llfc.networks.architectures import build_network
from llfc.seeds import stream
from tests.helpers.small_networks import convnet


def kinds(model, images, chosen=None):
    return {probe.name: probe.kind for probe in choose_probes(model.eval(), images, chosen)}


PRE, POST, LOGITS = "pre-activation", "post-activation", "logits"


@pytest.mark.parametrize("norm", ["none", "batch", "group"])
@pytest.mark.parametrize("architecture", ["mlp", "vgg11", "resnet20"])
def test_kinds_of_our_own_architectures(architecture, norm):
    plan = {"input_shape": (3, 32, 32), "num_classes": 10, "generator": stream(0, "init")}
    model = build_network(architecture, width=1 / 8, norm=norm, **plan)
    images = torch.randn(2, 3, 32, 32, generator=stream(0, "images"))
    found = kinds(model, images)
    for name, kind in found.items():
        last = name.rpartition(".")[2]
        if name == "head":
            assert kind == LOGITS
        elif last.startswith(("conv", "hidden")):
            assert kind == PRE, name
        else:
            assert kind == POST, name
    depths = [probe.depth for probe in choose_probes(model, images)]
    assert depths == sorted(depths)
    assert depths[0] > 0
    assert depths[-1] == 1


class Encoder(nn.Module):
    """A pre-norm transformer: patches with their places, blocks, a norm and a head."""

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm1, self.norm2 = nn.LayerNorm(4), nn.LayerNorm(4)
            self.attend = nn.MultiheadAttention(4, 2)
            self.one, self.two = nn.Linear(4, 8), nn.Linear(8, 4)

        def forward(self, x):
            y = self.norm1(x)
            x = x + self.attend(y, y, y)[0]
            return x + self.two(F.gelu(self.one(self.norm2(x))))

    def __init__(self):
        super().__init__()
        self.embed, self.places = nn.Linear(6, 4), nn.Parameter(torch.randn(5, 1, 4))
        self.drop = nn.Dropout(0.1)
        self.blocks = nn.Sequential(self.Block(), self.Block())
        self.norm, self.head = nn.LayerNorm(4), nn.Linear(4, 3)

    def forward(self, x):
        x = self.drop(self.embed(x.transpose(0, 1)) + self.places)
        return self.head(self.norm(self.blocks(x))[0])


def test_kinds_of_a_transformer():
    """The embedding, which is linear by definition, is none of its post-activations."""
    images = torch.randn(2, 5, 6, generator=stream(0, "images"))
    found = kinds(Encoder(), images)
    attention = {"blocks.0.attend": PRE, "blocks.1.attend": PRE}
    mlps = {"blocks.0.two:input": POST, "blocks.1.two:input": POST}
    blocks = {"drop": PRE, "blocks.0": POST, "blocks.1": POST, "head": LOGITS}
    assert found == blocks | attention | mlps
    assert kinds(Encoder(), images, ["norm", "blocks.0.one"]) == {"blocks.0.one": PRE, "norm": POST}


def test_activation_functions_in_a_modules_own_code_are_its_output():
    class Layer(nn.Module):
        def __init__(self, inputs, outputs):
            super().__init__()
            self.linear = nn.Linear(inputs, outputs)

        def forward(self, x):
            return F.relu(self.linear(x), inplace=True)

    model = nn.Sequential(Layer(6, 5), Layer(5, 4), nn.Linear(4, 3))
    images = torch.randn(2, 6, generator=stream(0, "images"))
    assert kinds(model, images) == {
        "0.linear": PRE, "0": POST, "1.linear": PRE, "1": POST, "2": LOGITS
    }  # fmt: skip


def test_a_block_that_changes_the_size_is_a_block():
    class Inverted(nn.Module):
        def __init__(self, inputs, outputs):
            super().__init__()
            self.adds = inputs == outputs
            self.one, self.two = nn.Linear(inputs, 9), nn.Linear(9, outputs)

        def forward(self, x):
            y = self.two(self.one(x).relu())
            return x + y if self.adds else y

    model = nn.Sequential(Inverted(6, 6), Inverted(6, 4), nn.Linear(4, 3))
    images = torch.randn(2, 6, generator=stream(0, "images"))
    assert kinds(model, images) == {"0": POST, "1": POST, "2": LOGITS}


def test_an_embedding_is_linear_by_definition():
    model = nn.Sequential(nn.Embedding(7, 4), nn.Flatten(), nn.ReLU(), nn.Linear(20, 3))
    tokens = torch.randint(7, (2, 5), generator=stream(0, "tokens"))
    assert kinds(model, tokens, ["0", "2", "3"]) == {"0": PRE, "2": POST, "3": LOGITS}


def test_kinds_of_named_layers():
    images = torch.randn(2, 2, 7, 7, generator=stream(0, "images")).double()
    named = ["conv", "norm", "relu", "block1.conv", "block1.norm", "block1", "pool", "head"]
    assert kinds(convnet(0), images, named) == dict.fromkeys(
        ["conv", "norm", "block1.conv", "block1.norm"], PRE
    ) | dict.fromkeys(["relu", "block1", "pool"], POST) | {"head": LOGITS}
    plain = nn.Sequential(
        nn.Flatten(), nn.Linear(98, 9), nn.PReLU(), nn.Linear(9, 4), nn.Softmax(1)
    )
    assert kinds(plain.double(), images, ["*"]) == {
        "0": PRE, "1": PRE, "2": POST, "3": LOGITS, "4": LOGITS
    }  # fmt: skip
