"""Units that meet a constant of the graph: those of one kind change places, and no others."""

import itertools

import pytest
import torch
from torch import nn

from llfc.symmetry import permutation_spec
from llfc.symmetry.spec.selfcheck import relative_gap
from tests.helpers.wired_networks import Net, assert_groups, between, lin

KINDS = torch.tensor([0, 1, 1, 0, 2, 0])


def written_to(h):
    scale = torch.ones(6)
    pairs = scale.view(2, 3)
    pairs[:, 1:] += 1.0  # through a view
    scale[5] = 1.0
    return h * scale


# name -> what stands between the layers, and the kind of each unit
OPERATORS = {
    "product": (lambda h: h * KINDS, KINDS),
    "choice": (lambda h: torch.where(KINDS > 0, h, -h), KINDS > 0),
    "mask": (lambda h: h.masked_fill(KINDS == 1, 0.5), KINDS == 1),
    "computed": (lambda h: h + torch.arange(6) % 2, torch.arange(6) % 2),
    "computed in the shape of units": (
        lambda h: h * (torch.ones_like(h).cumsum(1) // 3),
        torch.arange(1, 7) // 3,
    ),
    "split and joined": (
        lambda h: h * torch.cat(torch.arange(6).split(3)[::-1]).clamp(max=2),
        torch.tensor([2, 2, 2, 0, 1, 2]),
    ),
    "also along the batch": (lambda h: h * (KINDS + torch.arange(2)[:, None]), KINDS),
    "written to": (written_to, torch.tensor([0, 1, 1, 0, 1, 0])),
    "complex": (lambda h: (h * torch.polar(torch.ones(6), KINDS * 1.0)).real, KINDS),
    "all apart": (lambda h: h * torch.arange(6), torch.arange(6)),
    "all alike": (lambda h: h * torch.full((6,), 2.0), torch.zeros(6)),
}


@pytest.mark.parametrize("operator", OPERATORS)
def test_units_of_one_kind_change_places_and_no_others(operator):
    function, kinds = OPERATORS[operator]
    torch.manual_seed(0)
    model, (x,) = between(function, 6)
    spec = permutation_spec(model, x)
    sizes = [n for n in torch.bincount(kinds.long()).tolist() if n > 1]
    assert sorted(spec.groups.values()) == sorted(sizes)
    assert not spec.frozen

    first, last = (layer.double() for layer in (model.first, model.last))

    def outputs(order):
        return last(function(first(x.double())[:, order])[:, order.argsort()])

    for i, j in itertools.combinations(range(6), 2):
        order = torch.arange(6)
        order[[i, j]] = order[[j, i]]
        gap = relative_gap([outputs(torch.arange(6))], [outputs(order)])
        assert (gap < 1e-10) == bool(kinds[i] == kinds[j])


PAIRS = torch.block_diag(*[torch.ones(2, 2)] * 3)

# name -> (model, inputs, the sizes of its groups)
CASES = {
    "places of a sort": lambda: (
        *between(lambda h: h.gather(1, torch.tensor([3, 1, 0, 2]).argsort().expand(2, -1)), 4),
        [4],
    ),
    "places of a sort, selected": lambda: (
        *between(lambda h: h.index_select(1, torch.tensor([3, 1, 0, 2]).argsort()), 4),
        [4],
    ),
    # Rows and columns change places together.
    "a product that is even": lambda: (*between(lambda h: h @ (torch.eye(5) + 1)), [5]),
    "a product that turns round": lambda: (*between(lambda h: h @ torch.eye(5).roll(1, 0)), [5]),
    # The blocks, and in each of them the units that enter it and those that leave it.
    "a product in blocks": lambda: (
        Net(
            lambda m, x: m.last((m.first(x) @ PAIRS + m.bias).relu()),
            first=lin(3, 6),
            bias=nn.Parameter(torch.randn(6)),
            last=lin(6, 2),
        ),
        [torch.randn(2, 3)],
        [3, 2, 2, 2, 2, 2, 2],
    ),
    "a masked weight": lambda: (
        Net(
            lambda m, x: m.last((m.first(x) @ (m.weight * PAIRS)).relu()),
            first=lin(3, 6),
            weight=nn.Parameter(torch.randn(6, 6)),
            last=lin(6, 2),
        ),
        [torch.randn(2, 3)],
        [3, 2, 2, 2, 2, 2, 2],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_groups_are_those_counted_by_hand(case):
    torch.manual_seed(0)
    assert_groups(*CASES[case]())
