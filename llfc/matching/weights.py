"""Weight matching: an iterated local search for the largest overlap."""

import math
from collections.abc import Iterable

from torch import nn

from llfc.matching.ascent.search import EFFORT, best_within
from llfc.matching.overlap.overlap import Overlap
from llfc.modules.inputs import Inputs
from llfc.seeds import stream
from llfc.symmetry.spec import Permutation, PermutationSpec


def match_weights(
    a: nn.Module,
    b: nn.Module,
    spec: PermutationSpec,
    batches: Iterable[Inputs] | None,
    *,
    seed: int,
    effort: float = EFFORT,
) -> Permutation:
    r"""The permutation of b that maximises the overlap of its parameters with a's.

    .. math:: \max_P \sum_l \langle W_A^l, P(W_B)^l \rangle

    An iterated local search with the objective of Git Re-Basin, whose answer it can only improve:
    the first step is Git Re-Basin's coordinate ascent, one linear assignment per group, until no
    group improves (`effort=1` stops there). That has many local optima, so further ascents follow
    within a budget of work: the second from the solution of Frank-Wolfe's relaxation, the others
    from the best permutation so far with some units permuted at random. Parameters only: norm
    statistics are permuted, but not matched on. `iterations` in the record is the total work, in
    visits of a group.

    Costs, for each visit of a group of H units, one linear assignment, in the worst case of the
    order of H³, and the products of the tensors that hold them; all visits together are `effort`
    (by default 12) times those of the first ascent. Use it first: it needs no data.

    Args:
        a: the network that stays as it is.
        b: the network whose units are permuted; neither model is modified.
        spec: the symmetry of both.
        batches: not used.
        seed: seed of the order of groups and of the perturbations.
        effort: the budget, in multiples of the first ascent's work; 1 for that ascent alone, as in
            Git Re-Basin.

    Raises:
        ValueError: if `effort` is below 1, the models differ in architecture, or one holds a number
            that is not finite.

    Reference:
        Ainsworth, Hayase & Srinivasa, Git Re-Basin: Merging Models modulo Permutation Symmetries,
        ICLR 2023, for the objective and the ascent. https://arxiv.org/abs/2209.04836
        Crisostomi, Fumero, Baieri, Bernard & Rodolà, C2M3: Cycle-Consistent Multi-Model Merging,
        NeurIPS 2024, for the relaxation. https://arxiv.org/abs/2405.17897
        Lourenço, Martin & Stützle, Iterated Local Search, Handbook of Metaheuristics, 2003.
        https://arxiv.org/abs/math/0102188
    """
    del batches
    if not (effort >= 1 and math.isfinite(effort)):
        raise ValueError(f"effort must be a number >= 1, got {effort}")
    overlap = Overlap.of(a, b, spec)
    best, work = best_within(overlap, stream(seed, "matching/weights"), effort)
    return Permutation(best, {"iterations": work})
