"""What stitching must give: at the ends of the network, between twins, and by plain means."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

import llfc
from llfc.connectivity.measures.stitching import stitching
from llfc.results import TABLES
from tests.helpers.measure_subjects import subject
from tests.helpers.small_networks import CLASSES, convnet, loss_and_error, mlp, samples

MAKERS = {"mlp": (mlp, (6,)), "convnet": (convnet, (2, 7, 7))}
both = pytest.mark.parametrize("name", list(MAKERS))


def stitched(a, b, test, **options):
    """(loss, error) by (layer, into), and the scalars."""
    found = stitching(subject(a, b, test, **options))
    table = found.tables["stitching"]
    assert tuple(table) == TABLES["stitching"]
    rows = zip(*table.values(), strict=True)
    return {(layer, into): values for layer, into, *values in rows}, found.scalars


def own(model, images, labels):
    with torch.no_grad():
        return loss_and_error(copy.deepcopy(model).eval()(images), labels)


def close(values, expected):
    return values == pytest.approx(expected, rel=1e-12)


@both
def test_at_the_logits_it_is_the_other_network(name):
    make, shape = MAKERS[name]
    a, b, (images, labels) = make(0), make(1), samples(40, shape)
    found, scalars = stitched(a, b, (images, labels))
    (last, _) = list(found)[-1]
    assert close(found[last, "b"], own(a, images, labels))
    assert close(found[last, "a"], own(b, images, labels))
    errors = [error for _, error in found.values()]
    larger = max(own(a, images, labels)[1], own(b, images, labels)[1])
    assert scalars == pytest.approx(
        {
            "stitching_error_mean": np.mean(errors),
            "stitching_error_max": max(errors),
            "stitching_excess_mean": np.mean(errors) - larger,
            "stitching_excess_max": max(errors) - larger,
        }
    )


@both
def test_a_network_stitched_to_itself_is_itself(name):
    make, shape = MAKERS[name]
    images, labels = samples(40, shape)
    found, scalars = stitched(make(0), make(0), (images, labels))
    expected = own(make(0), images, labels)
    assert all(close(values, expected) for values in found.values())
    assert scalars["stitching_excess_max"] == pytest.approx(0, abs=1e-15)


def test_up_to_where_two_networks_agree_nothing_changes():
    """A's feature there is B's; and what they share after it makes stitching into either alike."""
    images, labels = samples(40, (6,))
    a, b = mlp(0), mlp(1)
    b.linear0 = copy.deepcopy(a.linear0)
    found, _ = stitched(a, b, (images, labels))
    for layer in ("linear0", "relu0"):
        assert close(found[layer, "b"], own(b, images, labels))
        assert close(found[layer, "a"], own(a, images, labels))
    b = copy.deepcopy(a)
    b.linear0 = mlp(1).linear0
    found, _ = stitched(a, b, (images, labels))
    for layer in ("linear0", "relu0", "linear1", "relu1", "linear2"):
        assert close(found[layer, "b"], own(a, images, labels))
        assert close(found[layer, "a"], own(b, images, labels))


@both
def test_it_is_one_networks_layers_and_then_the_others(name):
    make, shape = MAKERS[name]
    a, b, (images, labels) = make(0).eval(), make(1).eval(), samples(40, shape)
    found, _ = stitched(a, b, (images, labels))
    names = [key for key, _ in a.named_children()]
    layers = dict.fromkeys(layer for layer, _ in found)
    for layer in layers:
        cut = names.index(layer) + 1
        for into, first, second in (("b", a, b), ("a", b, a)):
            joined = nn.Sequential(*first[:cut], *second[cut:])
            assert close(found[layer, into], own(joined, images, labels)), (layer, into)
    assert len(layers) >= 4


def test_inside_a_block_the_shortcut_is_that_of_the_network_gone_into():
    a, b, (images, labels) = convnet(0).eval(), convnet(1).eval(), samples(40, (2, 7, 7))
    found, _ = stitched(a, b, (images, labels), probes=["block1.norm"])
    with torch.no_grad():
        branch = a.block1.norm(a.block1.conv(a[:3](images)))
        logits = b[4:](torch.relu(b[:3](images) + branch))
    assert close(found["block1.norm", "b"], loss_and_error(logits, labels))


@both
@pytest.mark.parametrize("batch", [1, 13, 100])
def test_any_batching_gives_the_same(name, batch):
    make, shape = MAKERS[name]
    test = samples(40, shape)
    found, scalars = stitched(make(0), make(1), test)
    other, other_scalars = stitched(make(0), make(1), test, batch=batch)
    assert scalars == pytest.approx(other_scalars, rel=1e-12)
    assert all(close(other[key], values) for key, values in found.items())


def test_features_are_stitched_from_the_last_to_the_first():
    """So that what a module keeps for a later one is from its own network, as recorded."""

    class Keep(nn.Module):
        def forward(self, x):
            self.kept = 2 * x
            return self.kept + 1

    class Keeper(nn.Module):
        def __init__(self, seed):
            super().__init__()
            self.first, self.keep = mlp(seed, sizes=(6, 6)), Keep()
            self.last = mlp(seed, sizes=(6, CLASSES))

        def forward(self, x):
            x = self.keep(self.first(x))
            return self.last(x * self.keep.kept)

    a, b, (images, labels) = Keeper(0), Keeper(1), samples(30, (6,))
    found, _ = stitched(a, b, (images, labels), probes=["first.linear0", "keep"])
    with torch.no_grad():
        logits = b.last(a.keep(a.first(images)) * 2 * b.first(images))
    assert close(found["keep", "b"], loss_and_error(logits, labels))


def test_the_networks_of_the_line_are_left_as_they_were():
    looked_at = subject(convnet(0), convnet(1), samples(20, (2, 7, 7)))
    line = looked_at.line
    before = copy.deepcopy((line.a.state_dict(), line.b.state_dict()))
    first = stitching(looked_at).scalars
    for model, state in zip((line.a, line.b), before, strict=True):
        assert not any("forward" in vars(module) for module in model.modules())
        assert not any(module._forward_hooks for module in model.modules())
        for key, value in model.state_dict().items():
            assert torch.equal(value, state[key]), key
    assert stitching(looked_at).scalars == first


def test_it_is_a_measure_of_a_trial():
    images, labels = samples(30, (6,))
    found = llfc.connect(
        mlp(0), mlp(1), test=(images, labels), matching=None, alphas=3, measures=["stitching"]
    )
    assert found.tables["stitching"]["layer"][:5] == [layer.name for layer in found.layers]
    worst = found.scalars()["stitching_error_max"]
    assert worst >= max(found.curve["test_error"][[0, -1]])  # the last probe is the other end
