"""Small networks, and the kind of each of their groups, counted by hand."""

import functools
from collections.abc import Callable

import torch
import transformers
from torch import Tensor, nn
from torch.nn import functional as F

import llfc
from llfc.networks.architectures import build_network
from llfc.symmetry.spec.table import family

TOKENS = torch.arange(16).reshape(2, 8) % 11
IMAGES = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(1))
VECTORS = torch.randn(4, 3, generator=torch.Generator().manual_seed(2))
SEQUENCES = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(3))


def ours(architecture, inputs, **options):
    """One of our networks, as small as it gets."""
    shape = tuple(inputs.shape[1:])
    generator = torch.Generator().manual_seed(0)
    given = {"input_shape": shape, "num_classes": 11, "generator": generator} | options
    return build_network(architecture, **given)


def perceptron(activation):
    return nn.Sequential(nn.Linear(3, 5), activation, nn.Linear(5, 2))


class Function(nn.Module):
    """Two linear layers with any function between."""

    def __init__(self, function, units=6, read=6):
        super().__init__()
        self.one, self.two, self.function = nn.Linear(3, units), nn.Linear(read, 2), function

    def forward(self, x):
        return self.two(self.function(self.one(x)))


class Gated(nn.Module):
    """A gated MLP: `down(gate(x).act * up(x))`."""

    def __init__(self, activation):
        super().__init__()
        self.gate, self.up, self.down = nn.Linear(3, 5), nn.Linear(3, 5), nn.Linear(5, 2)
        self.activation = activation

    def forward(self, x):
        return self.down(self.activation(self.gate(x)) * self.up(x))


class Rms(nn.Module):
    """A residual stream between RMS norms, which are written out or PyTorch's."""

    def __init__(self, gains, written):
        super().__init__()
        self.embed, self.mlp, self.back = nn.Linear(3, 4), nn.Linear(4, 5), nn.Linear(5, 4)
        self.head, self.norm = nn.Linear(4, 2), nn.RMSNorm(4, elementwise_affine=gains)
        self.written = written

    def normed(self, x):
        if not self.written:
            return self.norm(x)
        x = x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)
        return x if self.norm.weight is None else self.norm.weight * x

    def forward(self, x):
        stream = self.embed(x)
        stream = stream + self.back(self.mlp(self.normed(stream)).relu())
        return self.head(self.normed(stream))


class Fused(nn.Module):
    """Attention with queries, keys and values in one projection, and grouped queries if asked."""

    def __init__(self, heads=2, size=3):
        super().__init__()
        self.heads, self.size = heads, size
        self.qkv = nn.Linear(3, 3 * heads * size)
        self.out = nn.Linear(heads * size, 2)

    def forward(self, x):
        n, t, _ = x.shape
        q, k, v = self.qkv(x).reshape(n, t, 3, self.heads, self.size).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v)
        return self.out(y.transpose(1, 2).reshape(n, t, -1))


class Grouped(nn.Module):
    """Attention with four heads of queries for two of keys and values."""

    def __init__(self):
        super().__init__()
        self.q, self.k, self.v = nn.Linear(3, 4 * 3), nn.Linear(3, 2 * 3), nn.Linear(3, 2 * 3)
        self.out = nn.Linear(4 * 3, 2)

    def forward(self, x):
        n, t, _ = x.shape
        q, k, v = (
            layer(x).reshape(n, t, -1, 3).transpose(1, 2) for layer in (self.q, self.k, self.v)
        )
        y = F.scaled_dot_product_attention(q, k, v, enable_gqa=True)
        return self.out(y.transpose(1, 2).reshape(n, t, -1))


class Tied(nn.Module):
    """An embedding that reads the logits as well."""

    def __init__(self, norm):
        super().__init__()
        self.embed, self.norm = nn.Embedding(11, 4), norm

    def forward(self, ids):
        return F.linear(self.norm(self.embed(ids)), self.embed.weight)


class Logits(nn.Module):
    """A Hugging Face model from its first input to its logits."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, inputs):
        return self.model(inputs).logits


class Banks(nn.Module):
    """A bank of weights for each of 4 positions: units that lie on two dimensions at once."""

    def __init__(self):
        super().__init__()
        self.w, self.v = nn.Parameter(torch.randn(4, 5, 3)), nn.Parameter(torch.randn(4, 2, 5))

    def forward(self, x):
        hidden = torch.einsum("npi,pui->npu", x, self.w).relu()
        return torch.einsum("npu,pou->no", hidden, self.v)


SMALL = {"hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 1}
TEXT = {"vocab_size": 11, "use_cache": False, "bos_token_id": 0, "eos_token_id": 0}


def hugging_face(name, **more):
    """A tiny model of `transformers`."""
    if name == "gpt2":
        config = transformers.GPT2Config(**TEXT, n_positions=8, n_embd=8, n_layer=1, n_head=2)
        return Logits(transformers.GPT2LMHeadModel(config))
    if name == "llama":
        heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 4}
        config = transformers.LlamaConfig(**TEXT, **SMALL, **heads, **more)
        return Logits(transformers.LlamaForCausalLM(config))
    if name == "bert":
        config = transformers.BertConfig(vocab_size=11, **SMALL, num_attention_heads=2)
        return Logits(transformers.BertForSequenceClassification(config))
    config = transformers.ViTConfig(
        **SMALL, num_attention_heads=2, image_size=8, patch_size=4, num_channels=1
    )
    return Logits(transformers.ViTForImageClassification(config))


def encoder(**options):
    """PyTorch's encoder layer between linear ones."""
    layer = nn.TransformerEncoderLayer(6, 2, 8, 0.0, batch_first=True, **options)
    return nn.Sequential(nn.Linear(3, 6), layer, nn.Linear(6, 2))


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


class First(nn.Module):
    """The first of several results."""

    def forward(self, results):
        return results[0]


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
