"""Ascent of the overlap among mixtures of permutations, by the method of Frank and Wolfe."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from llfc.matching.overlap.assignment import total_score
from llfc.matching.overlap.nested import best_partners
from llfc.matching.overlap.overlap import Index, Overlap
from llfc.matching.overlap.terms import inner_product
from llfc.symmetry.spec.blocks import Cluster

Mixtures = dict[Cluster, Tensor]

MOST_STEPS = 200  # the gap closes long before, on networks; a bound, not a setting
GAP = 1e-5  # of what a step may still gain, relative to the overlap


def relaxed(overlap: Overlap, most: int = MOST_STEPS) -> tuple[Index, int]:
    """The permutation nearest to the best mixture that Frank-Wolfe finds, and its steps.

    The ascent starts at the even mixture of all permutations and takes at most `most` steps.
    Where at most two groups meet in a tensor, slopes are linear in the mixtures. So those at a
    step's end lie between those at its start and at its corner, and the corner is a permutation,
    whose scores need no product with a mixture.
    """
    mixtures = even_mixtures(overlap)
    slopes, value = overlap.gradient(mixtures, even=True)
    slopes = {c: slope.clone() for c, slope in slopes.items()}  # as they move, not the scores
    steps = 0
    while steps < most:
        steps += 1
        corner = nearest(overlap, slopes)
        places = overlap.places(corner)
        rise = sum(_rise(slopes[c], mixtures[c], places[c]) for c in slopes)
        if rise <= GAP * abs(value):
            break
        # On the way from here to the corner the overlap is a parabola, as two groups meet in a
        # tensor: f(t) = value + rise t + bend t².
        bend = overlap.value_of_scores(places) - value - rise
        step = 1.0 if bend >= 0 else min(1.0, -rise / (2 * bend))
        for cluster, mixture in mixtures.items():
            mixture *= 1 - step
            mixture[torch.arange(len(mixture), device=overlap.device), places[cluster]] += step
        if step == 1.0 and bend <= 0 and rise + bend <= GAP * abs(value):
            break
        if overlap.bilinear:
            value += step * (rise + step * bend)
            for group in overlap.soft_roots():
                for cluster, score in overlap.scores(group, places).items():
                    slopes[cluster].lerp_(score, step)
        else:
            slopes, value = overlap.gradient(mixtures)
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


def _rise(slope: Tensor, mixture: Tensor, place: Tensor) -> float:
    """What the linearised overlap gains on the way from a mixture to a permutation."""
    return total_score(slope, place) - inner_product(slope, mixture)


def _size(cluster: Cluster) -> int:
    return math.prod(factor.size for factor in cluster)
