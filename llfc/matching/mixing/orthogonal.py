"""Matching of weights by maps of every kind: `orthogonal`."""

from collections.abc import Iterable

from torch import nn

from llfc.matching.ascent.ascent import ascend
from llfc.matching.mixing.descent import SWEEPS, Descent
from llfc.matching.mixing.elements import MIXED
from llfc.matching.overlap.overlap import Overlap
from llfc.matching.overlap.parameters import finite_parameters
from llfc.modules.inputs import Inputs
from llfc.seeds import stream
from llfc.symmetry.spec import PermutationSpec
from llfc.symmetry.transform import Transform

VISITS = 2  # of each group, on the way to the permutation that is a start


def match_orthogonal(
    a: nn.Module,
    b: nn.Module,
    spec: PermutationSpec,
    batches: Iterable[Inputs] | None,
    *,
    seed: int,
    sweeps: int = SWEEPS,
) -> Transform:
    r"""The map of b, each group's of its whole kind, that brings its parameters closest to a's.

    .. math:: \min_T \sum_l |W_A^l - T(W_B)^l|^2

    Coordinate descent: one group after the other is moved to its best map, all others fixed.
    Rotations by orthogonal Procrustes, permutations by an assignment, signed ones by one on the
    absolute products, scaled ones by one on each pair's distance at its best scale, invertible maps
    by the Sylvester equation of their least squares, then steps of Gauss and Newton. Heads are
    paired by their circuits (query times key, output times value), which the maps inside them do
    not change. Data-free.

    Of these starts the best is taken: the identity; where no group mixes its units, a permutation
    that weight matching finds in a few visits; and what is found by visiting each group once, from
    the inputs and embeddings on, seen through what is already in place alone, and then once more.
    Where all groups are permutations this is `weights` with less effort.

    `objective` in the record is minus the squared distance, which is bounded for kinds under which
    the overlap is not; `iterations` is the number of visits of a group. Asks for `spec.kinds`.

    Costs, for each visit of a group of H units, a singular value decomposition or an assignment, of
    the order of H³, and the products of the tensors that hold it. Use it without data, where the
    kinds allow more than permutations, as in a transformer in canonical form.

    Args:
        a: the network that stays as it is.
        b: the network whose units are permuted and mixed; neither model is modified.
        spec: the symmetry of both.
        batches: not used.
        seed: seed of the order of visits on the way to the permutation.
        sweeps: the most visits of a group; it ends before if all groups together gain less than
            1e-4 of the distance in a sweep.

    Raises:
        ValueError: if `sweeps` is below 1, the spec does not know its model, the models differ in
            architecture, or one holds a number that is not finite.

    Reference:
        Theus, Cabodi, Anagnostidis, Orvieto, Singh & Boeva, Generalized Linear Mode Connectivity
        for Transformers, NeurIPS 2025, for rotations of a residual stream and heads paired by their
        circuits. https://arxiv.org/abs/2506.22712
        Schönemann, A generalized solution of the orthogonal Procrustes problem, Psychometrika 31,
        1966.
    """
    del batches
    if sweeps < 1:
        raise ValueError(f"sweeps must be a number >= 1, got {sweeps}")
    of_a, of_b = finite_parameters(a, "a"), finite_parameters(b, "b")
    overlap = Overlap.of(a, b, spec)
    # Where units are mixed, permutations were never the best start of all pairs that were tried.
    start = Transform.identity(spec) if MIXED & {*spec.kinds.values()} else _permuted(overlap, seed)
    dtype = overlap.dtype
    del overlap  # whose copies of both networks take memory
    descent = Descent(of_a, {name: of_b[name] for name in of_a}, spec, dtype)
    before = descent.value()
    after = descended(descent, start, sweeps)
    found = descent.found() if after < before else Transform.identity(spec)
    record = {
        "iterations": descent.visits,
        "objective_before": -before,
        "objective": -min(before, after),
    }
    return Transform(spec, found, record)


def _permuted(overlap: Overlap, seed: int) -> Transform:
    """A permutation that a few visits of weight matching find."""
    generator = stream(seed, "matching/orthogonal")
    identity = dict(overlap.spec.identity())
    index, _ = ascend(overlap, identity, generator, most=VISITS * len(overlap.roots))
    return Transform.of_permutation(overlap.spec, index)


def descended(descent: Descent, start: Transform, sweeps: int = SWEEPS) -> float:
    """The squared distance at the end of the descent from the best of three starts.

    Args:
        descent: B where it is left in place; the first of the starts.
        start: the second; the third is what `Descent.anchor` finds.
        sweeps: the most visits of each group.
    """
    least = descent.value()
    if not least:
        return least
    identity = Transform.identity(descent.spec)
    if start != identity:
        descent.start(start)
        value = descent.value()
        start = start if value < least else identity
        least = min(value, least)
        descent.start(identity)
    descent.anchor()
    if not descent.descend(1) < least:
        descent.start(start)
    return descent.descend(sweeps)
