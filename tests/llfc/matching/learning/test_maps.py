"""Maps that are learned: their derivatives, what steps keep, and what they do to tensors."""

import pytest
import torch

from llfc.matching.learning.maps import CONDITION, LEARNED, Stack, acting_of, stacks_of
from llfc.seeds import stream
from llfc.symmetry.transform import Transform
from llfc.symmetry.transform.acting import moved_tensor
from tests.helpers.matchable_pairs import KINDS, pair

LIKE = torch.zeros(1, dtype=torch.float64)


def step_of(stack, seed, size):
    """A step as the optimiser makes it, skew of rotations."""
    drawn = torch.randn(stack.step.shape, generator=stream(seed, "step"), dtype=stack.step.dtype)
    stack.step.grad = size * drawn
    stack.make_tangent()
    stack.step.data.copy_(stack.step.grad)
    stack.step.grad = None
    return stack.step.detach().clone()


def walked(kind, steps=20):
    stack = Stack(["x", "y"], kind, 5, LIKE)
    for seed in range(steps):
        step_of(stack, seed, 0.3)
        stack.settle()
    return stack


@pytest.mark.parametrize("power", [1, -1])
@pytest.mark.parametrize("kind", LEARNED)
def test_the_derivative_of_a_step_is_that_of_the_exponential(kind, power):
    stack = walked(kind)
    values, weight = torch.randn(2, 5, 3, generator=stream(0, "values"), dtype=torch.float64)
    (weight * stack.acting()["y"].apply(values, power)).sum().backward()
    found = stack.step.grad[1]
    step = torch.zeros_like(found, requires_grad=True)
    if kind == "scaled":
        moved = (power * (stack.maps[1] + step)).exp()[:, None] * values
    else:
        matrix = torch.linalg.matrix_exp(step) @ stack.maps[1]
        moved = matrix @ values if power == 1 else torch.linalg.inv(matrix).mT @ values
    (weight * moved).sum().backward()
    if kind == "orthogonal":  # along skew steps
        found, step.grad = (each - each.mT for each in (found, step.grad))
    torch.testing.assert_close(found, step.grad, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kind", LEARNED)
def test_maps_stay_of_their_kind(kind):
    stack = walked(kind)
    for element in stack.elements(stack.maps).values():
        assert element.kind == kind
    if kind != "scaled":
        unit = torch.eye(5, dtype=torch.float64).expand(2, 5, 5)
        torch.testing.assert_close(stack.maps @ stack.duals.mT, unit, rtol=1e-9, atol=1e-9)
    assert not stack.step.any()


@pytest.mark.parametrize("kind", KINDS)
def test_tensors_move_as_under_the_transform(kind):
    _, b, spec = pair(kind)
    stacks = stacks_of(spec, next(b.parameters()))
    for number, stack in enumerate(stacks):
        step_of(stack, number, 0.3)
        stack.settle()
    elements = {g: e for stack in stacks for g, e in stack.elements(stack.maps).items()}
    assert elements.keys() == {g for g, each in spec.kinds.items() if each in LEARNED}
    state = Transform(spec, elements).apply(b.state_dict())
    maps = acting_of(spec, stacks)
    for name, tensor in b.named_parameters():
        moved = moved_tensor(maps, spec, spec.kinds.powers, name, tensor.detach())
        torch.testing.assert_close(moved, state[name], rtol=1e-4, atol=1e-5)


def test_an_invertible_map_stays_away_from_singular_ones():
    stack = Stack(["near", "far"], "invertible", 4, LIKE)
    left, right = (
        torch.linalg.qr(x)[0]
        for x in torch.randn(2, 4, 4, generator=stream(0, "m"), dtype=torch.float64)
    )
    values = torch.tensor([[4.0, 3, 2, 1], [1e4, 2, 1, 1e-3]], dtype=torch.float64)
    stack.maps, stack.duals = (left * s[:, None] @ right for s in (values, 1 / values))
    near = stack.maps[0].clone()
    stack.rein_in()
    assert torch.equal(stack.maps[0], near)
    found = torch.linalg.svdvals(stack.maps[1])
    assert found[0] / found[-1] == pytest.approx(CONDITION)
    torch.testing.assert_close(found[1:3], values[1, 1:3])  # what is not far is left alone
    eye = torch.eye(4, dtype=torch.float64).expand(2, 4, 4)
    torch.testing.assert_close(stack.duals.mT @ stack.maps, eye, atol=1e-9, rtol=0)
    for kind in ("orthogonal", "scaled"):
        other = walked(kind)
        before = other.maps.clone()
        other.rein_in()
        assert torch.equal(other.maps, before)
