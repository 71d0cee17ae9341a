"""Small networks, and the kind of each of their groups, counted by hand."""

import functools
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import llfc
from llfc.symmetry.spec.table import family
from tests.helpers.kinds_of_networks import (
    IMAGES,
    SEQUENCES,
    TOKENS,
    VECTORS,
    Banks,
    First,
    Function,
    Fused,
    Gated,
    Grouped,
    Rms,
    Tied,
    encoder,
    hugging_face,
    ours,
    perceptron,
)

HEAD = {"query[*]": "invertible", "value[*]": "invertible", "heads": "permutation"}
# The network, its input, and the kind of each family by the end of its name; "*" of all others.
NETWORKS: dict[str, tuple[Callable[[], nn.Module], Tensor, dict[str, str]]] = {
    "mlp relu": (lambda: ours("mlp", IMAGES, width=0.02), IMAGES, {"*": "scaled"}),
    "mlp tanh": (lambda: perceptron(nn.Tanh()), VECTORS, {"*": "signed"}),
    "mlp gelu": (lambda: perceptron(nn.GELU()), VECTORS, {"*": "permutation"}),
    "mlp sigmoid": (lambda: perceptron(nn.Sigmoid()), VECTORS, {"*": "permutation"}),
    "mlp softmax": (lambda: perceptron(nn.Softmax(-1)), VECTORS, {"*": "permutation"}),
    "mlp linear": (lambda: perceptron(nn.Identity()), VECTORS, {"*": "invertible"}),
    "mlp leaky": (lambda: perceptron(nn.LeakyReLU()), VECTORS, {"*": "scaled"}),
    "mlp slopes": (lambda: perceptron(nn.PReLU(5)), VECTORS, {"*": "scaled"}),
    "mlp hardtanh": (lambda: perceptron(nn.Hardtanh()), VECTORS, {"*": "signed"}),
    "mlp relu6": (lambda: perceptron(nn.ReLU6()), VECTORS, {"*": "permutation"}),
    "mlp in place": (lambda: perceptron(nn.ReLU(inplace=True)), VECTORS, {"*": "scaled"}),
    "abs": (lambda: Function(torch.abs), VECTORS, {"*": "scaled"}),
    "clamp": (lambda: Function(lambda h: h.clamp(min=0)), VECTORS, {"*": "scaled"}),
    "clamp at 1": (lambda: Function(lambda h: h.clamp(min=1)), VECTORS, {"*": "permutation"}),
    "plus one": (lambda: Function(lambda h: h + 1), VECTORS, {"*": "permutation"}),
    "times two": (lambda: Function(lambda h: 2 * h), VECTORS, {"*": "invertible"}),
    "rounded": (lambda: Function(lambda h: h.int().type_as(h)), VECTORS, {"*": "permutation"}),
    "square": (lambda: Function(lambda h: h * h), VECTORS, {"*": "scaled"}),
    "length": (
        lambda: Function(lambda h: h / h.norm(dim=-1, keepdim=True)),
        VECTORS,
        {"*": "orthogonal"},
    ),
    "softmax beside": (
        lambda: Function(lambda h: h * h.softmax(-1)),
        VECTORS,
        {"*": "permutation"},
    ),
    "mean subtracted": (
        lambda: Function(lambda h: h - h.mean(-1, keepdim=True)),
        VECTORS,
        {"*": "permutation"},
    ),
    "batch norm tanh": (
        lambda: nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 2)),
        VECTORS,
        {"*": "signed"},
    ),
    "max pool": (
        lambda: nn.Sequential(nn.Conv2d(1, 4, 3), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 2)),
        IMAGES,
        {"*": "scaled"},
    ),
    "average pool": (
        lambda: nn.Sequential(nn.Conv2d(1, 4, 3), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(36, 2)),
        IMAGES,
        {"*": "invertible"},
    ),
    "depthwise": (
        lambda: nn.Sequential(
            nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 3, groups=4), nn.Flatten(), nn.Linear(64, 2)
        ),
        IMAGES,
        {"*": "scaled"},
    ),
    "vgg none": (
        lambda: ours("vgg11", torch.zeros(1, 1, 32, 32), width=1 / 32, norm="none"),
        torch.randn(2, 1, 32, 32),
        {"*": "scaled"},
    ),
    # Batch norm's eps keeps scales from passing, and ReLU signs.
    "resnet20 batch": (
        lambda: ours("resnet20", IMAGES, width=1 / 8),
        IMAGES,
        {"*": "permutation"},
    ),
    "resnet20 layer": (
        lambda: ours("resnet20", IMAGES, width=1 / 8, norm="layer"),
        IMAGES,
        {"*": "permutation"},
    ),
    # ReLU on the stream, which is scaled as a whole stage.
    "resnet20 none": (
        lambda: ours("resnet20", IMAGES, width=1 / 8, norm="none"),
        IMAGES,
        {"*": "scaled"},
    ),
    "gpt": (
        lambda: ours("gpt", TOKENS, width=0.5, depth=1),
        TOKENS,
        HEAD | {"hidden": "permutation", "positions": "permutation"},
    ),
    "gpt rms": (
        lambda: ours("gpt", TOKENS, width=0.5, depth=1, norm="rms"),
        TOKENS,
        HEAD | {"hidden": "permutation", "positions": "signed"},
    ),
    # Positions turn queries and keys in planes: no unit of them can be moved at all.
    "gpt rotary": (
        lambda: ours("gpt", TOKENS, width=0.5, depth=1, positions="rotary"),
        TOKENS,
        {"value[*]": "invertible", "*": "permutation"},
    ),
    "vit": (
        lambda: ours("vit", IMAGES, width=0.5, depth=1),
        IMAGES,
        HEAD | {"hidden": "permutation", "patches": "permutation"},
    ),
    "mixer": (lambda: ours("mixer", IMAGES, width=0.1, depth=1), IMAGES, {"*": "permutation"}),
    "rms without gains": (
        lambda: Rms(False, False),
        VECTORS,
        {"embed": "orthogonal", "mlp": "scaled"},
    ),
    "rms written out": (
        lambda: Rms(False, True),
        VECTORS,
        {"embed": "orthogonal", "mlp": "scaled"},
    ),
    "rms with gains": (lambda: Rms(True, False), VECTORS, {"embed": "signed", "mlp": "scaled"}),
    "rms gains written": (lambda: Rms(True, True), VECTORS, {"embed": "signed", "mlp": "scaled"}),
    "fused": (
        Fused,
        SEQUENCES,
        {"heads": "permutation", "*": "invertible"},
    ),
    "grouped queries": (
        Grouped,
        SEQUENCES,
        {"k[*]": "invertible", "v[*]": "invertible", "*": "permutation"},
    ),
    # Their scales would be allowed, but are not found: their axes are folded in another order.
    "banks": (Banks, SEQUENCES, {"*": "permutation"}),
    "swiglu": (lambda: Gated(F.silu), VECTORS, {"*": "scaled"}),
    "gated by tanh": (lambda: Gated(torch.tanh), VECTORS, {"*": "scaled"}),
    # Read and written by one tensor, whose map must be its own inverse transpose.
    "tied": (lambda: Tied(nn.Identity()), TOKENS, {"*": "orthogonal"}),
    "tied relu": (lambda: Tied(nn.ReLU()), TOKENS, {"*": "permutation"}),
    "tied tanh": (lambda: Tied(nn.Tanh()), TOKENS, {"*": "signed"}),
    "lstm": (
        lambda: nn.Sequential(nn.LSTM(3, 4, batch_first=True), First(), nn.Linear(4, 2)),
        SEQUENCES,
        {"*": "permutation"},
    ),
    # Post-norm; and the fused in_proj of nn.MultiheadAttention.
    "encoder": (
        encoder,
        SEQUENCES,
        {"heads": "permutation", "linear1": "scaled", "0": "permutation", "*": "invertible"},
    ),
    "hugging face gpt2": (
        lambda: hugging_face("gpt2"),
        TOKENS,
        {"c_attn[*]": "invertible", "c_attn~2[*]": "invertible", "*": "permutation"},
    ),
    "hugging face llama": (
        lambda: hugging_face("llama"),
        TOKENS,
        {
            "v_proj[*]": "invertible",
            "gate_proj": "scaled",
            "embed_tokens": "signed",
            "*": "permutation",
        },
    ),
    "hugging face bert": (
        lambda: hugging_face("bert"),
        TOKENS,
        {
            "query[*]": "invertible",
            "value[*]": "invertible",
            "pooler.dense": "signed",
            "*": "permutation",
        },
    ),
    "hugging face vit": (
        lambda: hugging_face("vit"),
        IMAGES,
        {"q_proj[*]": "invertible", "v_proj[*]": "invertible", "*": "permutation"},
    ),
}

# Their layers are those of smaller networks here.
DEAR = {
    *("resnet20 batch", "resnet20 layer", "resnet20 none"),
    *("hugging face bert", "hugging face gpt2", "hugging face vit", "hugging face llama"),
}
QUICK = {*[*NETWORKS][::3]} - DEAR  # for the quick tests


@functools.cache
def network(name):
    """The network, on random weights and in eval mode, its input and its spec."""
    build, inputs, _ = NETWORKS[name]
    torch.manual_seed(0)
    model = build().eval()
    return model, inputs, llfc.permutation_spec(model, inputs)


def kinds_by_family(spec):
    """The kind of each family; siblings must have one."""
    found = {}
    for group, kind in spec.kinds.items():
        assert found.setdefault(family(group), kind) == kind
    return found


def expected(name, families):
    """What was counted by hand, for these families."""
    _, _, by_hand = NETWORKS[name]
    kinds = {}
    for each in families:
        ends = [end for end in by_hand if end != "*" and each.endswith(end)]
        kinds[each] = by_hand[max(ends, key=len, default="*")]
    return kinds
