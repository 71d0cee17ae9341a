"""One layer at a time: what its blend must give, and that the layers are all of the network."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

import llfc
from llfc.connectivity.measures.layer_barriers import layer_barriers, layer_parts
from llfc.connectivity.probes import choose_probes
from llfc.results import TABLES
from tests.helpers.measure_subjects import subject
from tests.helpers.quick_cases import slow_unless
from tests.helpers.small_networks import CLASSES, blended, convnet, loss_and_error, mlp, samples

MAKERS = {"mlp": (mlp, (6,)), "convnet": (convnet, (2, 7, 7))}
both = pytest.mark.parametrize("name", list(MAKERS))
seeds = pytest.mark.parametrize("seed", range(3))


def barriers(a, b, test, **options):
    """(loss, error, loss_excess, error_excess) by (layer, rest), and the scalars."""
    found = layer_barriers(subject(a, b, test, **options))
    table = found.tables["layer_barriers"]
    assert tuple(table) == TABLES["layer_barriers"]
    rows = zip(*table.values(), strict=True)
    return {(layer, rest): values for layer, rest, *values in rows}, found.scalars


@both
@pytest.mark.parametrize("correction", slow_unless(["repair"], ["none", "repair", "rescale"]))
def test_a_network_and_itself(name, correction):
    make, shape = MAKERS[name]
    given = {"train": samples(24, shape, 2), "correction": correction}
    found, scalars = barriers(make(0), make(0), samples(30, shape), **given)
    assert all(values[2:] == pytest.approx([0, 0], abs=1e-12) for values in found.values())
    assert scalars == pytest.approx({"layer_barrier_max": 0, "layer_barrier_mean": 0}, abs=1e-12)


@both
def test_each_part_is_blended_alone(name):
    """Against states put together by hand."""
    make, shape = MAKERS[name]
    a, b, (images, labels) = make(0).eval(), make(1).eval(), samples(40, shape)
    found, scalars = barriers(a, b, (images, labels))
    assert len(found) >= 6
    excesses = []
    for (layer, rest), values in found.items():
        whole = a if rest == "a" else b
        state, half = whole.state_dict(), blended(a, b, 0.5).state_dict()
        state |= {key: half[key] for key in state if key.startswith(f"{layer}.")}
        model = copy.deepcopy(whole)
        model.load_state_dict(state)
        with torch.no_grad():
            expected = loss_and_error(model(images), labels)
            before = loss_and_error(whole(images), labels)
        excesses.append(expected[0] - before[0])
        excess = [x - y for x, y in zip(expected, before, strict=True)]
        assert values == pytest.approx([*expected, *excess], rel=1e-9, abs=1e-12), (layer, rest)
    assert scalars["layer_barrier_max"] == pytest.approx(max(excesses))
    assert scalars["layer_barrier_mean"] == pytest.approx(np.mean(excesses))


@seeds
def test_a_single_layer_has_the_midpoint_gap_and_is_convex(seed):
    """Its two rows are one network, above A and above B; their mean is the gap, never positive."""
    a, b = (mlp(2 * seed + i, sizes=(6, CLASSES)) for i in (0, 1))
    test = samples(60, (6,), seed)
    found, scalars = barriers(a, b, test)
    walked = llfc.connect(a, b, test=test, matching=None, alphas=3, correction="none")
    (above_a, above_b) = found["linear0", "a"], found["linear0", "b"]
    assert above_a[:2] == pytest.approx(above_b[:2])
    gap = walked.summaries["test_loss_gap"]
    assert scalars["layer_barrier_mean"] == pytest.approx(gap, abs=1e-14)
    assert gap < 0
    error_gap = (above_a[3] + above_b[3]) / 2
    assert error_gap == pytest.approx(walked.summaries["test_error_gap"], abs=1e-14)


@seeds
@pytest.mark.parametrize("differing", [0, 1, 2])
def test_only_the_layer_that_differs_has_a_barrier(seed, differing):
    a = mlp(seed)
    b = copy.deepcopy(a)
    setattr(b, f"linear{differing}", getattr(mlp(seed + 10), f"linear{differing}"))
    test = samples(60, (6,), seed)
    found, scalars = barriers(a, b, test)
    gap = llfc.connect(a, b, test=test, matching=None, alphas=3).summaries["test_loss_gap"]
    for (layer, _), values in found.items():
        assert (values[2] == 0) == (layer != f"linear{differing}")
    assert scalars["layer_barrier_mean"] * 3 == pytest.approx(gap, abs=1e-14)


def test_the_last_layer_is_convex():
    """So its blend is no worse than the chord between the rest and the rest with the other's."""
    a, b, (images, labels) = mlp(0).eval(), mlp(1).eval(), samples(60, (6,))
    found, _ = barriers(a, b, (images, labels))
    for rest, whole, other in (("a", a, b), ("b", b, a)):
        swapped = nn.Sequential(*whole[:-1], other[-1])
        with torch.no_grad():
            losses = [loss_and_error(model(images), labels)[0] for model in (whole, swapped)]
        assert found["linear2", rest][0] < np.mean(losses)


class Odd(nn.Module):
    """Shared and tied tensors, a parameter of its own, a norm with buffers alone, blocks in one."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(2))
        self.norm = nn.BatchNorm2d(2, affine=False)
        self.stage = nn.Sequential(nn.Conv2d(2, 2, 1), nn.Sequential(nn.Conv2d(2, 2, 1), nn.ReLU()))
        self.again, self.tied = self.stage[0], nn.Conv2d(2, 2, 1)
        self.tied.weight = self.stage[0].weight
        self.flatten, self.head = nn.Flatten(), nn.Linear(98, CLASSES)

    def forward(self, x):
        x = self.tied(self.again(self.stage(self.norm(x * self.scale[:, None, None]))))
        return self.head(self.flatten(x))


@pytest.mark.parametrize(
    ("make", "probes", "expected"),
    [
        (lambda: convnet(0), None, ["conv", "norm", "block1", "block2", "head"]),
        (
            lambda: convnet(0),
            ["block1", "head"],
            ["conv", "norm", "block1", "block2.conv", "block2.norm", "head"],
        ),
        (Odd, ["head"], ["model", "norm", "stage.0", "stage.1.0", "tied", "head"]),
        (Odd, ["stage.0", "stage", "head"], ["model", "norm", "stage", "tied", "head"]),
        (Odd, ["stage.1", "head"], ["model", "norm", "stage.0", "stage.1", "tied", "head"]),
    ],
)
def test_parts_are_all_of_the_network_once(make, probes, expected):
    model, images = make().double().eval(), torch.zeros(2, 2, 7, 7, dtype=torch.float64)
    found = layer_parts(model, choose_probes(model, images, probes))
    assert list(found) == expected
    floats = [
        name
        for name, tensor in [*model.named_parameters(), *model.named_buffers()]
        if tensor.is_floating_point()
    ]
    assert sorted(name for names in found.values() for name in names) == sorted(floats)


class OwnHead(nn.Module):
    """Its own code ends with a linear map, so that the network itself is probed."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU())
        self.head = nn.Parameter(torch.randn(8, CLASSES))

    def forward(self, x):
        return self.body(x) @ self.head


def test_a_network_that_is_probed_itself_has_its_parts():
    model = OwnHead()
    probes = choose_probes(model, torch.randn(2, 6))
    assert probes[-1].module == ""
    assert list(layer_parts(model, probes)) == ["model", "body.0", "body.2"]


def test_a_single_module_is_one_part():
    model = nn.Linear(6, 3)
    assert layer_parts(model, choose_probes(model, torch.zeros(2, 6))) == {
        "model": ["weight", "bias"]
    }


@pytest.mark.parametrize("batch", slow_unless([50], [1, 50]))
def test_any_batching_gives_the_same(batch):
    a, b, test = convnet(0), convnet(1), samples(40, (2, 7, 7))
    found, other = barriers(a, b, test)[0], barriers(a, b, test, batch=batch)[0]
    for key, values in found.items():
        assert other[key] == pytest.approx(values, rel=1e-9, abs=1e-12)


def test_statistics_are_corrected_as_those_of_the_blends():
    """Under `reset` they are the training data's, whatever they were."""
    a, b = convnet(0), convnet(1)
    given = {"train": samples(24, (2, 7, 7), 2), "correction": "reset", "batch": 50}
    test = samples(40, (2, 7, 7))
    found, _ = barriers(a, b, test, **given)
    for model in (a, b):
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.mul_(2)
                module.running_var.mul_(3)
    other, _ = barriers(a, b, test, **given)
    assert {key: values[:2] for key, values in other.items()} == {
        key: pytest.approx(values[:2], rel=1e-12) for key, values in found.items()
    }
    assert barriers(a, b, test)[0]["head", "a"][0] != pytest.approx(found["head", "a"][0])


def test_it_is_a_measure_of_a_trial():
    found = llfc.connect(
        *(mlp(seed) for seed in (0, 1)),
        test=samples(30, (6,)),
        matching=None,
        alphas=3,
        measures=["layer-barriers"],
    )
    assert found.tables["layer_barriers"]["layer"] == ["linear0", "linear1", "linear2"] * 2
    assert found.scalars()["layer_barrier_max"] >= found.scalars()["layer_barrier_mean"]
