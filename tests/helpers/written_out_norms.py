"""One network written in several ways: as modules of torch.nn, in classes of one's own, by hand."""

import torch
from torch import nn
from torch.nn import functional as F

from tests.helpers.small_networks import CLASSES

SHAPE = (2, 7, 7)


class Affine(nn.Module):
    """A scale and a shift a channel, as norms have them."""

    def __init__(self, channels):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))


class LayerNorm2d(Affine):
    """Over the channels of each position, channels first."""

    def forward(self, x):
        x = F.layer_norm(x.permute(0, 2, 3, 1), self.weight.shape, self.weight, self.bias)
        return x.permute(0, 3, 1, 2)


class WrittenOutLayerNorm(Affine):
    """By its formula."""

    def forward(self, x):
        mean = x.mean(1, keepdim=True)
        variance = (x - mean).pow(2).mean(1, keepdim=True)
        x = (x - mean) / torch.sqrt(variance + 1e-5)
        return self.weight[:, None, None] * x + self.bias[:, None, None]


class BatchNorm(Affine):
    """Running statistics under other names."""

    def __init__(self, channels):
        super().__init__(channels)
        self.register_buffer("mu", torch.zeros(channels))
        self.register_buffer("sigma2", torch.ones(channels))

    def forward(self, x):
        return F.batch_norm(x, self.mu, self.sigma2, self.weight, self.bias, self.training)


class BuiltinBatchNorm(BatchNorm):
    def forward(self, x):
        given = self.weight, self.bias, self.mu, self.sigma2, self.training, 0.1, 1e-5, True
        return torch.batch_norm(x, *given)


class WrittenOutBatchNorm(BatchNorm):
    """By its formula: no function of PyTorch's says what its buffers are."""

    def forward(self, x):
        if self.training:
            self.mu.lerp_(x.mean((0, 2, 3)), 0.1)
            self.sigma2.lerp_(x.var((0, 2, 3)), 0.1)
        scale = self.weight / (self.sigma2 + 1e-5).sqrt()
        return x * scale[:, None, None] + (self.bias - self.mu * scale)[:, None, None]


class InOne(nn.Module):
    """Several modules and a ReLU as one."""

    def __init__(self, *modules):
        super().__init__()
        self.parts = nn.ModuleList(modules)

    def forward(self, x):
        for part in self.parts:
            x = part(x)
        return F.relu(x)


class Functional(nn.Module):
    """Holds two layers and calls none of them."""

    def __init__(self, conv, norm):
        super().__init__()
        self.conv, self.norm = conv, norm

    def forward(self, x):
        x = F.conv2d(x, self.conv.weight, self.conv.bias)
        own, shape = self.norm, self.norm.weight.shape
        if hasattr(own, "running_mean"):
            x = F.batch_norm(x, own.running_mean, own.running_var, own.weight, own.bias)
        else:
            x = F.layer_norm(x.movedim(1, -1), shape, own.weight, own.bias).movedim(-1, 1)
        return F.relu(x)


class ByHand(nn.Module):
    """A linear layer on vectors, its product written in one of several ways."""

    def __init__(self, way):
        super().__init__()
        layer = nn.Linear(98, 5)
        self.weight, self.bias, self.way = layer.weight, layer.bias, way

    def forward(self, x):
        return WAYS[self.way](x, self.weight, self.bias)


WAYS = {
    "linear": F.linear,
    "matmul": lambda x, w, b: x @ w.T + b,
    "bias first": lambda x, w, b: b + torch.mm(x, w.t()),
    "in place": lambda x, w, b: (x @ w.t()).add_(b),
    "addmm": lambda x, w, b: torch.addmm(b, x, w.t()),
    "transposed": lambda x, w, b: (w @ x.t() + b[:, None]).t(),
    "computed weight": lambda x, w, b: F.linear(x, w * 1.0, b),
    "computed matrix": lambda x, w, b: x @ (w * 1.0).t() + b,
    "aten": lambda x, w, b: torch.ops.aten.addmm.default(b, x, w.t()),
    "with its relu": lambda x, w, b: F.linear(x, w, b).relu_(),
    "convolution": lambda x, w, b: F.conv2d(x[..., None, None], w[..., None, None], b).flatten(1),
}


def conv():
    return nn.Conv2d(2, 5, 3)


def on_maps(*modules):
    return nn.Sequential(*modules, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(20, CLASSES))


def on_vectors(*modules):
    return nn.Sequential(nn.Flatten(), *modules, nn.ReLU(), nn.Linear(5, CLASSES))


# Each: the plain way first.
BATCH_NORMS = {
    "torch.nn": lambda: on_maps(conv(), nn.BatchNorm2d(5), nn.ReLU()),
    "synchronised": lambda: on_maps(conv(), nn.SyncBatchNorm(5), nn.ReLU()),
    "without momentum": lambda: on_maps(conv(), nn.BatchNorm2d(5, momentum=None), nn.ReLU()),
    "own names": lambda: on_maps(conv(), BatchNorm(5), nn.ReLU()),
    "builtin": lambda: on_maps(conv(), BuiltinBatchNorm(5), nn.ReLU()),
    "norm and relu": lambda: on_maps(conv(), InOne(BatchNorm(5))),
    "in one": lambda: on_maps(InOne(conv(), BatchNorm(5))),
    "functional": lambda: on_maps(Functional(conv(), nn.BatchNorm2d(5))),
}
LAYER_NORMS = {
    "apart": lambda: on_maps(conv(), LayerNorm2d(5), nn.ReLU()),
    "norm and relu": lambda: on_maps(conv(), InOne(LayerNorm2d(5))),
    "in one": lambda: on_maps(InOne(conv(), LayerNorm2d(5))),
    "functional": lambda: on_maps(Functional(conv(), LayerNorm2d(5))),
    "written out": lambda: on_maps(conv(), WrittenOutLayerNorm(5), nn.ReLU()),
}
LINEAR = {way: lambda way=way: on_vectors(ByHand(way)) for way in WAYS}
WRITINGS = {"batch norm": BATCH_NORMS, "layer norm": LAYER_NORMS, "linear": LINEAR}


def written(make, seed):
    """The network with tensors drawn in the order they have, so the same in every writing."""
    model = make().double()
    generator = torch.Generator().manual_seed(seed)
    for tensor in [*model.parameters(), *(b for b in model.buffers() if b.is_floating_point())]:
        with torch.no_grad():
            tensor.copy_(torch.rand(tensor.shape, generator=generator, dtype=torch.float64) + 0.1)
            if tensor.ndim > 1:
                tensor.sub_(0.6)
    return model.eval()
