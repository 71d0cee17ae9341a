"""Which calls of a network are layers to correct, and which dimension holds their channels."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import llfc
from llfc.connectivity.blend import Line, line_positions
from llfc.connectivity.corrections import CORRECTIONS
from llfc.connectivity.corrections.preactivations import preactivations
from llfc.connectivity.samples import Batches
from tests.helpers.small_networks import samples
from tests.helpers.written_out_norms import (
    SHAPE,
    InOne,
    LayerNorm2d,
    conv,
    written,
)

IMAGES, LABELS = samples(40, SHAPE)
both = pytest.mark.parametrize("name", ["repair", "rescale"])


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
