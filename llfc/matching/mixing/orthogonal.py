"""Matching of weights by maps of every kind: `orthogonal`."""

from collections.abc import Iterable

import torch
from torch import nn

from llfc.matching.ascent.ascent import ascend
from llfc.matching.mixing.descent import SWEEPS, Descent
from llfc.matching.overlap.overlap import Overlap
from llfc.matching.overlap.parameters import finite_parameters
from llfc.modules.inputs import Inputs
from llfc.seeds import stream
from llfc.symmetry.spec import PermutationSpec
from llfc.symmetry.transform import Transform

VISITS = 2  # of each group, on the way to the permutation that is a start
UNDONE = 1e-12  # of the squared norms: B differs from A by a map alone


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
    by the Sylvester equation of their least squares and L-BFGS. Heads are paired by their circuits
    (query times key, output times value), which the maps inside them do not change. Data-free.

    Two descents are begun: one from the better of the identity and a permutation that weight
    matching finds in a few visits; one that visits each group once, from the inputs and embeddings
    on, and sees it through what is already in place alone. The one that is ahead after a sweep is
    finished. Where all groups are permutations this is `weights` with less effort.

    `objective` in the record is minus the squared distance, which is bounded for kinds under which
    the overlap is not; `iterations` is the number of visits of a group. Asks for `spec.kinds`.

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
    start, dtype = _permuted(Overlap.of(a, b, spec), seed)
    descent = Descent(of_a, {name: of_b[name] for name in of_a}, spec, dtype)
    found = _best(descent, start, sweeps)
    before = descent.value_at(Transform.identity(spec))
    after = descent.value_at(found)
    if not after < before:
        found, after = Transform.identity(spec), before
    record = {"iterations": descent.visits, "objective_before": -before, "objective": -after}
    return Transform(spec, found, record)


def _permuted(overlap: Overlap, seed: int) -> tuple[Transform, torch.dtype]:
    """A permutation that a few visits of weight matching find, and in which type to compute."""
    generator = stream(seed, "matching/orthogonal")
    identity = dict(overlap.spec.identity())
    index, _ = ascend(overlap, identity, generator, most=VISITS * len(overlap.roots))
    return Transform.of_permutation(overlap.spec, index), overlap.dtype


def _best(descent: Descent, start: Transform, sweeps: int) -> Transform:
    """The transform at which the better of both descents ends."""
    identity = Transform.identity(descent.spec)
    before = descent.value()
    if not before:
        return identity
    descent.anchor()
    value, found = descent.descend(1), descent.found()
    if value <= UNDONE * descent.squares():
        return found
    descent.start(start)
    if not descent.value() < before:
        descent.start(identity)
    if not descent.descend(1) < value:
        descent.start(found)
    descent.descend(sweeps - 1)
    return descent.found()
