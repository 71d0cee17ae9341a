"""Small networks with all the parts that matter; the line between them by the plainest means."""

import copy
import itertools
from collections import OrderedDict

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

CLASSES = 4


def mlp(seed, *, bias=True, sizes=(6, 8, 7, CLASSES)):
    layers = OrderedDict()
    for i, (before, after) in enumerate(itertools.pairwise(sizes)):
        layers[f"linear{i}"] = nn.Linear(before, after, bias=bias)
        if i + 2 < len(sizes):
            layers[f"relu{i}"] = nn.ReLU(inplace=i == 0)
    return random_(nn.Sequential(layers), seed)


class Residual(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU()

    def forward(self, x):
        x = x + self.norm(self.conv(x))
        return self.relu(x)


def convnet(seed):
    """A stem, two residual blocks and a head, with batch norms whose statistics are not trivial."""
    layers = OrderedDict(
        conv=nn.Conv2d(2, 5, 3),
        norm=nn.BatchNorm2d(5),
        relu=nn.ReLU(inplace=True),
        block1=Residual(5),
        block2=Residual(5),
        pool=nn.AdaptiveAvgPool2d(2),
        flatten=nn.Flatten(),
        drop=nn.Dropout(0.5),
        head=nn.Linear(20, CLASSES),
    )
    return random_(nn.Sequential(layers), seed)


def random_(model, seed):
    """Every parameter and float buffer drawn anew, in float64; variances and scales positive."""
    generator = torch.Generator().manual_seed(seed)
    model.double()
    with torch.no_grad():
        for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
            if tensor.is_floating_point():
                tensor.normal_(std=max(1, tensor[0].numel()) ** -0.5, generator=generator)
            if name.endswith("running_var") or name.endswith("norm.weight"):
                tensor.abs_().add_(0.5)
    return model


def samples(count, shape, seed=0):
    generator = torch.Generator().manual_seed(1000 + seed)
    images = torch.randn(count, *shape, generator=generator, dtype=torch.float64)
    return images, torch.randint(CLASSES, (count,), generator=generator)


def blended(a, b, alpha):
    """The network at alpha, as a model of its own."""
    model, of_a, of_b = copy.deepcopy(a).eval(), a.state_dict(), b.state_dict()
    state = {
        name: (1 - alpha) * value + alpha * of_b[name] if value.is_floating_point() else value
        for name, value in of_a.items()
    }
    model.load_state_dict(state)
    return model


def stored_features(model, images, names):
    """All features of all images at once, and the logits: what the walk never keeps."""
    features = {}
    handles = [
        model.get_submodule(name).register_forward_hook(
            lambda module, inputs, output, name=name: features.update(
                {name: output.flatten(1).clone().numpy()}
            )
        )
        for name in names
    ]
    with torch.no_grad():
        logits = model(images)
    for handle in handles:
        handle.remove()
    return features, logits


def loss_and_error(logits, labels):
    loss = F.cross_entropy(logits, labels).item()
    return loss, (logits.argmax(1) != labels).double().mean().item()


def cosines(x, y):
    return (x * y).sum(1) / np.linalg.norm(x, axis=1) / np.linalg.norm(y, axis=1)


def reference(model_at, alpha, images, labels, names):
    """The LLFC numbers from stored features; `model_at` gives the network at a position."""
    features_a, _ = stored_features(model_at(0), images, names)
    features_b, _ = stored_features(model_at(len(alpha) - 1), images, names)
    rows = {name: [] for name in names}
    curve = []
    for position, weight in enumerate(alpha):
        features, logits = stored_features(model_at(position), images, names)
        curve.append(loss_and_error(logits, labels))
        for name in names:
            f, a, b = features[name], features_a[name], features_b[name]
            g = (1 - weight) * a + weight * b
            size = np.linalg.norm(g, axis=1)
            error = 1 - cosines(f, g)
            rows[name].append(
                {
                    "cos_error": error.mean(),
                    "cos_error_std": error.std(),
                    "coef": ((f * g).sum(1) / size**2).mean(),
                    "residual": (np.linalg.norm(f - g, axis=1) / size).mean(),
                    "cos_a": cosines(f, a).mean(),
                    "cos_b": cosines(f, b).mean(),
                    "baseline": (1 - cosines(a, b)).mean(),
                    "baseline_std": (1 - cosines(a, b)).std(),
                }
            )
    return np.array(curve).T, rows
