"""Small networks of tokens and of several inputs; the line between two by stored features."""

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from tests.helpers.small_networks import blended, cosines, random_

VOCABULARY = 11
IGNORED = -100


class Attention(nn.Module):
    def __init__(self, width, heads, *, causal=True):
        super().__init__()
        self.heads, self.causal = heads, causal
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x):
        n, t, d = x.shape
        q, k, v = (
            part.view(n, t, self.heads, -1).transpose(1, 2) for part in self.qkv(x).chunk(3, -1)
        )
        y = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        return self.out(y.transpose(1, 2).reshape(n, t, d))


class Block(nn.Module):
    def __init__(self, width, heads, *, causal=True):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, heads, causal=causal)
        self.up, self.gelu, self.down = (
            nn.Linear(width, 2 * width),
            nn.GELU(),
            nn.Linear(2 * width, width),
        )

    def forward(self, x):
        x = x + self.attention(self.norm1(x))
        return x + self.down(self.gelu(self.up(self.norm2(x))))


class Gpt(nn.Module):
    """Pre-norm, learned positions; `form` says what it gives: a tensor, a dictionary or a tuple."""

    def __init__(self, width=8, heads=2, depth=2, longest=16, form="tensor"):
        super().__init__()
        self.form = form
        self.tokens = nn.Embedding(VOCABULARY, width)
        self.places = nn.Embedding(longest, width)
        self.blocks = nn.ModuleList([Block(width, heads) for _ in range(depth)])
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, VOCABULARY, bias=False)

    def forward(self, ids, scale=None):
        x = self.tokens(ids) + self.places(torch.arange(ids.shape[1], device=ids.device))
        if scale is not None:
            x = x * scale[:, None, None]
        for block in self.blocks:
            x = block(x)
        x = self.norm(x)
        logits = self.head(x)
        return {"tensor": logits, "dict": {"hidden": x, "logits": logits}, "tuple": (x, logits)}[
            self.form
        ]


def gpt(seed, **options):
    return random_(Gpt(**options), seed)


def tokens(count, length, seed=0, *, ignored=0.3):
    """Token ids [N, T] and the same as targets, some not counted; one sequence not at all."""
    generator = torch.Generator().manual_seed(2000 + seed)
    ids = torch.randint(VOCABULARY, (count, length), generator=generator)
    targets = ids.masked_fill(torch.rand(ids.shape, generator=generator) < ignored, IGNORED)
    targets[1] = IGNORED
    return ids, targets


def features_of(model, inputs, names):
    """The features of all tokens at once, [N, T, D] each, and the output."""
    found = {}
    handles = [
        model.get_submodule(name).register_forward_hook(
            lambda module, given, output, name=name: found.update({name: output.clone()})
        )
        for name in names
    ]
    with torch.no_grad():
        output = model(**inputs) if isinstance(inputs, dict) else model(inputs)
    for handle in handles:
        handle.remove()
    return found, output


def reference(a, b, alpha, inputs, names, rows, score):
    """Curves and LLFC numbers; `rows` picks samples of a feature, `score` says loss and error."""
    of_a, of_b = (features_of(model.eval(), inputs, names)[0] for model in (a, b))
    curve, layers = [], {name: [] for name in names}
    for weight in alpha:
        features, output = features_of(blended(a, b, float(weight)), inputs, names)
        curve.append(score(output))
        for name in names:
            f, x, y = (rows(each[name]).numpy() for each in (features, of_a, of_b))
            g = (1 - weight) * x + weight * y
            size = np.linalg.norm(g, axis=1)
            layers[name].append(
                {
                    "cos_error": (1 - cosines(f, g)).mean(),
                    "cos_error_std": (1 - cosines(f, g)).std(),
                    "coef": ((f * g).sum(1) / size**2).mean(),
                    "residual": (np.linalg.norm(f - g, axis=1) / size).mean(),
                    "cos_a": cosines(f, x).mean(),
                    "cos_b": cosines(f, y).mean(),
                }
            )
    return np.array(curve), layers
