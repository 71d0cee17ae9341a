"""The best partners for the units of a group and, at once, for all units nested in them.

Heads that have units inside are the usual case. Head h of A gains from head k of B what their units
gain at their best; so the inner assignments of all pairs of heads are solved first, and their
values are the scores of the heads.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from llfc.matching.assignment import best_assignment, total_score
from llfc.matching.overlap import Cluster, place, root

# Rounding of the scores, relative to what is summed, is not progress. A tie must not count either,
# or two equal assignments would alternate for ever and equal networks would not stay in place.
TOLERANCE = {torch.float32: 1e-6, torch.float64: 1e-12}


def improved_partners(
    scores: Mapping[Cluster, Tensor], places: Mapping[Cluster, Tensor]
) -> dict[str, Tensor] | None:
    """New indices for a group and those nested in it, or None where none is better.

    Args:
        scores: for each cluster of one root, the score of each pair of units, [H, H].
        places: for each cluster, which unit of B stands at each place now.
    """
    found = best_partners(scores)
    gain = scale = 0.0
    for cluster, score in scores.items():
        before = total_score(score, places[cluster])
        after = total_score(score, place(cluster, found))
        gain += after - before
        scale += TOLERANCE[score.dtype] * (abs(before) + abs(after))
    return found if gain > scale else None


def best_partners(scores: Mapping[Cluster, Tensor]) -> dict[str, Tensor]:
    """The indices of a group and those nested in it at which the summed scores are largest.

    Args:
        scores: for each cluster of one root, the score of each pair of units, [H, H].
    """
    group, size = root(next(iter(scores))), next(iter(scores))[0].size
    total = torch.zeros(size, size, dtype=torch.float64)
    inner: dict[Cluster, Tensor] = {}
    for cluster, score in scores.items():
        if len(cluster) == 1:
            total += score.to("cpu", torch.float64)
        else:
            inner[cluster], values = _inner_partners(score.cpu(), size)
            total += values
    found = {group: best_assignment(total)}
    for cluster, partners in inner.items():
        for head, name in enumerate(cluster[1].groups):
            found[name] = partners[head, found[group][head]]
    return found


def _inner_partners(score: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """The best partners inside each pair of heads, [N, N, D], and their scores, [N, N]."""
    inside = len(score) // size
    pairs = score.reshape(size, inside, size, inside).transpose(1, 2)
    partners = torch.empty(size, size, inside, dtype=torch.int64)
    values = torch.empty(size, size, dtype=torch.float64)
    for head in range(size):
        for other in range(size):
            partners[head, other] = best_assignment(pairs[head, other])
            values[head, other] = total_score(pairs[head, other], partners[head, other])
    return partners, values
