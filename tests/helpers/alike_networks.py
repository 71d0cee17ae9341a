"""Small networks whose settings can differ where their parameters do not, and how they connect."""

import warnings

import pytest
import torch
from torch import nn

import llfc

CLASSES = 3


def drawn(make, seed, dtype=torch.float64):
    """A network whose parameters are drawn from a seed of its own."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return make().to(dtype).eval()


def samples(count=20, dtype=torch.float64):
    """Inputs [count, 6] and labels."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(count, 6, generator=generator, dtype=torch.float64)
    return images.to(dtype), torch.randint(CLASSES, (count,), generator=generator)


def connected(a, b, **options):
    """What `llfc.connect` finds at 0, 1/2 and 1, as trained."""
    given = {"test": samples(), "matching": None, "correction": "none", "measures": ()} | options
    return llfc.connect(a, b, alphas=3, **given)


def refused(call):
    """The one line with which `call` is refused."""
    with pytest.raises(ValueError, match=r".") as raised:
        call()
    assert "\n" not in str(raised.value)
    return str(raised.value)


def quantised():
    """Linear layers whose weights torch packs, so that they are no parameters."""
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, CLASSES))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.ao.quantization.quantize_dynamic(model, {nn.Linear})


class Between(nn.Module):
    """Two linear layers, and `inner` between them: a number, a function, or an attribute's use."""

    def __init__(self, inner):
        super().__init__()
        self.first, self.last = nn.Linear(6, 8), nn.Linear(8, CLASSES)
        self.inner = inner

    def forward(self, x):
        hidden = self.first(x)
        return self.last(self.inner(hidden) if callable(self.inner) else hidden * self.inner)


class Encoder(nn.Module):
    """A transformer layer on three tokens of eight numbers."""

    def __init__(self, **options):
        super().__init__()
        self.embed, self.head = nn.Linear(6, 24), nn.Linear(8, CLASSES)
        given = {"nhead": 2, "dropout": 0.0, "batch_first": True} | options
        self.layer = nn.TransformerEncoderLayer(8, dim_feedforward=16, **given)

    def forward(self, x):
        return self.head(self.layer(self.embed(x).reshape(-1, 3, 8)).mean(1))
