"""Small networks with units to match, their symmetry derived, and images for them."""

import copy
import functools

import torch
from torch import nn

from llfc.matching import permutation_spec
from llfc.symmetry.transform import Transform

NEEDING_BATCHES = [
    "activations",
    "activations-uncentred",
    "straight-through",
    "learned",
    "orthogonal-activations",
]


class Residual(nn.Module):
    """Convolutions with norms, a residual sum, and a rectifier that works in place."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(2, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6))
        self.branch = nn.Sequential(
            nn.Conv2d(6, 5, 3, padding=1), nn.ReLU(inplace=True), nn.Conv2d(5, 6, 3, padding=1)
        )
        self.relu = nn.ReLU(inplace=True)
        self.head = nn.Linear(6 * 4, 4)

    def forward(self, x):
        x = self.relu(self.stem(x))
        x = self.relu(self.branch(x) + x)
        return self.head(nn.functional.avg_pool2d(x, 3).flatten(1))


class Attention(nn.Module):
    """A small vision transformer: four patches, one block, two heads of three units."""

    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(2, 5, 3, stride=3)
        self.norm, self.after = nn.LayerNorm(5), nn.LayerNorm(5)
        self.query, self.key, self.value = (nn.Linear(5, 6) for _ in range(3))
        self.out = nn.Linear(6, 5)
        self.mlp = nn.Sequential(nn.Linear(5, 7), nn.GELU(), nn.Linear(7, 5))
        self.head = nn.Linear(5, 4)

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2)
        y = self.norm(x)
        q, k, v = (
            part(y).reshape(len(x), -1, 2, 3).transpose(1, 2)
            for part in (self.query, self.key, self.value)
        )
        mixed = ((q @ k.transpose(-1, -2)).softmax(-1) @ v).transpose(1, 2)
        x = x + self.out(mixed.reshape(len(x), -1, 6))
        return self.head((x + self.mlp(self.after(x))).mean(1))


def perceptron():
    return nn.Sequential(
        nn.Flatten(), nn.Linear(72, 7), nn.ReLU(), nn.Linear(7, 5), nn.ReLU(), nn.Linear(5, 3)
    )


KINDS = {"perceptron": perceptron, "residual": Residual, "attention": Attention}


def network(kind, seed):
    """A network whose parameters and statistics are all drawn at random."""
    generator = torch.Generator().manual_seed(seed)
    model = KINDS[kind]()
    with torch.no_grad():
        for tensor in model.parameters():
            tensor.copy_(torch.randn(tensor.shape, generator=generator) / tensor[0].numel() ** 0.5)
        for name, buffer in model.named_buffers():
            if name.endswith("var"):
                buffer.copy_(torch.rand(buffer.shape, generator=generator) + 0.5)
    return model


def inputs(seed, count=3, size=16):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(size, 2, 6, 6, generator=generator) for _ in range(count)]


def moved_state(model, spec, found):
    """The model's state dict as a permutation or a transform moves it."""
    state = model.state_dict()
    return found.apply(state) if isinstance(found, Transform) else spec.apply(found, state)


def permuted(model, spec, perm):
    other = copy.deepcopy(model)
    other.load_state_dict(moved_state(model, spec, perm))
    return other


@functools.cache
def pair(kind):
    """Two networks that have nothing in common, and the symmetry of both; not to be changed."""
    a, b = network(kind, 0), network(kind, 1)
    spec = permutation_spec(a, inputs(0)[0])
    assert spec.kinds  # found once for all
    return a, b, spec
