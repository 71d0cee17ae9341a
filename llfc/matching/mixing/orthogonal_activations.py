"""Matching of features by maps of every kind: `orthogonal-activations`."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain, islice

import torch
from torch import nn

from llfc.matching.mixing.elements import (
    Best,
    best_orthogonal,
    best_permutation,
    best_signed,
)
from llfc.matching.mixing.features import Read, powers_of_taps, read_moments
from llfc.matching.mixing.heads import inside, partners
from llfc.matching.mixing.invertible import best_shrunk
from llfc.matching.mixing.products import Products, crossed
from llfc.matching.overlap.assignment import total_score
from llfc.matching.taps import batch_definitions, taps, unread_groups
from llfc.modules.inputs import Inputs
from llfc.symmetry.spec import PermutationSpec
from llfc.symmetry.spec.blocks import Cluster, root
from llfc.symmetry.transform import Element, Transform

TIE = 1e-9  # of the squared distance, and of squares that are 1; rounding moves nothing
DEEP = "units of several kinds lie inside one another, which this matcher does not tell apart"


def best_correlated(found: Products) -> Best:
    """The assignment by correlations, and the ratios of standard deviations as scales."""
    element, gain = best_permutation(found)
    (product,) = found.values()
    a, b = product.squares()
    assert element.index is not None
    b = b[element.index]
    known = (a > 0) & (b > 0)
    ratio = torch.where(known, a / torch.where(known, b, 1.0), 1.0).sqrt()
    return Element(element.index, ratio), gain


BEST: Mapping[str, Callable[[Products], Best]] = {
    "permutation": best_permutation,
    "signed": best_signed,
    "scaled": best_correlated,
    "orthogonal": best_orthogonal,
    "invertible": best_shrunk,
}


def match_orthogonal_activations(
    a: nn.Module,
    b: nn.Module,
    spec: PermutationSpec,
    batches: Iterable[Inputs] | None,
    *,
    seed: int,
) -> Transform:
    r"""The map of b, each group's of its whole kind, that brings its features closest to a's.

    Each group is matched by itself, where its units are read last (as in `match_activations`):

    - orthogonal: orthogonal Procrustes on the products of features, not centred, summed over all
      values of the network that carry the units, each as a share of the norms there: a residual
      stream is read at every depth;
    - permutation: the assignment of largest correlations; signed: of the largest absolute ones;
      scaled: of the largest, and the ratio of the standard deviations as scale;
    - invertible: least squares of what the map and its inverse transpose do to the features that
      are read, as queries and keys; where only one of the two is read, as values, of that alone.
      As far as they leave features unexplained, a ridge draws them to the best rotation.

    Heads are paired by what their insides have in common at their best, for queries and keys by the
    products of all queries with all keys, which are in no basis.

    `objective` in the record is minus the summed squared distance: of features of variance 1 in
    both networks where units are not mixed, otherwise relative to A's square; `iterations` is the
    number of batches. Asks for `spec.kinds`, and runs B once more to learn which power of an
    invertible map is read where.

    Costs three forward passes at most over the batches, and for each group of H units a
    decomposition or an assignment of the order of H³. Use it with data, for the same networks as
    `orthogonal`, next to it.

    Args:
        a: the network that stays as it is.
        b: the network whose units are permuted and mixed; neither model is modified.
        spec: the symmetry of both.
        batches: inputs that the models accept, each a tensor or a tuple of tensors.
        seed: not used; nothing here is random.

    Raises:
        ValueError: if there are no batches, or the models differ in architecture.

    Reference:
        Theus, Cabodi, Anagnostidis, Orvieto, Singh & Boeva, Generalized Linear Mode Connectivity
        for Transformers, NeurIPS 2025. https://arxiv.org/abs/2506.22712
        Jordan, Sedghi, Saukh, Entezari & Neyshabur, REPAIR: REnormalizing Permuted Activations for
        Interpolation Repair, ICLR 2023, for correlations. https://arxiv.org/abs/2211.08403
    """
    del seed
    if batches is None:
        raise ValueError("activation matching needs batches of inputs, got None")
    batches, definitions = batch_definitions(a, b, batches)
    where = {cluster: its for cluster, its in taps(spec).items() if len(cluster) < 3}
    rest = iter(batches)
    first = list(islice(rest, 1))
    moments, count = read_moments(a, b, where, chain(first, rest), spec.kinds)
    read = Read(spec.kinds, moments, where, powers_of_taps(b, spec, where, first[0]))
    elements: dict[str, Element] = {}
    before = after = 0.0
    of_root: dict[str, list[Cluster]] = {}
    for cluster in where:
        of_root.setdefault(root(cluster), []).append(cluster)
    for name, clusters in of_root.items():
        found, distance, gain = _matched(name, clusters, read)
        before += distance
        if gain > TIE * (1 + distance):
            elements |= found
            after += distance - gain
        else:
            after += distance
    left_out = unread_groups(spec, where)
    deep = {name for c in taps(spec) if len(c) > 2 for factor in c for name in factor.groups}
    left_out |= dict.fromkeys(deep & left_out.keys(), DEEP)
    record = {"objective_before": -before, "objective": -after, "iterations": count}
    return Transform(spec, elements, record, left_out, definitions)


def _matched(
    name: str, clusters: Sequence[Cluster], read: Read
) -> tuple[dict[str, Element], float, float]:
    """The maps of a group and of all in it; the squared distance, and what they take off it."""
    plain = [read.products(cluster) for cluster in clusters if len(cluster) == 1]
    families = [read.family(cluster) for cluster in clusters if len(cluster) > 1]
    kind = read.kinds[name]
    distance = sum(read.distance(kind, found) for found in plain)
    if not families:
        element, gain = BEST[kind](plain[0])
        return {name: element}, distance, gain
    direct = crossed(plain[0]) if plain else None
    index = partners(families, direct)
    elements, gain = inside(families, index, BEST)
    if direct is not None:
        gain += 2 * (total_score(direct, index) - float(direct.trace()))
    for family in families:
        for unit, other in enumerate(index.tolist()):
            here = read.distance(family.kind, family.products(unit, unit))
            distance += here
            gain += here - read.distance(family.kind, family.products(unit, other))
    return {name: Element(index), **elements}, distance, gain  # type: ignore[arg-type]
