"""What matchers find, seen without them: overlaps, their bounds, and whether a plant is undone."""

import functools
import itertools

import torch

from llfc.symmetry.spec.axes import axis_groups
from llfc.symmetry.transform import Element, Transform
from tests.helpers.matchable_pairs import pair


def listed(found):
    """A group's permutation, or the matrix of its map."""
    return (found.as_matrix() if isinstance(found, Element) else found).tolist()


def mixes(found):
    return isinstance(found, Transform)


def undoes(found, planted, spec):
    """Whether what was planted is undone: to the unit, or scales and mixtures to rounding."""
    if not mixes(found):
        return spec.compose(planted, found) == spec.identity()
    there_and_back = found.after(Transform.of_permutation(spec, planted))
    return there_and_back.distance(Transform.identity(spec)) < 1e-4


def inner_product(model, state):
    return sum(float((p.detach().double() * state[n]).sum()) for n, p in model.named_parameters())


def bound_by_hand(kind, transform=None):
    """Layers with units on one side: all permutations of them; others: von Neumann's, by torch.

    Of what a transform may scale or mix: half of the squares of A and of B as it is moved.
    """
    a, b, spec = pair(kind)
    moved = None if transform is None else transform.apply(b.state_dict())
    total = 0.0
    for name, x in a.named_parameters():
        groups = [group for axis in spec.axes[name] for group in axis_groups(axis)]
        if moved and any(spec.kinds[group] != "permutation" for group in groups):
            squares = x.detach().double().square() + moved[name].double().square()
            total += float(squares.sum() / 2)
        else:
            total += bound_of_permutations(kind, name)
    return total


@functools.cache
def bound_of_permutations(kind, name):
    a, b, spec = pair(kind)
    x, y = (model.get_parameter(name).detach() for model in (a, b))
    moving = [dim for dim, axis in enumerate(spec.axes[name]) if axis_groups(axis)]
    if len(moving) > 1:
        return float(spectrum(x) @ spectrum(y))
    if moving:
        (dim,) = moving
        return best_by_hand(spec, spec.axes[name][dim], x.movedim(dim, 0), y.movedim(dim, 0))
    return float((x * y).sum())


def best_by_hand(spec, axis, x, y):
    """The largest <x, P(y)>, [units, ...], over all permutations of the units of one axis."""
    score = x.detach().double().flatten(1) @ y.double().flatten(1).T if x.ndim > 1 else None
    score = torch.outer(x.detach().double(), y.double()) if score is None else score
    groups, rows = axis_groups(axis), torch.arange(len(x))
    orders = [itertools.permutations(range(spec.groups[group])) for group in groups]
    perms = (map(torch.tensor, each) for each in itertools.product(*orders))
    found = (spec.index(dict(zip(groups, perm, strict=True)), axis) for perm in perms)
    return max(float(score[rows, index].sum()) for index in found)


def spectrum(parameter):  # singular values of the matrix [first axis, all else], descending
    return torch.linalg.svdvals(parameter.detach().double().reshape(len(parameter), -1))
