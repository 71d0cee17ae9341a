"""The overlap of A with B in another basis, under maps of all kinds, and what it cannot exceed."""

from collections.abc import Mapping

import torch
from torch import Tensor

from llfc.matching.overlap.assignment import best_assignment, best_total, total_score
from llfc.matching.overlap.bounds import bound, singular_values
from llfc.matching.overlap.overlap import Overlap
from llfc.matching.overlap.terms import inner_product
from llfc.modules.reals import as_reals
from llfc.symmetry.spec.axes import axis_groups
from llfc.symmetry.spec.blocks import Cluster, root
from llfc.symmetry.transform import Transform

UNBOUNDED = {"scaled", "invertible"}  # kinds under which an overlap has no bound


def moved_products(overlap: Overlap, transform: Transform) -> dict[str, tuple[float, float]]:
    """For each parameter <W_A, T(W_B)> and |T(W_B)|^2, summed in float64."""
    found = {}
    for name, of_a, of_b in overlap.parameters():
        moved = as_reals(transform.moved_tensor(name, of_b))
        found[name] = inner_product(as_reals(of_a), moved), inner_product(moved, moved)
    return found


def transformed_bound(
    overlap: Overlap, transform: Transform, products: Mapping[str, tuple[float, float]]
) -> float:
    """What the overlap cannot exceed: the sum over parameters of what each could have at most.

    Of a parameter that only permutations, signed ones and rotations can move, for all of these at
    once. Where plain groups lie on one side alone: the best assignment, that on the absolute values
    of the scores, and the nuclear norm of the scores. Where groups lie on several sides or are
    nested: the sum of the products of the sorted singular values of the two matrices [first axis,
    all other axes], as all these maps are orthogonal.

    Under scales and invertible maps an overlap has no bound. What they can move is bounded for this
    transform alone, by half of |W_A|^2 + |T(W_B)|^2: the difference is half the squared distance.

    Args:
        overlap: of the two networks.
        transform: what moves B.
        products: its `moved_products`.

    Reference:
        von Neumann, Some Matrix-Inequalities and Metrization of Matric-Space, Tomsk University
        Review 1, 1937.
    """
    return sum(
        _bound_of(overlap, transform, name, of_a, of_b, products[name][1])
        for name, of_a, of_b in overlap.parameters()
    )


def _bound_of(
    overlap: Overlap, transform: Transform, name: str, a: Tensor, b: Tensor, moved: float
) -> float:
    spec = overlap.spec
    kinds = {transform.spec.kinds[g] for axis in spec.axes[name] for g in axis_groups(axis)}
    if kinds & UNBOUNDED:
        a = as_reals(a)
        return (inner_product(a, a) + moved) / 2
    blocks = list(overlap.blocks(name))
    if kinds <= {"permutation"}:
        return bound(blocks, spec.fold(name, a), spec.fold(name, b))
    if any(len(c) > 1 or any(len(cluster) > 1 for cluster in c) for c, _, _ in blocks):
        sides = (singular_values(spec.fold(name, side)) for side in (a, b))
        return float(torch.dot(*sides))
    total = 0.0
    scores: dict[Cluster, Tensor] = {}
    for clusters, of_a, of_b in blocks:
        if not clusters:
            total += inner_product(of_a, of_b)
            continue
        kind = transform.spec.kinds[root(clusters[0])]
        signed = kind == "signed"
        if kind != "orthogonal" and of_a.shape[1] == 1:
            of_a, of_b = (side[:, 0].abs() if signed else side[:, 0] for side in (of_a, of_b))
            total += best_total(of_a, of_b)
            continue
        score = (of_a @ of_b.T).double()
        if kind == "orthogonal":
            scores[clusters[0]] = scores.get(clusters[0], 0) + score
        else:
            score = score.abs() if signed else score
            total += total_score(score, best_assignment(score))
    return total + sum(float(torch.linalg.svdvals(score).sum()) for score in scores.values())
