"""What the overlap of a parameter cannot exceed, whatever the permutation."""

from collections import defaultdict
from collections.abc import Sequence

import torch
from torch import Tensor

from llfc.matching.overlap.assignment import best_total, total_score
from llfc.matching.overlap.nested import best_partners
from llfc.matching.overlap.terms import PIECE, inner_product
from llfc.symmetry.spec.blocks import Cluster, place, root


def bound(
    blocks: Sequence[tuple[tuple[Cluster, ...], Tensor, Tensor]], a: Tensor, b: Tensor
) -> float:
    """The most that <W_A, P(W_B)> of one parameter can be.

    Where units lie on one side alone (a first or last layer, a bias, a norm's scale) that is its
    own best assignment; where none lie, its overlap. Any other parameter is read as the matrix
    [first axis, all other axes]: permutations permute its rows and, the same in every row, its
    columns, so the overlap is at most the sum of the products of the sorted singular values.

    Args:
        blocks: of the parameter: clusters, and A's and B's numbers, [units of each..., rest].
        a: the parameter of A, a dimension for each axis.
        b: of B.

    Reference:
        von Neumann, Some Matrix-Inequalities and Metrization of Matric-Space, Tomsk University
        Review 1, 1937.
    """
    if any(len(c) > 1 or any(len(cluster) > 2 for cluster in c) for c, _, _ in blocks):
        return float(singular_values(a) @ singular_values(b))
    total = 0.0
    scores: dict[str, dict[Cluster, Tensor]] = defaultdict(dict)
    alone = len(blocks) == 1
    for clusters, of_a, of_b in blocks:
        if not clusters:
            total += inner_product(of_a, of_b)
            continue
        if alone and len(clusters[0]) == 1 and of_a.shape[1] == 1:
            return best_total(of_a[:, 0], of_b[:, 0])
        of_root = scores[root(clusters[0])]
        of_root[clusters[0]] = of_root.get(clusters[0], 0) + of_a @ of_b.T
    for of_root in scores.values():
        found = best_partners(of_root)
        total += sum(total_score(score, place(c, found)) for c, score in of_root.items())
    return total


def singular_values(tensor: Tensor) -> Tensor:
    """The singular values of `tensor` as the matrix [first axis, rest], descending, on the CPU."""
    matrix = tensor.flatten(1) if tensor.ndim > 1 else tensor.reshape(-1, 1)
    if len(matrix) > matrix.shape[1]:
        matrix = matrix.T
    wide = torch.complex128 if matrix.is_complex() else torch.float64
    gram = matrix.new_zeros(len(matrix), len(matrix), dtype=wide)
    for part in torch.split(matrix, max(1, PIECE // max(1, len(matrix))), dim=1):
        part = part.to(wide)
        gram.addmm_(part, part.mH)
    squares = torch.linalg.eigvalsh(gram)
    values: Tensor = squares.clamp(min=0).sqrt().flip(0).cpu()
    return values
