"""A correction depends on what a network computes, and not on how its code is cut into modules."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from llfc.connectivity.blend import Line, line_positions
from llfc.connectivity.corrections import CORRECTIONS
from llfc.connectivity.corrections.preactivations import preactivations
from llfc.connectivity.samples import Batches
from tests.helpers.small_networks import blended, samples
from tests.helpers.written_out_norms import (
    SHAPE,
    WRITINGS,
    LayerNorm2d,
    WrittenOutBatchNorm,
    conv,
    on_maps,
    written,
)

IMAGES, LABELS = samples(40, SHAPE)
CASES = [(kind, way) for kind, ways in WRITINGS.items() for way in ways]
both = pytest.mark.parametrize("name", ["repair", "rescale"])


def corrected(make, name, images=IMAGES, size=40):
    line = Line(written(make, 0), written(make, 1), line_positions(5))
    train = Batches("train", (images, LABELS), size, images.device)
    line.correct(CORRECTIONS[name](line, train, train.example(), line.every))
    return line


@torch.no_grad()
def logits(make, name, position=2):
    return corrected(make, name).at(position)(IMAGES)


@pytest.mark.parametrize(("kind", "way"), CASES)
@pytest.mark.parametrize("name", ["repair", "rescale", "reset"])
def test_all_writings_of_a_network_are_corrected_alike(kind, way, name):
    plain, *_ = WRITINGS[kind].values()
    make = WRITINGS[kind][way]
    found = logits(make, name)
    assert torch.allclose(found, logits(plain, name), rtol=1e-11, atol=1e-12)
    owed = name != "reset" or kind == "batch norm"
    uncorrected = blended(written(make, 0), written(make, 1), 0.5)
    with torch.no_grad():
        assert ((found - uncorrected(IMAGES)).abs().max() > 1e-3) == owed
    assert corrected(make, name).corrections.layers == owed


@both
def test_a_batch_norm_written_out_is_one_too(name):
    def make():
        return on_maps(conv(), WrittenOutBatchNorm(5), nn.ReLU())

    plain = logits(WRITINGS["batch norm"]["torch.nn"], name)
    assert torch.allclose(logits(make, name), plain, rtol=1e-11, atol=1e-12)


ACTIVATIONS = {
    "masked": lambda x: x * (x > 0),
    "clamped": lambda x: x.clamp(min=0),
    "chosen": lambda x: torch.where(x > 0, x, 0.0),
    "gelu": lambda x: 0.5 * x * (1 + torch.erf(x / 2**0.5)),
    "gelu of tanh": lambda x: 0.5 * x * (1 + torch.tanh(0.8 * (x + 0.04 * x.pow(3)))),
    "silu": lambda x: x / (1 + torch.exp(-x)),
    "square": lambda x: x**2,
    "product": lambda x: x * x + x,
}


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_an_activation_written_out_is_no_part_of_the_layer_before_it(activation):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.head = conv(), nn.Linear(5, 4)

        def forward(self, x):
            return self.head(ACTIVATIONS[activation](self.conv(x)).mean((2, 3)))

    assert names(Net()) == {"conv": ("conv2d", -3)}


@torch.no_grad()
def by_channel(name):
    """REPAIR of the layer norms' network by the plainest means: all positions of all images."""
    models = [written(WRITINGS["layer norm"]["apart"], seed) for seed in (0, 1)]
    blend = blended(*models, 0.5)
    spread = [model[:2](IMAGES) for model in (*models, blend)]
    std = [each.std((0, 2, 3), correction=0, keepdim=True) for each in spread]
    mean = [each.mean((0, 2, 3), keepdim=True) for each in spread]
    scale = (std[0] + std[1]) / 2 / std[2]
    if name == "rescale":
        return blend[2:](spread[2] * scale)
    return blend[2:]((spread[2] - mean[2]) * scale + (mean[0] + mean[1]) / 2)


@both
def test_channels_of_a_channels_first_layer_norm_are_channels(name):
    found = logits(WRITINGS["layer norm"]["apart"], name)
    assert torch.allclose(found, by_channel(name), rtol=1e-11, atol=1e-12)


@both
def test_torchvisions_layer_norm_is_one_too(name):
    convnext = pytest.importorskip("torchvision.models.convnext")
    theirs = lambda: on_maps(conv(), convnext.LayerNorm2d(5, eps=1e-5), nn.ReLU())  # noqa: E731
    found = logits(theirs, name)
    assert torch.allclose(found, by_channel(name), rtol=1e-11, atol=1e-12)


@both
def test_images_of_another_size_are_corrected_alike(name):
    line = corrected(WRITINGS["layer norm"]["apart"], name)
    larger, _ = samples(4, (2, 10, 9))
    with torch.no_grad():
        assert line.at(2)(larger).isfinite().all()


class Last(nn.Module):
    """Channels last throughout."""

    def __init__(self, norm):
        super().__init__()
        self.linear, self.norm, self.head = nn.Linear(2, 5), norm, nn.Linear(5, 4)

    def forward(self, x):
        x = F.relu(self.norm(self.linear(x.permute(0, 2, 3, 1))))
        return self.head(x.mean((1, 2)))


class First(Last):
    def forward(self, x):
        layer = self.linear
        x = F.conv2d(x, layer.weight[..., None, None], layer.bias)
        x = F.relu(self.norm(x.movedim(1, 3)).movedim(3, 1))
        return self.head(x.mean((2, 3)))


@both
@pytest.mark.parametrize("norm", [nn.LayerNorm, nn.RMSNorm])
def test_channels_may_be_first_or_last(name, norm):
    first, last = logits(lambda: First(norm(5)), name), logits(lambda: Last(norm(5)), name)
    assert torch.allclose(first, last, rtol=1e-11, atol=1e-12)


def names(model, images=IMAGES):
    sites, _ = preactivations(model.double().eval(), images[:2])
    return {site.name: (function, site.dim) for (function, _), site in sites.at.items()}


@both
def test_what_hooks_call_is_no_call_of_the_network(name):
    line = corrected(WRITINGS["layer norm"]["written out"], name)
    with torch.no_grad():
        expected = line.at(2)(IMAGES)
        for module in line.at(2).modules():
            module.register_forward_hook(lambda m, i, out: out.clone())
        assert torch.equal(line.at(2)(IMAGES), expected)


@both
def test_other_layers_on_other_images_are_refused(name):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.norm, self.head = conv(), LayerNorm2d(5), nn.Linear(5, 4)

        def forward(self, x):
            x = self.conv(x)
            return self.head(F.relu(x if len(x) > 2 else self.norm(x)).mean((2, 3)))

    with pytest.raises(ValueError, match=r"^the network must run the same layers on all images"):
        corrected(Net, name)


@both
@pytest.mark.parametrize(
    ("equation", "shape", "dim"), [("nchw,oc->nohw", (5, 2), -3), ("oc, nchw -> nhwo", (5, 2), -1)]
)
def test_an_einsum_with_a_matrix_is_a_linear_map(name, equation, shape, dim):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight, self.head = nn.Parameter(torch.zeros(shape)), nn.Linear(5, 4)

        def forward(self, x):
            given = (x, self.weight) if equation.startswith("n") else (self.weight, x)
            x = torch.einsum(equation, *given)
            return self.head(F.relu(x.movedim(dim, 1)).mean((2, 3)))

    class Plain(Net):
        def forward(self, x):
            x = F.conv2d(x, self.weight[..., None, None])
            return self.head(F.relu(x).mean((2, 3)))

    assert names(Net()) == {"model": ("einsum", dim)}
    assert torch.allclose(logits(Net, name), logits(Plain, name), rtol=1e-11, atol=1e-12)
