"""The best partners for the units of a group and, at once, for all units nested in them.

Heads that have units inside are the usual case. Head h of A gains from head k of B what their units
gain at their best; so the inner assignments of all pairs of heads are solved first, and their
values are the scores of the heads. Where units of several kinds meet inside a head (the inputs and
outputs of a grouped convolution), the kinds take turns until none gains.
"""

import string
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from llfc.matching.overlap.assignment import best_assignment, total_score
from llfc.symmetry.spec.blocks import Cluster, place, root

# Rounding of the scores, relative to what is summed, is not progress. A tie must not count either,
# or two equal assignments would alternate for ever and equal networks would not stay in place. Ten
# times as much loses real gains: 2e-4 of the overlap of two VGG-16.
SCORE_TOLERANCE = {torch.float32: 1e-7, torch.float64: 1e-12}

# Starts for the kinds of unit inside a pair of units, where the kinds meet and optima are local.
SHIFTS = 4

PairScores = Callable[[int, int], Tensor]
_Names = tuple[str, ...]  # the groups of one nested factor, one for each unit of the root


def improved_partners(
    scores: Mapping[Cluster, Tensor], index: Mapping[str, Tensor]
) -> dict[str, Tensor] | None:
    """New indices for a group and those nested in it, or None where none is better.

    Args:
        scores: for each cluster of one root, the score of each pair of units, [H, H].
        index: the index vector of each group now.
    """
    found = best_partners(scores)
    gain = scale = 0.0
    for cluster, score in scores.items():
        before = total_score(score, place(cluster, index))
        after = total_score(score, place(cluster, found))
        gain += after - before
        scale += SCORE_TOLERANCE[score.dtype] * (abs(before) + abs(after))
    return found if gain > scale else None


def best_partners(
    scores: Mapping[Cluster, Tensor], pairs: Sequence[tuple[Cluster, PairScores]] = ()
) -> dict[str, Tensor]:
    """The indices of a group and those nested in it at which the summed scores are largest.

    Args:
        scores: for each cluster of one root, the score of each pair of units, [H, H].
        pairs: further clusters, and what is in unit i of A with what is in unit j of B.
    """
    first = next(iter(scores), None) or pairs[0][0]
    if not pairs and len(scores) == 1 and len(first) == 1:
        return {root(first): best_assignment(scores[first])}
    size = first[0].size
    total = torch.zeros(size, size, dtype=torch.float64)
    inner = [(cluster, pair) for cluster, pair in pairs]
    for cluster, score in scores.items():
        if len(cluster) == 1:
            total += score.to("cpu", torch.float64)
        else:
            inner.append((cluster, _blocks_of(score.cpu(), size)))
    partners: dict[tuple[int, int], dict[_Names, Tensor]] = {}
    if inner:
        for unit in range(size):
            for other in range(size):
                parts = [_Inside(cluster, pair(unit, other)) for cluster, pair in inner]
                partners[unit, other], value = _inside(parts)
                total[unit, other] += value
    heads = best_assignment(total)
    found = {root(first): heads}
    for unit, other in enumerate(heads.tolist()) if inner else ():
        for names, units in partners[unit, other].items():
            found[names[unit]] = units
    return found


def _blocks_of(score: Tensor, size: int) -> PairScores:
    inside = len(score) // size
    pairs = score.reshape(size, inside, size, inside)
    return lambda unit, other: pairs[unit, :, other]


@dataclass(frozen=True, eq=False)
class _Inside:
    """The scores of what is in a unit of A with what is in a unit of B, [inside A, inside B]."""

    cluster: Cluster
    score: Tensor

    def given(self, dim: int, partners: Mapping[_Names, Tensor]) -> Tensor:
        """The scores on the nested factor `dim`, all other factors at their partners."""
        factors = self.cluster[1:]
        if len(factors) == 1:
            return self.score
        sizes = [factor.size for factor in factors]
        score = self.score.reshape(sizes + sizes)
        rows = list(string.ascii_lowercase[: len(sizes)])
        columns = rows.copy()
        columns[dim] = rows[dim].upper()
        for other, factor in enumerate(factors):
            if other != dim:
                score = score.index_select(len(sizes) + other, partners[factor.groups])
        sums = f"{''.join(rows)}{''.join(columns)}->{rows[dim]}{columns[dim]}"
        return torch.einsum(sums, score)

    def value(self, partners: Mapping[_Names, Tensor]) -> float:
        """The sum of the scores at the partners."""
        return total_score(self.given(0, partners), partners[self.cluster[1].groups])


def _inside(parts: Sequence[_Inside]) -> tuple[dict[_Names, Tensor], float]:
    """The partners of all that is inside a pair of units, and their total score."""
    sizes = {factor.groups: factor.size for part in parts for factor in part.cluster[1:]}
    least = min(sizes, key=lambda names: sizes[names])
    alone = all(len(part.cluster) == 2 for part in parts)  # no kind meets another
    best: tuple[dict[_Names, Tensor], float] = {}, -torch.inf
    for shift in range(1 if alone else min(sizes[least], SHIFTS)):
        partners = {names: torch.arange(size) for names, size in sizes.items()}
        partners[least] = partners[least].roll(shift)
        found = _taking_turns(parts, partners, last=least)
        best = max(best, found, key=lambda choice: choice[1])
    return best


def _taking_turns(
    parts: Sequence[_Inside], partners: dict[_Names, Tensor], *, last: _Names
) -> tuple[dict[_Names, Tensor], float]:
    """Better partners for one kind after the other, until none gains; and their total score."""
    alone = all(len(part.cluster) == 2 for part in parts)  # then one turn is enough
    order = sorted(partners, key=lambda names: names == last)
    value = -torch.inf
    while True:
        for names in order:
            meeting = [
                part.given(dim, partners)
                for part in parts
                for dim, factor in enumerate(part.cluster[1:])
                if factor.groups == names
            ]
            partners[names] = best_assignment(torch.stack(meeting).sum(0))
        before, value = value, sum(part.value(partners) for part in parts)
        if alone or value - before <= 1e-6 * abs(value):
            return partners, value
