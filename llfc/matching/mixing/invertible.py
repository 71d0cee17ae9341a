"""The best invertible map of units that linear maps write and read."""

from dataclasses import dataclass

import torch
from torch import Tensor

from llfc.matching.mixing.products import Product, Products, crossed, distance
from llfc.symmetry.transform import Element

STEPS = 30  # of Gauss and Newton; most groups need less than ten
HALVINGS = 6  # of a step that does not go down
ENOUGH = 1e-4  # what a step gains, of the squared distance that is left, is too little to go on
ROUNDING = 1e-14  # of the squares of A
WORST = 1e8  # the condition of a map, in the Frobenius norm
TOLD = 1e-12  # the least eigenvalue, of the largest, of what an equation says


def best_invertible(found: Products) -> tuple[Element, float]:
    r"""The map M that minimises the squared distance, and by how much that falls.

    .. math:: |A_+ - M B_+|^2 + |A_- - M^{-T} B_-|^2

    for the rows + that write the units and - that read them. Both terms vanish where M solves two
    linear equations, M B_+ = A_+ and M^T A_- = B_-; their least squares, together,

    .. math:: A_- A_-^T M + M B_+ B_+^T = A_+ B_+^T + A_- B_-^T

    are a Sylvester equation, solved in the eigenvectors of its two sides. From the best of that,
    the best rotation and the identity the steps of Gauss and Newton follow: with B already moved, M
    is near to I + X and its inverse transpose to I - X^T, so that X solves such an equation too.
    The products are all that is needed.

    Reference:
        Bartels & Stewart, Solution of the matrix equation AX + XB = C, Communications of the ACM
        15, 1972, for the equation.
    """
    zero = torch.zeros_like(crossed(found))
    plus, minus = (found.get(power) or Product(zero, zero, zero) for power in (1, -1))
    before = distance(found)
    u, _, vh = torch.linalg.svd(crossed(found))
    eye = torch.eye(len(u), dtype=torch.float64)
    both = solved(minus.a, plus.b, plus.cross + minus.cross, u @ vh)
    starts = [_At(plus, minus, matrix) for matrix in (eye, u @ vh, both)]
    best = min(starts, key=lambda at: at.value)
    for _ in range(STEPS):
        better = best.stepped()
        if not better.value < best.value:
            break
        gain, best = best.value - better.value, better
        if gain <= ENOUGH * best.value + ROUNDING * best.scale:
            break
    return Element(matrix=best.matrix), before - best.value


def best_shrunk(found: Products) -> tuple[Element, float]:
    """As `best_invertible`, drawn to the best rotation by what is left unexplained.

    Features of two trained networks agree in part, and the least squares of what agrees can be all
    but singular. So a ridge towards the rotation is added, its weight the ratio of what least
    squares leave unexplained to what they explain: none where a map explains all.
    """
    squares = sum(float(product.a.trace()) for product in found.values())
    before = distance(found)
    _, gain = best_invertible(found)
    left = min(max((before - gain) / max(squares, 1e-300), 0.0), 1 - 1e-6)
    u, _, vh = torch.linalg.svd(crossed(found))
    rotation, eye = u @ vh, torch.eye(len(u), dtype=torch.float64)
    ridged: Products = {}
    for power, product in found.items():
        weight = left / (1 - left) * float(product.a.trace() + product.b.trace()) / 2 / len(u)
        ridged[power] = product + Product(weight * rotation, weight * eye, weight * eye)
    element, _ = best_invertible(ridged)
    assert element.matrix is not None
    return element, before - value_at(found, element.matrix)


def value_at(found: Products, matrix: Tensor) -> float:
    """The squared distance at a map; infinite where that is all but singular."""
    zero = torch.zeros_like(matrix)
    plus, minus = (found.get(power) or Product(zero, zero, zero) for power in (1, -1))
    return _At(plus, minus, matrix).value


@dataclass(eq=False)
class _At:
    """The squared distance at a map; infinite where that is all but singular."""

    plus: Product
    minus: Product
    matrix: Tensor

    def __post_init__(self) -> None:
        found, failed = torch.linalg.inv_ex(self.matrix)
        self.scale = float(self.plus.a.trace() + self.minus.a.trace())
        self.value = float("inf")
        if not failed and float(found.norm() * self.matrix.norm()) < WORST:
            self.inverse = found.mT
            self.value = self.scale
            for side, at in ((self.plus, self.matrix), (self.minus, self.inverse)):
                self.value += float((at * (at @ side.b - 2 * side.cross)).sum())

    def stepped(self) -> "_At":
        """After a step that goes down; the last that was tried if none does."""
        plus = self.matrix @ self.plus.b @ self.matrix.mT
        minus = self.inverse @ self.minus.b @ self.inverse.mT
        wanted = self.plus.cross @ self.matrix.mT - plus
        wanted -= self.inverse @ self.minus.cross.mT - minus
        step = solved(minus, plus, wanted, torch.zeros_like(wanted))
        for halving in range(HALVINGS):
            moved = self.matrix + step @ self.matrix / 2**halving
            there = _At(self.plus, self.minus, moved)
            if there.value < self.value:
                break
        return there


def solved(left: Tensor, right: Tensor, wanted: Tensor, otherwise: Tensor) -> Tensor:
    """The solution X of `left X + X right = wanted`, and `otherwise` where that says nothing.

    Args:
        left: symmetric and not negative.
        right: the same.
        wanted: any.
        otherwise: a matrix whose part is taken in directions on which the equation does not bear.
    """
    first, left_vectors = torch.linalg.eigh(left)
    second, right_vectors = torch.linalg.eigh(right)
    both = first[:, None] + second[None]
    told = both > TOLD * both.max()
    known, given = (left_vectors.mT @ part @ right_vectors for part in (wanted, otherwise))
    matrix: Tensor = torch.where(told, known / torch.where(told, both, 1.0), given)
    whole: Tensor = left_vectors @ matrix @ right_vectors.mT
    return whole
