"""Planted elements of every kind are undone, by what is in place alone and to rounding."""

import pytest
import torch

from llfc import Transform
from llfc.matching.mixing.descent import Descent
from llfc.matching.mixing.places import Places
from llfc.symmetry.spec.axes import axis_groups
from tests.helpers.kinds_by_hand import network
from tests.helpers.quick_cases import slow_unless

# Every kind, alone and with others; heads, fused and of other libraries; and tied tensors.
PLANTED = (
    "mlp tanh",
    "mlp relu",
    "mlp gelu",
    "mlp linear",
    "square",
    "length",
    "tied",
    "tied tanh",
    "depthwise",
    "resnet20 none",
    "rms without gains",
    "rms with gains",
    "gpt",
    "gpt rms",
    "fused",
    "hugging face gpt2",
    "hugging face llama",
)


def drawn(model, seed):
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.randn(p.shape, generator=generator, dtype=torch.float64)
        for name, p in model.named_parameters()
    }


def moved(transform, state):
    return {name: transform.moved_tensor(name, tensor) for name, tensor in state.items()}


def square(state):
    return sum(float(tensor.square().sum()) for tensor in state.values())


def minus(a, b):
    return {name: a[name] - b[name] for name in a}


# Deep networks, whose layers are those of the others.
DEEP = {"hugging face gpt2", "hugging face llama", "resnet20 none"}


@pytest.mark.parametrize("name", slow_unless({*[*PLANTED][::2]} - DEEP, PLANTED))
def test_planted_elements_are_undone(name):
    model, _, spec = network(name)
    a = drawn(model, 7)
    for seed in range(2):
        b = moved(Transform.random(spec, seed), a)
        descent = Descent(a, b, spec, torch.float64)
        assert descent.value() > 0.01 * square(a)
        descent.anchor()
        assert descent.descend() < 1e-20 * square(a)
        assert square(minus(a, moved(descent.found(), b))) < 1e-20 * square(a)


@pytest.mark.parametrize("name", ["mlp tanh", "mlp relu", "rms without gains", "gpt"])
def test_planted_elements_are_undone_beside_noise(name):
    """Nearer than the plant's inverse, which leaves the noise as it is."""
    model, _, spec = network(name)
    a, noise = drawn(model, 7), drawn(model, 8)
    planted = Transform.random(spec, 0)
    b = moved(planted, {key: a[key] + 0.05 * noise[key] for key in a})
    descent = Descent(a, b, spec, torch.float64)
    descent.anchor()
    assert descent.descend() <= (1 + 1e-12) * 0.05**2 * square(noise)


@pytest.mark.parametrize("name", ["mlp relu", "gpt", "tied"])
def test_the_distance_never_rises(name):
    """Of unrelated networks; and it is that of the transform, not only of what was moved so far."""
    model, _, spec = network(name)
    a, b = drawn(model, 0), drawn(model, 1)
    descent = Descent(a, b, spec, torch.float64)
    values = [descent.value(), descent.descend(1), descent.descend(1), descent.descend()]
    assert values == sorted(values, reverse=True)
    assert values[-1] < values[0]
    assert square(minus(a, moved(descent.found(), b))) == pytest.approx(values[-1])


@pytest.mark.parametrize("name", ["gpt", "fused", "grouped queries", "depthwise", "lstm"])
def test_all_that_groups_move_is_in_their_places(name):
    """Rows are as the axes say: each group's positions once, and the units in order."""
    model, _, spec = network(name)
    places = Places(spec, [n for n, _ in model.named_parameters()])
    for key, _ in model.named_parameters():
        for dim, axis in enumerate(spec.axes[key]):
            for group in axis_groups(axis):
                here = [p for p in places.of[group] if (p.tensor, p.dim) == (key, dim)]
                found = torch.cat([place.positions for place in here], 1)
                expected = spec.positions(axis, group)
                assert torch.equal(found.sort(1).values, expected.sort(1).values)


def test_rows_are_read_and_written_where_they_lie():
    model, _, spec = network("fused")
    state = drawn(model, 0)
    places = Places(spec, state)
    for group, of_group in places.of.items():
        for place in of_group:
            tensor = state[place.tensor].clone()
            rows = place.rows(tensor).clone()
            assert len(rows) == spec.groups[group]
            place.put(tensor, 2 * rows)
            assert torch.equal(place.rows(tensor), 2 * rows)
            assert float((tensor != state[place.tensor]).sum()) == rows.numel()
