"""Where activation matching reads: against features captured by hand, one assignment from scipy."""

import itertools

import pytest
import torch
from scipy.optimize import linear_sum_assignment
from torch import nn
from torch.nn import functional as F

from llfc.matching import match, permutation_spec
from tests.helpers.matchable_pairs import permuted
from tests.helpers.quick_cases import slow_unless
from tests.helpers.seeded_networks import randn, seeded
from tests.helpers.wired_networks import Net, chain

lin, conv = nn.Linear, nn.Conv2d


class PreActivation(nn.Module):
    """A block that normalises and rectifies before its convolutions."""

    def __init__(self, channels):
        super().__init__()
        self.bn1, self.conv1 = nn.BatchNorm2d(channels), conv(channels, 3, 3, padding=1)
        self.bn2, self.conv2 = nn.BatchNorm2d(3), conv(3, channels, 3, padding=1)

    def forward(self, x):
        y = self.conv1(F.relu(self.bn1(x)))
        return x + self.conv2(F.relu(self.bn2(y)))


def nested(depth):
    body = chain(lin(6, 8), nn.ReLU(), lin(8, 12), nn.ReLU())
    for _ in range(depth):
        body = chain(body)
    return chain(body, lin(12, 3))


def shared():
    relu = nn.ReLU()
    return chain(lin(6, 8), relu, lin(8, 12), relu, lin(12, 3))


def functional(name):
    function = getattr(F, name)
    return Net(
        lambda m, x: m.c(function(m.b(function(m.a(x))))), a=lin(6, 8), b=lin(8, 12), c=lin(12, 3)
    )


def overwritten():
    def forward(m, x):
        y = m.b(torch.relu_(m.a(x)))
        F.relu_(y)  # what follows uses y, not what this returns
        return m.c(y)

    return Net(forward, a=lin(6, 8), b=lin(8, 12), c=lin(12, 3))


def without_gradients():
    def forward(m, x):
        with torch.no_grad():
            y = F.relu(m.b(F.relu(m.a(x))))
        return m.c(y)

    return Net(forward, a=lin(6, 8), b=lin(8, 12), c=lin(12, 3))


def dropped():
    return chain(
        lin(6, 8), nn.ReLU(), nn.Dropout(0.5), lin(8, 12), nn.ReLU(), nn.Dropout(), lin(12, 3)
    )


MLPS = {
    "flat": lambda: nested(0),
    "nested": lambda: nested(1),
    "nested deeper": lambda: nested(3),
    "shared": shared,
    "functional": lambda: functional("relu"),
    "smooth": lambda: functional("gelu"),
    "overwritten": overwritten,
    "without gradients": without_gradients,
    "dropped": dropped,
}


def assigned(x, y):
    """The partners of largest correlation; x, y [units, samples]."""
    count = len(x)
    score = torch.corrcoef(torch.cat([x, y]).double().detach()).nan_to_num()[:count, count:]
    return linear_sum_assignment(score.numpy(), maximize=True)[1].tolist()


def samples_of(features):
    """[images, units, ...] as [units, samples]."""
    return features.movedim(1, 0).flatten(1)


@pytest.mark.parametrize(
    ("kind", "name"),
    slow_unless(
        [(kind, "activations") for kind in ("nested", "functional")],
        [*itertools.product(MLPS, ("activations", "activations-uncentred"))],
    ),
)
def test_units_that_only_the_activation_tells_apart_are_found(kind, name):
    """Equal weights and spaced biases: before it they are one unit but for a constant."""
    model, x = seeded(MLPS[kind], 0), randn(64, 6)
    last = [m for m in model.modules() if isinstance(m, lin)][1]
    with torch.no_grad():
        last.weight[:] = last.weight[0]
        last.bias[:] = torch.linspace(-1, 1, 12)
    spec = permutation_spec(model, x[:2])
    planted = spec.random(3)
    found = match(name, model, permuted(model, spec, planted), spec, [x[:40], x[40:]])
    assert spec.compose(planted, found) == spec.identity()
    assert found.record["groups_unread"] == 0
    assert not found.left_out


@pytest.mark.parametrize("kind", MLPS)
def test_two_networks_are_matched_by_what_follows_the_activation(kind):
    a, b = (seeded(MLPS[kind], seed) for seed in (0, 1))
    for module in (*a.modules(), *b.modules()):
        if isinstance(module, lin):
            nn.init.constant_(module.bias, 0.5)  # no unit is silent
    x = randn(64, 6)
    act = F.gelu if kind == "smooth" else F.relu
    features = []
    for model in (a, b):
        first, second, _ = (m for m in model.modules() if isinstance(m, lin))
        one = act(first(x))
        features.append((one, act(second(one))))
    found = match("activations", a, b, permutation_spec(a, x[:2]), [x])
    expected = [assigned(*map(samples_of, pair)) for pair in zip(*features, strict=True)]
    assert [units.tolist() for units in found.values()] == expected


def stage():
    """A stem and two residual blocks: the stage has 5 units, the blocks 3 of their own."""

    def forward(m, x):
        x = F.relu(m.bn(m.stem(x)))
        for block in (m.one, m.two):
            x = F.relu(x + block(x))
        return m.head(x.mean((2, 3)))

    def block():
        return chain(
            conv(5, 3, 3, padding=1), nn.BatchNorm2d(3), nn.ReLU(), conv(3, 5, 3, padding=1)
        )

    return Net(
        forward, stem=conv(2, 5, 3), bn=nn.BatchNorm2d(5), one=block(), two=block(), head=lin(5, 3)
    )


def preactivation():
    return chain(
        conv(2, 5, 3),
        PreActivation(5),
        PreActivation(5),
        nn.BatchNorm2d(5),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        lin(5, 3),
    )


def of_stage(m, x):
    x = F.relu(m.bn(m.stem(x)))
    first = m.one[:3](x)
    x = F.relu(x + m.one(x))
    second = m.two[:3](x)
    return F.relu(x + m.two(x)), first, second


def of_preactivation(m, x):
    x = m[0](x)
    inside = []
    for block in (m[1], m[2]):
        inside.append(F.relu(block.bn2(block.conv1(F.relu(block.bn1(x))))))
        x = block(x)
    return m[4](m[3](x)), *inside


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "features"),
    [(stage, of_stage), (preactivation, of_preactivation)],
)
def test_a_residual_stage_is_read_after_its_last_addition_and_activation(make, features):
    """And not after pooling, where every image is one sample."""
    a, b = seeded(make, 0), seeded(make, 1)
    x = randn(12, 2, 7, 7)
    found = match("activations", a, b, permutation_spec(a, x[:2]), x.split(5))
    expected = [
        assigned(samples_of(one), samples_of(other))
        for one, other in zip(features(a, x), features(b, x), strict=True)
    ]
    assert [units.tolist() for units in found.values()] == expected


def test_features_are_of_the_model_that_the_spec_is_of():
    x = randn(4, 6)
    spec = permutation_spec(functional("relu"), x)
    with pytest.raises(ValueError, match=r"no value '\S+': the spec is that of another model"):
        match("activations", functional("gelu"), functional("gelu"), spec, [x])
