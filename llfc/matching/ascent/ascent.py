"""Coordinate ascent on the overlap: one group of units after the other, until none improves."""

from collections.abc import Iterable, Iterator, Mapping

import torch
from torch import Generator, Tensor

from llfc.matching.ascent.swaps import best_swap
from llfc.matching.overlap.nested import SCORE_TOLERANCE, best_partners, improved_partners
from llfc.matching.overlap.overlap import Index, Overlap
from llfc.symmetry.spec.blocks import Cluster

PASSES = 1000  # a bound that no network came near; real gains end, those of rounding might not
OVERLAP_TIE = (
    1e-6  # relative; a network matched with itself must not be moved for the sake of rounding
)


def ascend(
    overlap: Overlap,
    start: Mapping[str, Tensor],
    generator: Generator,
    *,
    waiting: Iterable[str] | None = None,
    most: int | None = None,
) -> tuple[Index, int]:
    """The permutation that no single group can improve, from `start` up, and the visits it took.

    A visit is one linear assignment. A group is visited again only after one of its neighbours has
    moved.

    Args:
        overlap: what is climbed; what it keeps of one ascent speeds up the next.
        start: the index vector of each group.
        generator: of the order of the groups.
        waiting: the groups to visit first; None for all.
        most: visits after which the ascent ends wherever it is.
    """
    index = dict(start)
    places = overlap.places(index)
    queue = set(overlap.roots if waiting is None else waiting)
    most = PASSES * len(overlap.roots) if most is None else most
    visits = 0
    while queue:
        for position in torch.randperm(len(overlap.roots), generator=generator).tolist():
            group = overlap.roots[position]
            if group not in queue:
                continue
            if visits == most:
                return index, visits
            queue.discard(group)
            visits += 1
            if _improve(overlap, group, index, places):
                queue |= overlap.neighbours(group)
    return index, visits


def _improve(overlap: Overlap, group: str, index: Index, places: dict[Cluster, Tensor]) -> bool:
    """Move `group` to its best partners, all others fixed; False if it stands there already."""
    scores = overlap.scores(group, places)
    if not overlap.bends(group):
        found = improved_partners(scores, index)
        if found is not None:
            _move(overlap, group, found, index, places)
        return found is not None
    before = overlap.value_at(group, places)
    for found in _proposals(overlap, group, scores, places):
        after = overlap.value_at(group, places | overlap.places(index | found, only=group))
        if after - before > SCORE_TOLERANCE[overlap.dtype] * (abs(before) + abs(after)):
            _move(overlap, group, found, index, places)
            return True
    return False


def _proposals(
    overlap: Overlap,
    group: str,
    scores: Mapping[Cluster, Tensor],
    places: Mapping[Cluster, Tensor],
) -> Iterator[Index]:
    """What may be better for a group in which the overlap is not linear."""
    yield best_partners(scores, overlap.pairs(group, places))
    squares = overlap.squares(group)
    if squares and len(scores) == 1:
        ((cluster, score),) = scores.items()
        yield {group: best_swap(squares, cluster, score, places[cluster]).cpu()}


def _move(
    overlap: Overlap, group: str, found: Index, index: Index, places: dict[Cluster, Tensor]
) -> None:
    index |= found
    places |= overlap.places(index, only=group)


def better(overlap: Overlap, first: Index, second: Index) -> Index:
    """The permutation of larger overlap; of two that tie, the first."""
    before, after = overlap.value(first), overlap.value(second)
    return second if after > before + OVERLAP_TIE * abs(before) else first
