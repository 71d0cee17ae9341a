"""A correction depends on what a network computes, and not on how its code is cut into modules."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import llfc
from llfc.connectivity.blend import Line, line_positions
from llfc.connectivity.corrections import CORRECTIONS
from llfc.connectivity.corrections.preactivations import preactivations
from llfc.connectivity.samples import Batches
from tests.helpers.small_networks import blended, samples
from tests.helpers.written_out_norms import (
    SHAPE,
    WRITINGS,
    InOne,
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


def test_channels_of_every_kind_of_layer():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.one = nn.Conv1d(2, 3, 3)
            self.instance = nn.InstanceNorm1d(3)
            self.up = nn.ConvTranspose1d(3, 4, 3)
            self.group = nn.GroupNorm(2, 4)
            self.volume = nn.Conv3d(4, 3, 1)
            self.over = nn.LayerNorm((49, 3))
            self.mix = nn.Linear(3, 3)
            self.pair, self.head = nn.Bilinear(3, 3, 6), nn.Linear(6, 4)

        def forward(self, x):
            x = F.relu(self.instance(self.one(x.flatten(2))))
            x = F.relu(self.group(self.up(x)))
            x = F.relu(self.volume(x[:, :, :, None, None])).flatten(2)
            x = F.relu(self.over(self.mix(x.transpose(1, 2))))
            return self.head(F.relu(self.pair(x, x)).mean(1))

    assert names(Net()) == {
        "instance": ("instance_norm", -2),
        "group": ("group_norm", -2),
        "volume": ("conv3d", -4),
        "over": ("layer_norm", -1),
        "pair": ("bilinear", -1),
    }


def test_a_norm_follows_a_layer_only_where_nothing_but_moving_lies_between():
    def net(*between):
        return nn.Sequential(nn.Flatten(), nn.Linear(98, 6), *between, nn.ReLU(), nn.Linear(6, 4))

    norm = nn.LayerNorm(6)
    assert list(names(net(norm))) == ["2"]
    assert list(names(net(nn.Unflatten(1, (6, 1)), nn.Flatten(), nn.Dropout(), norm))) == ["5"]
    assert list(names(net(nn.ReLU(inplace=True), norm))) == ["1"]
    assert list(names(net(nn.Softmax(1), norm))) == ["1"]


def test_what_is_added_from_elsewhere_is_no_part_of_a_layer():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.place = conv(), nn.Parameter(torch.randn(5, 5, 5))
            self.mix, self.scale = nn.Conv2d(5, 5, 1), nn.Parameter(torch.randn(5, 1, 1))
            self.head = nn.Linear(5, 4)

        def forward(self, x):
            x = self.conv(x) + self.place  # not one number a channel
            x = x + self.scale * self.mix(x.relu())
            return self.head(x.relu().mean((2, 3)))

    assert names(Net()) == {"conv": ("conv2d", -3), "model": ("mul", -3)}


@both
def test_what_hooks_call_is_no_call_of_the_network(name):
    line = corrected(WRITINGS["layer norm"]["written out"], name)
    with torch.no_grad():
        expected = line.at(2)(IMAGES)
        for module in line.at(2).modules():
            module.register_forward_hook(lambda m, i, out: out.clone())
        assert torch.equal(line.at(2)(IMAGES), expected)


def test_layers_of_one_module_are_told_apart_and_shared_ones_are_one():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.head = (nn.Parameter(torch.randn(98, 98)) for _ in range(3))
            self.shared = InOne(nn.Linear(98, 98))

        def forward(self, x):
            x = torch.relu(x.flatten(1) @ self.a)
            x = torch.relu(x @ self.b)
            return self.shared(self.shared(x)) @ self.head[:, :4]

    sites, _ = preactivations(Net().double(), IMAGES[:2])
    called = [site.name for site in sites.at.values()]
    assert called == ["model", "model:2", "shared.parts.0", "shared.parts.0"]


def test_what_runs_as_one_function_is_said_to_be_left_out():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention = nn.MultiheadAttention(14, 2, batch_first=True)
            self.layer, self.head = nn.Linear(14, 5), nn.Linear(5, 4)

        def forward(self, x):
            x = x.transpose(1, 2).flatten(2)
            x = self.attention(x, x, x)[0]
            return self.head(F.relu(self.layer(x)).mean(1))

    a, b = (written(Net, seed) for seed in (0, 1))
    data = {"test": (IMAGES, LABELS), "train": (IMAGES, LABELS)}
    found = llfc.connect(a, b, **data, matching=None, correction="repair", alphas=3, measures=())
    assert found.scalars()["correction_layers"] == 1
    assert [each.name for each in found.left_out if each.kind == "correction"] == ["attention"]
    itself = llfc.connect(a, a, **data, matching=None, correction="repair", alphas=3, measures=())
    assert set(itself.barriers.values()) == {0}
    assert itself.summaries["llfc_ratio_mean"] == itself.summaries["llfc_error_max"] == 0


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


class Routed(nn.Module):
    """Each image goes to one of two experts; `route` asks them."""

    def __init__(self, route):
        super().__init__()
        self.route, self.head = route, nn.Linear(5, 4)
        self.experts = nn.ModuleList(nn.Linear(98, 5) for _ in range(2))

    def forward(self, x):
        x = x.flatten(1)
        return self.head(F.relu(self.route(self, x, (x[:, 0] > 0).long())))


def all_asked(net, x, index):
    return torch.stack([expert(x) for expert in net.experts])[index, torch.arange(len(x))]


def none_left_out(net, x, index):
    out = x.new_zeros(len(x), 5)
    for k, expert in enumerate(net.experts):
        out[index == k] = expert(x[index == k])
    return out


def only_asked(net, x, index):
    return net.experts[int(index[0])](x)


ROUTES = {
    none_left_out: "but none reaches 'experts.1'",
    only_asked: "but calls linear with experts.0.weight and experts.0.bias instead of"
    " experts.1.weight and experts.1.bias",
}


@both
@pytest.mark.parametrize("route", ROUTES)
def test_layers_that_a_router_leaves_out_are_refused_with_the_way_out(name, route):
    """Of one count, they would be taken for one another, and what is of none has no moments."""
    images = IMAGES[:8].clone()
    images[:, 0, 0, 0] = torch.tensor([-1.0] * 4 + [1.0] * 4)  # a batch each
    data = (images if route is none_left_out else images.flip(0), LABELS[:8])
    options = {"matching": None, "correction": name, "alphas": 3, "measures": (), "batch_size": 4}
    a, b = (written(lambda: Routed(route), seed) for seed in (0, 1))
    with pytest.raises(
        ValueError, match=f"^the network must .*, {ROUTES[route]}: .* every expert on"
    ):
        llfc.connect(a, b, test=data, train=data, **options)
    a, b = (written(lambda: Routed(all_asked), seed) for seed in (0, 1))
    assert llfc.connect(a, b, test=data, train=data, **options).barriers


class Branched(nn.Module):
    """What the norm reads, the skip reads too; and a norm over what is no linear map's channels."""

    def __init__(self, norm):
        super().__init__()
        self.stem, self.norm, self.conv = conv(), norm(), nn.Conv2d(5, 5, 3, padding=1)
        self.over, self.head = nn.BatchNorm1d(25), nn.Linear(5, 4)

    def forward(self, x):
        x = self.stem(x)
        x = x + self.conv(F.relu(self.norm(x)))
        x = self.over(x.flatten(2).transpose(1, 2))
        return self.head(F.relu(x).mean(1))


BRANCHED = {
    "batch_norm": lambda: nn.BatchNorm2d(5),
    "group_norm": lambda: nn.GroupNorm(5, 5),
    "layer_norm": lambda: LayerNorm2d(5),
}


@pytest.mark.parametrize("function", BRANCHED)
def test_a_norm_follows_a_layer_that_is_read_by_a_skip_too(function):
    found = names(Branched(BRANCHED[function]))
    dim = -1 if function == "layer_norm" else -3
    over = ("batch_norm", -2)
    assert found == {"norm": (function, dim), "conv": ("conv2d", -3), "over": over}


def test_repair_of_batch_norms_is_reset_behind_skips_too():
    """Of networks whose statistics are those of the data, up to eps and one part in 25 * 40."""

    def make(seed):
        model = written(lambda: Branched(BRANCHED["batch_norm"]), seed)
        for norm in (model.norm, model.over):
            norm.momentum, norm.eps = 1.0, 1e-12
        model.conv.requires_grad_(False).weight.zero_()  # whose output is no batch norm's
        with torch.no_grad():
            model.train()(IMAGES)
        return model.eval()

    found = {}
    for name in ("none", "reset", "repair"):
        line = Line(make(0), make(1), line_positions(5))
        train = Batches("train", (IMAGES, LABELS), 40, IMAGES.device)
        line.correct(CORRECTIONS[name](line, train, train.example(), line.every))
        with torch.no_grad():
            found[name] = line.at(2)(IMAGES)
    between = (found["reset"] - found["repair"]).norm()
    assert between < found["reset"].norm() / 40
    assert between < (found["none"] - found["repair"]).norm() / 100


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


def test_an_einsum_whose_channels_are_two_dimensions_is_said_to_be_left_out():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight, self.head = nn.Parameter(torch.ones(2, 5, 3)), nn.Linear(5, 4)

        def forward(self, x):
            x = torch.einsum("nchw,cuv->nhwuv", x, self.weight)
            return self.head(F.relu(x).mean((1, 2, 4)))

    _, (left_out,) = preactivations(Net().double(), IMAGES[:2])
    assert left_out.name == "model"
    assert left_out.reason.startswith("einsum is one function")
