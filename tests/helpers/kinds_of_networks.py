"""The smallest networks whose groups are of every kind: norms, gates, attention, ties, banks."""

import torch
import transformers
from torch import nn
from torch.nn import functional as F

from llfc.networks.architectures import build_network

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


class First(nn.Module):
    """The first of several results."""

    def forward(self, results):
        return results[0]
