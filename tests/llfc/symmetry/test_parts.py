"""Parts of one axis that meet again: all their symmetry is derived, or a line says why not.

Brute force over all permutations of the units between two layers: one that only rearranges what the
second layer reads is a symmetry.
"""

import itertools
import math
from functools import reduce

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from llfc.symmetry import permutation_spec
from llfc.symmetry.spec.axes import axis_groups
from tests.helpers.quick_cases import a_third_quick
from tests.helpers.wired_networks import Net, between

UNITS = 6
ORDERS = torch.tensor([*itertools.permutations(range(UNITS))])


SYMMETRIC = torch.tensor([[[1.0, 2.0, 3.0], [2.0, 4.0, 5.0], [3.0, 5.0, 6.0]]])


def eye(*columns):
    return torch.eye(UNITS)[:, list(columns)]


def split(h, size=2):
    return h.split(size, 1)


def halves(h):
    return h[:, :3], h[:, 3:]


def cut(h):
    """Two parts of four units, cut along two axes."""
    h = h.view(-1, 2, 3)
    return h[:, 0, 1:], h[:, 1, 1:]


def attend(q, k, v):
    """Each of two units as a token of its own."""
    return ((q[:, :, None] * k[:, None]).softmax(-1) @ v[:, :, None])[:, :, 0]


def product(parts):
    return reduce(torch.mul, parts)


DERIVED = {
    # Several parts in a chain of one operator.
    "three": lambda h: h[:, :2] * h[:, 2:4] * h[:, 4:],
    "three, from the right": lambda h: h[:, :2] + (h[:, 2:4] + h[:, 4:]),
    "three, strided": lambda h: torch.maximum(torch.maximum(h[:, ::3], h[:, 1::3]), h[:, 2::3]),
    "three, by sum": lambda h: sum(h.chunk(3, 1)),
    "three, averaged": lambda h: (h[:, :2] + h[:, 2:4] + h[:, 4:]) / 3,
    "three, in place": lambda h: (h[:, :2] * h[:, 2:4]).mul_(h[:, 4:]),
    "three, one function": lambda h: product(part.sigmoid() for part in split(h)),
    "three, one differs": lambda h: h[:, :2] * h[:, 2:4] * h[:, 4:].sigmoid(),
    "three, two operators": lambda h: h[:, :2] * h[:, 2:4] + h[:, 4:],
    "three, one number": lambda h: (2 * h[:, :2]) * h[:, 2:4] * h[:, 4:],
    "a number for each": lambda h: 2 * h[:, :3] + 3 * h[:, 3:],
    "a constant between": lambda h: h[:, :3] * torch.tensor([1.0, 2.0, 3.0]) * h[:, 3:],
    # Cut out in other ways.
    "lists": lambda h: h[:, [0, 1]] * h[:, [2, 3]],
    "lists of three": lambda h: h[:, [0, 1]] * h[:, [2, 3]] * h[:, [5, 4]],
    "by an index": lambda h: product(h.index_select(1, torch.arange(k, 6, 2)) for k in (0, 1)),
    "along two axes": lambda h: product(cut(h)),
    "unbound": lambda h: product(h.unflatten(1, (3, 2)).unbind(1)),
    "split by halves": lambda h: torch.minimum(*torch.hsplit(h, 2)),
    "one half turned": lambda h: h[:, :3] * h[:, 3:].flip(1),
    "columns of ones": lambda h: (h @ eye(0, 1, 2)) * (h @ eye(3, 4, 5)),
    "columns of ones, linear": lambda h: F.linear(h, eye(0, 1).T) + F.linear(h, eye(2, 5).T),
    "columns of ones, einsum": lambda h: product(
        torch.einsum("ni,ij->nj", h, eye(*at)) for at in ((0, 2, 4), (1, 3, 5))
    ),
    # An axis that meets itself, two and two.
    "reversed": lambda h: h * h.flip(1),
    "reversed, of functions": lambda h: h.relu() + h.flip(1).relu(),
    "reversed, one gated": lambda h: h * h.flip(1).sigmoid(),
    "reversed and cut": lambda h: (h * h.flip(1))[:, :3],
    "turned half round": lambda h: h * h.roll(3, 1),
    "some in their places": lambda h: h * h[:, [1, 0, 2, 3, 5, 4]],
    # Contracted.
    "einsum": lambda h: torch.einsum("ni,ni->n", *halves(h))[:, None],
    "einsum of three": lambda h: torch.einsum("ni,ni,ni->n", *split(h))[:, None],
    "matrix product": lambda h: (h[:, None, :3] @ h[:, 3:, None])[:, :, 0],
    # Stacked, or put end to end.
    "stacked, largest": lambda h: torch.stack(halves(h)).amax(0),
    "stacked, mean": lambda h: torch.stack(halves(h), 1).mean(1),
    "stacked, product": lambda h: torch.stack(split(h), -1).prod(-1),
    "stacked, functions": lambda h: torch.stack([part.relu() for part in split(h)]).sum(0),
    "stacked, functions that differ": lambda h: torch.stack([h[:, :3], h[:, 3:].exp()]).amax(0),
    "stacked and flattened": lambda h: torch.stack(halves(h), 1).flatten(1),
    "stacked and selected": lambda h: torch.stack(halves(h))[0],
    "joined": lambda h: torch.cat(halves(h), 1),
    "joined, functions": lambda h: torch.cat([h[:, 3:].relu(), h[:, :3].relu()], 1),
    "joined, functions that differ": lambda h: torch.cat([h[:, 3:].relu(), h[:, :3].exp()], 1),
    "joined and viewed": lambda h: torch.cat(halves(h), 1).view(-1, 2, 3).sum(1),
    "joined along a new axis": lambda h: torch.cat([h[:, None, :3], h[:, None, 3:]], 1).amax(1),
}
HELD = {
    "in a ring": lambda h: h * h.roll(1, 1),
    "in two rings": lambda h: h * h.roll(2, 1),
    "overlapping": lambda h: h[:, :4] * h[:, 2:],
    "sums": lambda h: (h[:, :3].sum(1) * h[:, 3:].sum(1))[:, None],
    "norms, stacked": lambda h: torch.stack([p.norm(dim=1) for p in halves(h)]).amax(0)[:, None],
    "softmax of each": lambda h: torch.cat([part.softmax(1) for part in halves(h)], 1),
    "each with each": lambda h: (h[:, :3, None] + h[:, None, 3:]).flatten(1),
    "each with each, einsum": lambda h: torch.einsum("ni,nj->nij", *halves(h)).flatten(1),
    "used twice": lambda h: (lambda a, b: a * b + a + b)(*halves(h)),
    "differences": lambda h: (h[:, :3] - h[:, 3:]).abs(),
    "a choice": lambda h: (lambda a, b: torch.where(a > b, a, b))(*halves(h)),
    "cosine": lambda h: F.cosine_similarity(*halves(h))[:, None],
    "distance": lambda h: torch.cdist(h[:, None, :3], h[:, None, 3:])[:, :, 0],
    "across two calls": lambda h: (lambda a, b: a * b.sigmoid() + b * a.sigmoid())(*halves(h)),
    "across two calls, crossed": lambda h: (lambda a, b: a * b.exp() + a.exp() * b)(*halves(h)),
    "equal constants": lambda h: h[:, :3] * torch.arange(3) + h[:, 3:] * torch.arange(3),
    "whole products": lambda h: (lambda a, b, c, d, *_: a * b + c * d)(*split(h, 1)),
    "whole products, larger": lambda h: (lambda a, b, c, d, *_: torch.maximum(a * b, c * d))(
        *split(h, 1)
    ),
    "three products": lambda h: (lambda a, b, c, d, e, f: a * b + c * d + e * f)(*split(h, 1)),
    "ratios": lambda h: (lambda a, b: a / b + b / a)(*halves(h)),
    "ratios, put end to end": lambda h: (lambda a, b: torch.cat([a / b, b / a], 1))(*halves(h)),
    "distances": lambda h: torch.cdist(h[:, :3, None], h[:, 3:, None]).sum((1, 2))[:, None],
    "bilinear": lambda h: F.bilinear(*halves(h), SYMMETRIC.to(h.dtype)),
    "cross product": lambda h: torch.linalg.cross(*halves(h)).abs(),
    "differences in a ring": lambda h: h - h.roll(1, 1),
    "differences that overlap": lambda h: (h[:, :4] - h[:, 2:]).abs(),
    "norms of products": lambda h: (lambda a, b: (a * b.norm(dim=1, keepdim=True)).norm(dim=1))(
        *halves(h)
    )[:, None],
    "products of single units": lambda h: torch.cat([product(split(h[:, :2], 1)), h[:, 2:]], 1),
}

# Parts that meet and cannot be exchanged: no line says that they might.
PLAIN = {
    "difference": lambda h: h[:, :3] - h[:, 3:],
    "gate": lambda h: F.glu(h),
    "quotient": lambda h: h[:, :3] / h[:, 3:],
    "unequal constants": lambda h: h[:, :3] * torch.arange(3) + h[:, 3:] * torch.arange(1, 4),
    "a skew form": lambda h: F.bilinear(*halves(h), SYMMETRIC.triu().to(h.dtype)),
    "attention": lambda h: attend(*split(h)),
}


def symmetries(function):
    """All orders of the units after which the function's columns are the same, in some order."""
    generator = torch.Generator().manual_seed(1)
    h = torch.randn(10, UNITS, generator=generator, dtype=torch.float64)
    inputs = h[:, ORDERS].permute(1, 0, 2)
    dtype = torch.get_default_dtype()
    try:
        torch.set_default_dtype(torch.float64)
        results = function(inputs.reshape(-1, UNITS)).view(len(ORDERS), 10, -1)
    finally:
        torch.set_default_dtype(dtype)
    weights = torch.randn(10, generator=generator, dtype=torch.float64)
    seen = torch.einsum("pno,n->po", results, weights).sort(1)[0]
    return {tuple(order.tolist()) for order in ORDERS[(seen - seen[0]).abs().amax(1) < 1e-9]}


def derived(function):
    """The spec of a network with the function between two layers, and what it does to the units."""
    torch.manual_seed(0)
    out = function(torch.randn(2, UNITS)).shape[1]
    model, (x,) = between(function, UNITS, out)
    spec = permutation_spec(model, x)
    axis = spec.axes["first.weight"][0]
    orders = {tuple(spec.index(spec.random(seed), axis).tolist()) for seed in range(20)}
    return spec, math.prod(math.factorial(spec.groups[g]) for g in axis_groups(axis)), orders


@pytest.mark.parametrize("case", a_third_quick(DERIVED))
def test_all_symmetry_of_parts_is_derived(case):
    spec, count, orders = derived(DERIVED[case])
    expected = symmetries(DERIVED[case])
    assert orders <= expected
    assert count == len(expected), str(spec)
    assert not spec.frozen


@pytest.mark.parametrize("case", a_third_quick(HELD))
def test_what_no_rule_exchanges_is_said(case):
    spec, count, orders = derived(HELD[case])
    expected = symmetries(HELD[case])
    assert orders <= expected
    assert count < len(expected)
    assert [line for line in spec.frozen if "aten." in line and " at node " in line]


@pytest.mark.parametrize("case", a_third_quick(PLAIN))
def test_parts_that_cannot_be_exchanged_leave_no_line(case):
    spec, count, orders = derived(PLAIN[case])
    expected = symmetries(PLAIN[case])
    assert orders <= expected
    assert count == len(expected), str(spec)
    assert not spec.frozen


def test_parts_that_layers_of_their_own_read_leave_no_line():
    """Exchanging the parts and the layers is a symmetry of no tensor's axes."""
    torch.manual_seed(0)
    two = {"one": nn.Linear(3, 2), "other": nn.Linear(3, 2)}
    model = Net(
        lambda m, x: m.one(m.first(x)[:, :3]) + m.other(m.first(x)[:, 3:]),
        first=nn.Linear(3, UNITS, bias=False),
        **two,
    )
    assert not permutation_spec(model, torch.randn(2, 3)).frozen


def test_parts_that_one_layer_reads_leave_a_line():
    torch.manual_seed(0)
    model = Net(
        lambda m, x: (lambda a, b: m.last(a) * m.last(b))(*halves(m.first(x))),
        first=nn.Linear(3, UNITS),
        last=nn.Linear(3, 2),
    )
    spec = permutation_spec(model, torch.randn(2, 3))
    assert [line for line in spec.frozen if line.startswith("aten.mul.Tensor at node mul ")]


def test_places_are_not_rounded_with_their_tensor():
    """Of 1000 units in bfloat16, which holds 256 whole numbers in a row."""

    def forward(m, x):
        a, b = m.first(x).bfloat16().float().split(500, 1)
        return m.last((a - b).abs())

    torch.manual_seed(0)
    model = Net(forward, first=nn.Linear(3, 1000), last=nn.Linear(500, 2))
    spec = permutation_spec(model, torch.randn(2, 3))
    assert [line for line in spec.frozen if line.startswith("aten.abs.default at node ")]
