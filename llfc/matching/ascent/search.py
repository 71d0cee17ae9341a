"""Search for the permutation of largest overlap, within a budget of work."""

import math
from collections.abc import Collection, Mapping, Sequence

import torch
from torch import Generator, Tensor

from llfc.matching.ascent.ascent import OVERLAP_TIE, ascend
from llfc.matching.ascent.relaxation import MOST_STEPS, relaxed
from llfc.matching.overlap.overlap import Index, Overlap

# The work of a dozen ascents is a fraction of a network's training. Measured on networks trained
# and not: the first ascent gains most, the relaxation next, then the perturbations, without an end
# in view.
EFFORT = 12.0
PERTURBED = 0.05, 0.3  # the least and the largest share of a group's units that are moved


def best_within(
    overlap: Overlap, generator: Generator, effort: float = EFFORT
) -> tuple[Index, int]:
    """The best permutation found with `effort` times the work of one ascent, and the work.

    The first ascent is from the identity. The second, if there is work for it, is from where
    Frank-Wolfe's relaxation stands after as many steps as leave one ascent's work; all others are
    from the best so far with some units of one group moved out of place, its neighbours first. A
    last ascent that exceeds the budget is cut short. Work is counted in visits of a group, each a
    linear assignment; a step of the relaxation has one for every group.

    Args:
        overlap: of the two networks.
        generator: of the order of visits and of the perturbations.
        effort: the budget, in multiples of the first ascent's visits, at least 1.
    """
    best, first = ascend(overlap, dict(overlap.spec.identity()), generator)
    joined = [group for group in overlap.roots if overlap.neighbours(group)]
    if not joined:  # then the first local optimum is the global one
        return best, first
    value, budget, work = overlap.value(best), math.floor(effort * first), first
    steps = min(MOST_STEPS, (budget - 2 * first) // len(overlap.roots))
    while work < budget:
        if steps > 0:
            start, taken = relaxed(overlap, steps)
            waiting: Collection[str] = overlap.roots
            work, steps = work + taken * len(overlap.roots), 0
        else:
            start, waiting = perturbed(overlap, best, joined, generator)
        found, visits = ascend(overlap, start, generator, waiting=waiting, most=budget - work)
        work += visits
        reached = overlap.value(found)
        if reached > value + OVERLAP_TIE * abs(value):
            best, value = found, reached
    return best, work


def perturbed(
    overlap: Overlap, index: Mapping[str, Tensor], groups: Sequence[str], generator: Generator
) -> tuple[Index, Collection[str]]:
    """The permutation with some units of one of `groups` moved round, and that group's neighbours.

    The neighbours have to move first: the group itself would only go back to where it was.
    """
    group = groups[int(torch.randint(len(groups), (), generator=generator))]
    least, largest = PERTURBED
    share = least + (largest - least) * float(torch.rand((), generator=generator))
    units = index[group].clone()
    picked = torch.randperm(len(units), generator=generator)[: math.ceil(share * len(units)) + 1]
    units[picked] = units[picked.roll(1)]
    return {**index, group: units}, overlap.neighbours(group)
