"""REPAIR and RESCALE: what they make of preactivations, and when they change nothing."""

import pytest
import torch
from torch import nn

from llfc.connectivity.blend import Line, line_positions
from llfc.connectivity.corrections import CORRECTIONS
from llfc.connectivity.corrections.preactivations import preactivations
from llfc.connectivity.samples import Batches
from llfc.devices import fastest_layout
from tests.helpers.small_networks import CLASSES, blended, convnet, mlp, random_, samples

ALPHA = line_positions(5)
NORMS = ("norm", "block1.norm", "block2.norm")


def batches(count, size, shape=(2, 7, 7)):
    images, labels = samples(count, shape)
    return Batches("train", (images, labels), size, images.device)


def correct(line, name, train):
    line.correct(CORRECTIONS[name](line, train, train.example(), line.every))


def plain(seed):
    """A convolutional network without norms; its first convolution has no bias."""
    return random_(
        nn.Sequential(
            nn.Conv2d(2, 5, 3, bias=False),
            nn.ReLU(inplace=True),
            nn.Conv2d(5, 6, 3),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(54, 8),
            nn.ReLU(),
            nn.Linear(8, CLASSES),
        ),
        seed,
    )


def grouped(seed):
    """Grouped and depthwise convolutions, a group norm, and a layer norm over a map's channels."""
    return random_(
        nn.Sequential(
            nn.Conv2d(2, 6, 3, groups=2),
            nn.ReLU(),
            nn.Conv2d(6, 6, 3, groups=6, bias=False),
            nn.GroupNorm(3, 6),
            nn.ReLU(),
            nn.Conv2d(6, 4, 3, groups=2),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(4, 8),
            nn.LayerNorm(8),
            nn.ReLU(),
            nn.Linear(8, CLASSES),
        ),
        seed,
    )


MAKES = {
    "plain": (plain, (2, 7, 7)),
    "convnet": (convnet, (2, 7, 7)),
    "mlp": (mlp, (6,)),
    "grouped": (grouped, (2, 7, 7)),
}
every_net = pytest.mark.parametrize("net", MAKES)
both = pytest.mark.parametrize("name", ["repair", "rescale"])


def found_in(model, images):
    sites, left_out = preactivations(model, images)
    assert not left_out
    return sites.names


def outputs(model, images, names):
    """Channels of each module's output, [C, all else], after whatever corrects it."""
    captured = {}
    handles = [
        model.get_submodule(name).register_forward_hook(
            lambda m, i, out, name=name: captured.update({name: out.clone()})
        )
        for name in names
    ]
    with torch.no_grad():
        logits = model(images)
    for handle in handles:
        handle.remove()
    return {name: out.transpose(0, 1).flatten(1) for name, out in captured.items()}, logits


@every_net
@both
def test_spread_of_each_preactivation_is_between_the_ends(net, name):
    make, shape = MAKES[net]
    images, labels = samples(60, shape)
    line = Line(make(0), make(1), ALPHA)
    names = found_in(line.a, images[:2])
    of_a, of_b = (outputs(model, images, names)[0] for model in (line.a, line.b))
    uncorrected = outputs(line.at(2), images, names)[0]
    correct(line, name, Batches("train", (images, labels), 60, images.device))
    for position in line.inner:
        alpha = ALPHA[position]
        found = outputs(line.at(position), images, names)[0]
        for key in names:
            std = (1 - alpha) * of_a[key].std(1) + alpha * of_b[key].std(1)
            mean = (1 - alpha) * of_a[key].mean(1) + alpha * of_b[key].mean(1)
            assert torch.allclose(found[key].std(1), std, rtol=1e-10), key
            if name == "repair":
                assert torch.allclose(found[key].mean(1), mean, rtol=1e-9, atol=1e-12), key
    moved = [not torch.allclose(uncorrected[k].std(1), found[k].std(1), rtol=0.05) for k in names]
    assert any(moved)


@every_net
@pytest.mark.parametrize("name", CORRECTIONS)
def test_the_ends_are_a_and_b_whatever_was_walked_before(net, name):
    make, shape = MAKES[net]
    images, labels = samples(40, shape)
    line = Line(make(0), make(1), ALPHA)
    correct(line, name, Batches("train", (images, labels), 20, images.device))
    for position in (2, 0, 3, len(ALPHA) - 1):  # a blend's correction must not stay behind
        _, found = outputs(line.at(position), images, [])
        if position in (0, len(ALPHA) - 1):
            end = make(int(position > 0)).eval()
            end.to(memory_format=fastest_layout(end))  # to the bit as it lies there
            assert torch.equal(found, outputs(end, images, [])[1])


@both
def test_rescale_only_multiplies(name):
    images, labels = samples(60, (2, 7, 7))
    line = Line(plain(0), plain(1), ALPHA)
    before = outputs(line.at(2), images, ["0"])[0]["0"]
    correct(line, name, Batches("train", (images, labels), 60, images.device))
    after = outputs(line.at(2), images, ["0"])[0]["0"]
    ratio = after / before
    constant = torch.allclose(ratio, ratio[:, :1].expand_as(ratio), rtol=1e-9)
    assert constant == (name == "rescale")


@every_net
@both
@pytest.mark.parametrize("size", [60, 17])
def test_a_network_blended_with_itself_is_left_alone(net, name, size):
    make, shape = MAKES[net]
    images, labels = samples(60, shape)
    line = Line(make(0), make(0), ALPHA)
    correct(line, name, Batches("train", (images, labels), size, images.device))
    _, expected = outputs(make(0).eval(), images, [])
    for position in line.inner:
        _, logits = outputs(line.at(position), images, [])
        assert torch.allclose(logits, expected, rtol=1e-11, atol=1e-12)


def settled(seed, images):
    """A network whose norms' running statistics are those of `images`, and their eps is nothing."""
    model = convnet(seed).eval()
    for name in NORMS:
        norm = model.get_submodule(name)
        norm.momentum, norm.eps = 1.0, 1e-12
        norm.train()
    with torch.no_grad():
        model(images)
    return model.eval()


def test_repair_is_reset_where_statistics_are_those_of_the_data():
    """Exactly at the first norm; then up to 1/n, as reset measures a later one behind variances
    over n and applies it behind variances over n - 1."""
    images, labels = samples(60, (2, 7, 7))
    found = {}
    for name in ("none", "reset", "repair"):
        line = Line(settled(0, images), settled(1, images), ALPHA)
        train = Batches("train", (images, labels), 60, images.device)
        correct(line, name, train)
        found[name] = [outputs(line.at(p), images, NORMS) for p in line.inner]
    for none, reset_, repair in zip(*found.values(), strict=True):
        assert torch.allclose(reset_[0]["norm"], repair[0]["norm"], rtol=1e-9, atol=1e-9)
        between = (reset_[1] - repair[1]).norm()
        assert between < reset_[1].norm() / (60 * 25)
        assert between < (none[1] - repair[1]).norm() / 1000


def test_preactivations():
    images, _ = samples(2, (2, 7, 7))
    assert found_in(convnet(0).eval(), images) == NORMS
    assert found_in(plain(0), images) == ("0", "2", "5")
    assert found_in(mlp(0), samples(2, (6,))[0]) == ("linear0", "linear1")
    assert found_in(grouped(0), images) == ("0", "3", "5", "9")
    late = nn.Sequential(nn.Linear(6, 5), nn.ReLU(inplace=True), nn.LayerNorm(5), nn.Linear(5, 4))
    normed = nn.Sequential(nn.Linear(6, 5), nn.LayerNorm(5), nn.ReLU(), nn.Linear(5, 4))
    first = nn.Sequential(nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 4)).eval()
    assert found_in(first, torch.randn(2, 6)) == ("0",)
    assert found_in(late, torch.randn(2, 6)) == ("0",)
    assert found_in(normed, torch.randn(2, 6)) == ("1",)


@both
def test_constant_channels_are_not_blown_up(name):
    def dead(seed):
        model = plain(seed)
        with torch.no_grad():
            model[2].weight[1].zero_()
        return model

    images, labels = samples(60, (2, 7, 7))
    line = Line(dead(0), dead(1), ALPHA)
    correct(line, name, Batches("train", (images, labels), 20, images.device))
    channel = outputs(line.at(2), images, ["2"])[0]["2"][1]
    assert channel == pytest.approx(blended(dead(0), dead(1), 0.5)[2].bias[1].item(), rel=1e-9)


@both
def test_a_layer_that_runs_twice_has_one_correction(name):
    class Twice(nn.Module):
        def __init__(self, seed):
            super().__init__()
            self.shared, self.head = random_(nn.Linear(6, 6), seed), random_(nn.Linear(6, 4), seed)

        def forward(self, x):
            return self.head(torch.relu(self.shared(torch.relu(self.shared(x)))))

    images, labels = samples(60, (6,))
    train = Batches("train", (images, labels), 20, images.device)
    line = Line(Twice(0), Twice(0), ALPHA)
    correct(line, name, train)
    assert torch.allclose(line.at(2)(images), Twice(0)(images), rtol=1e-11, atol=1e-12)
    other = Line(Twice(0), Twice(1), ALPHA)
    correct(other, name, train)
    assert other.at(2)(images).isfinite().all()


@both
def test_repair_and_rescale_refuse_what_reset_refuses(name):
    line = Line(mlp(0), mlp(1), ALPHA)
    with pytest.raises(ValueError, match=rf"^correction '{name}' needs train images, got None$"):
        CORRECTIONS[name](line, None, samples(2, (6,))[0], line.every)
    with pytest.raises(
        ValueError, match=rf"^correction '{name}' needs train batches of at least 2 images$"
    ):
        correct(line, name, batches(3, 1, (6,)))
