"""The best map of one group by its kind, from products of A's units with B's alone."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from llfc.matching.mixing.invertible import best_invertible
from llfc.matching.mixing.products import Products, crossed, distance
from llfc.matching.mixing.scales import best_scales
from llfc.matching.overlap.assignment import best_assignment, total_score
from llfc.symmetry.transform import Element

# A gain that is rounding is none, or equal networks would not stay in place; relative to the sum of
# squares, in which gains are differences.
TIE = {torch.float32: 1e-7, torch.float64: 1e-13}

MIXED = {"orthogonal", "invertible"}  # kinds that mix units

Best = tuple[Element, float]  # the map, and by how much the squared distance falls


def best_permutation(found: Products) -> Best:
    """The assignment that minimises |A - P B|^2."""
    cross = crossed(found)
    index = best_assignment(cross)
    gain = total_score(cross, index) - float(cross.diagonal().sum())
    return Element(index), 2 * gain  # type: ignore[arg-type]


def best_signed(found: Products) -> Best:
    """The assignment and the signs: one assignment on |<a_i, b_j>|, as signs are free.

    Where the map's power is even, as at a norm's gains, signs do nothing.
    """
    zero = torch.zeros_like(crossed(found))
    odd = sum((p.cross for power, p in found.items() if power % 2), zero)
    even = sum((p.cross for power, p in found.items() if not power % 2), zero)
    score = odd.abs() + even
    index = best_assignment(score)
    chosen = odd.gather(1, index[:, None])[:, 0]
    gain = total_score(score, index) - float((odd + even).diagonal().sum())
    return Element(index, torch.where(chosen < 0, -1.0, 1.0)), 2 * gain  # type: ignore[arg-type]


def best_scaled(found: Products) -> Best:
    """The assignment and the positive scales: one assignment on the distance at the best scale."""
    least, scale = best_scales(found)
    index = best_assignment(-least)
    after = total_score(least, index)
    factor = scale.gather(1, index[:, None])[:, 0]
    return Element(index, factor), distance(found) - after  # type: ignore[arg-type]


def best_orthogonal(found: Products) -> Best:
    """The rotation that minimises |A - Q B|^2: orthogonal Procrustes, by one SVD.

    Reference:
        Schönemann, A generalized solution of the orthogonal Procrustes problem, Psychometrika 31,
        1966.
    """
    cross = crossed(found)
    u, values, vh = torch.linalg.svd(cross)
    return Element(matrix=u @ vh), 2 * float(values.sum() - cross.diagonal().sum())


BEST: Mapping[str, Callable[[Products], Best]] = {
    "permutation": best_permutation,
    "signed": best_signed,
    "scaled": best_scaled,
    "orthogonal": best_orthogonal,
    "invertible": best_invertible,
}


def scale_of(found: Products) -> float:
    """What a gain is compared with: the sum of all squares."""
    return sum(float(side.sum()) for product in found.values() for side in product.squares())


def score_of_pairs(kind: str, pairs: Tensor) -> Tensor:
    """What the units inside i gain at their best from those inside j: <A_i, E B_j>.

    Args:
        kind: of the groups inside; `scaled` is scored as permutations are.
        pairs: products of the units inside i with those inside j, [H, H, U, U].

    Returns:
        [H, H].
    """
    if kind == "orthogonal":
        values: Tensor = torch.linalg.svdvals(pairs).sum(-1)
        return values
    pairs = pairs.abs() if kind == "signed" else pairs
    heads = len(pairs)
    scores = [total_score(s, best_assignment(s)) for s in pairs.flatten(0, 1)]
    return torch.tensor(scores, dtype=torch.float64).reshape(heads, heads)
