"""Frank-Wolfe matching: ascent among mixtures of permutations, all groups at once."""

import math
import time
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from llfc.matching.blocks import Cluster, place
from llfc.matching.nested import best_partners
from llfc.matching.overlap import Index, Overlap
from llfc.matching.permutation import Permutation, PermutationSpec
from llfc.matching.record import with_record
from llfc.matching.taps import Inputs
from llfc.matching.weights import ascend, better
from llfc.seeds import stream

Mixtures = dict[Cluster, Tensor]

STEPS = 200  # the gap closes long before, on networks; a bound, not a setting
GAP = 1e-5  # of what a step may still gain, relative to the overlap


def match_frank_wolfe(
    a: nn.Module,
    b: nn.Module,
    spec: PermutationSpec,
    batches: Iterable[Inputs] | None,
    *,
    seed: int,
) -> Permutation:
    r"""The permutation of b that maximises the overlap of its parameters with a's, from a mixture.

    The ascent starts at the even mixture of all permutations. Each step solves the linearised
    problem, one assignment a group, for all groups at once, and goes towards its solution as far as
    the overlap rises. The mixture at the end is rounded to its nearest permutation, from which
    coordinate ascent climbs to the top of the hill; the better of that and of coordinate ascent
    from the identity is returned. `iterations` in the record counts steps and passes.

    Raises:
        ValueError: if the models differ in architecture or hold a number that is not finite.

    Reference:
        Crisostomi, Fumero, Baieri, Bernard & Rodolà, C2M3: Cycle-Consistent Multi-Model Merging,
        NeurIPS 2024. https://arxiv.org/abs/2405.17897
    """
    del batches
    began = time.perf_counter()
    overlap = Overlap.of(a, b, spec)
    generator = stream(seed, "matching/frank-wolfe")
    start, passes = ascend(overlap, dict(spec.identity()), generator)
    rounded, steps = relaxed(overlap)
    found, more = ascend(overlap, rounded, generator)
    best = better(overlap, start, found)
    return with_record(overlap, best, began=began, iterations=steps + passes + more)


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
    clusters = {c for group in overlap.soft_roots() for c in overlap.clusters(group)}
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
