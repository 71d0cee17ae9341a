"""Hidden layers of MLPs whose activation is a function: read as what the next module is handed."""

import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional as F

import llfc
from llfc.connectivity.probes import features_of, select_probes
from tests.helpers.small_networks import random_
from tests.helpers.token_networks import Attention, tokens

WIDTH, VOCABULARY = 8, 11


class Gelu(nn.Module):
    def __init__(self):
        super().__init__()
        self.up, self.down = nn.Linear(WIDTH, 12), nn.Linear(12, WIDTH)

    def forward(self, x):
        return self.down(F.gelu(self.up(x)))


class Gated(nn.Module):
    def __init__(self):
        super().__init__()
        self.gate, self.up = nn.Linear(WIDTH, 12), nn.Linear(WIDTH, 12)
        self.down = nn.Linear(12, WIDTH, bias=False)

    def forward(self, x):
        return self.down(F.silu(self.gate(x)) * self.up(x))


class Block(nn.Module):
    def __init__(self, mlp):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.attention, self.mlp = Attention(WIDTH, 2), mlp()

    def forward(self, x):
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class Language(nn.Module):
    def __init__(self, block):
        super().__init__()
        self.tokens = nn.Embedding(VOCABULARY, WIDTH)
        self.blocks = nn.ModuleList([block(), block()])
        self.head = nn.Linear(WIDTH, VOCABULARY)

    def forward(self, ids):
        x = self.tokens(ids)
        for block in self.blocks:
            x = block(x)
        return self.head(x)


def of_torch(**options):
    return lambda: nn.TransformerEncoderLayer(
        WIDTH, 2, dim_feedforward=12, batch_first=True, norm_first=True, **options
    )


# The block, the module that is handed the hidden layer, and what else is read of a block.
NETWORKS = {
    "gelu": (lambda: Block(Gelu), "mlp.down", "attention"),
    "gated": (lambda: Block(Gated), "mlp.down", "attention"),
    "torch, a function": (of_torch(activation="gelu"), "dropout", "self_attn"),
}


def network(name, seed=0):
    return random_(Language(NETWORKS[name][0]), seed).eval()


def handed(model, at, ids):
    """What the module `at` is handed, the plainest way."""
    found = []
    module = model.get_submodule(at)
    with module.register_forward_pre_hook(lambda module, given: found.append(given[0].clone())):
        model(ids)
    return found[0]


@pytest.mark.parametrize("name", NETWORKS)
def test_the_hidden_layer_is_read_by_default(name):
    _, at, attention = NETWORKS[name]
    ids, _ = tokens(5, 4)
    model = network(name)
    selected = select_probes(model, ids)
    names = [probe.name for probe in selected.probes]
    per_block = [attention, f"{at}:input", ""]
    parts = [f"blocks.{i}.{part}".rstrip(".") for i in (0, 1) for part in per_block]
    assert names == ["tokens", *parts, "head"]
    assert not selected.left_out
    kinds = {probe.name: probe.kind for probe in selected.probes}
    assert kinds[f"blocks.0.{at}:input"] == "post-activation"
    features = dict(zip(names, features_of(model, selected.probes, ids), strict=True))
    with torch.no_grad():
        wanted = handed(model, f"blocks.1.{at}", ids).flatten(1)
    assert torch.equal(features[f"blocks.1.{at}:input"], wanted)


@pytest.mark.parametrize("name", NETWORKS)
def test_stitching_at_the_hidden_layer(name):
    _, at, _ = NETWORKS[name]
    at = f"blocks.1.{at}"
    ids, targets = tokens(5, 4)
    a, b = network(name, 0), network(name, 1)
    options = {"matching": None, "alphas": 3, "task": "next-token", "probes": [f"{at}:input"]}
    found = llfc.connect(a, b, test=(ids, targets), measures=["stitching", "samples"], **options)
    with torch.no_grad():
        feature = handed(a, at, ids)
        with b.get_submodule(at).register_forward_pre_hook(lambda module, given: (feature,)):
            logits = b(ids)[:, :-1]
    loss = F.cross_entropy(logits.flatten(0, 1), targets[:, 1:].flatten())
    assert found.tables["stitching"]["loss"][0] == pytest.approx(loss.item(), rel=1e-12)


def test_a_pattern_finds_what_is_handed_on_only_if_it_says_so():
    ids, _ = tokens(3, 4)
    model = network("gelu")
    names = [probe.name for probe in select_probes(model, ids, ["blocks.0.mlp*"]).probes]
    assert names == ["blocks.0.mlp.up", "blocks.0.mlp.down"]
    names = [probe.name for probe in select_probes(model, ids, ["*:input"]).probes]
    assert names == ["blocks.0.mlp.down:input", "blocks.1.mlp.down:input"]
    for name in ("blocks.0.mlp.down", "blocks.0.mlp.down:input"):
        assert [probe.name for probe in select_probes(model, ids, [name]).probes] == [name]


def test_torchvisions_vit():
    vit = torchvision.models.VisionTransformer(
        image_size=8, patch_size=4, num_layers=2, num_heads=2, hidden_dim=8, mlp_dim=12
    )
    images = torch.randn(3, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    names = [probe.name for probe in select_probes(vit.eval(), images).probes]
    blocks = [f"encoder.layers.encoder_layer_{i}" for i in (0, 1)]
    parts = [f"{block}{part}" for block in blocks for part in (".self_attention", ".mlp.1", "")]
    assert names == ["encoder.dropout", *parts, "heads.head"]
