"""Ascent of the overlap among mixtures of permutations, by the method of Frank and Wolfe."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from llfc.matching.blocks import Cluster, place
from llfc.matching.nested import best_partners
from llfc.matching.overlap import Index, Overlap

Mixtures = dict[Cluster, Tensor]

STEPS = 200  # the gap closes long before, on networks; a bound, not a setting
GAP = 1e-5  # of what a step may still gain, relative to the overlap


def relaxed(overlap: Overlap) -> tuple[Index, int]:
    """The permutation nearest to the best mixture that Frank-Wolfe finds, and its steps."""
    mixtures = even_mixtures(overlap)
    steps = 0
    while steps < STEPS:
        steps += 1
        slopes, value = overlap.gradient(mixtures)
        corner = _corner(overlap, slopes)
        rise = _product(slopes, corner) - _product(slopes, mixtures)
        if rise <= GAP * abs(value):
            break
        _, end = overlap.gradient(corner)
        # On the way from here to the corner the overlap is a parabola, as two groups meet in a
        # tensor: f(t) = value + rise t + bend t².
        bend = end - value - rise
        step = 1.0 if bend >= 0 else min(1.0, -rise / (2 * bend))
        mixtures = {c: torch.lerp(mixtures[c], corner[c], step) for c in mixtures}
        if step == 1.0 and bend <= 0 and rise + bend <= GAP * abs(value):
            break
    return nearest(overlap, mixtures), steps


def even_mixtures(overlap: Overlap) -> Mixtures:
    """As much of every unit at every place."""
    clusters = dict.fromkeys(c for g in overlap.soft_roots() for c in overlap.clusters(g))
    return {
        c: torch.full((n, n), 1 / n, dtype=overlap.dtype, device=overlap.device)
        for c in clusters
        for n in [_size(c)]
    }


def nearest(overlap: Overlap, mixtures: Mapping[Cluster, Tensor]) -> Index:
    """The permutation that is nearest to a mixture; groups that are not mixed stay in place."""
    index = dict(overlap.spec.identity())
    for group in overlap.soft_roots():
        index |= best_partners({c: mixtures[c] for c in overlap.clusters(group)})
    return index


def _corner(overlap: Overlap, slopes: Mapping[Cluster, Tensor]) -> Mixtures:
    index = nearest(overlap, slopes)
    return {
        cluster: torch.eye(_size(cluster), dtype=overlap.dtype, device=overlap.device)[
            place(cluster, index)
        ]
        for cluster in slopes
    }


def _product(slopes: Mapping[Cluster, Tensor], mixtures: Mapping[Cluster, Tensor]) -> float:
    return sum(float((slopes[c] * mixtures[c]).sum(dtype=torch.float64)) for c in slopes)


def _size(cluster: Cluster) -> int:
    return math.prod(factor.size for factor in cluster)
