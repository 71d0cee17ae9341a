"""The best invertible map of units that linear maps write and read."""

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from torch import Tensor

from llfc.matching.mixing.products import Product, Products, crossed, distance
from llfc.symmetry.transform import Element

STEPS = 60  # of L-BFGS; more gain little
WORST = 1e8  # the condition of a map, in the Frobenius norm


def best_invertible(found: Products) -> tuple[Element, float]:
    r"""The map M that minimises the squared distance, and by how much that falls.

    .. math:: |A_+ - M B_+|^2 + |A_- - M^{-T} B_-|^2

    for the rows + that write the units and - that read them. Both terms vanish where M solves two
    linear equations, M B_+ = A_+ and M^T A_- = B_-; their least squares, together,

    .. math:: A_- A_-^T M + M B_+ B_+^T = A_+ B_+^T + A_- B_-^T

    are a Sylvester equation, solved in the eigenvectors of its two sides. The better of that, the
    best rotation and the identity is improved by L-BFGS; the products are all it needs.

    Reference:
        Bartels & Stewart, Solution of the matrix equation AX + XB = C, Communications of the ACM
        15, 1972, for the equation.
        Liu & Nocedal, On the limited memory BFGS method for large scale optimization, Mathematical
        Programming 45, 1989.
    """
    objective = _Objective(found)
    before = distance(found)
    u, _, vh = torch.linalg.svd(crossed(found))
    starts = [torch.eye(len(u), dtype=torch.float64), u @ vh]
    starts.append(sylvester(found, starts[1]))
    values = [objective.value(start) for start in starts]
    start = starts[int(np.argmin(values))]
    least = min(values)
    if least > 1e-20 * objective.scale:
        result = minimize(
            objective,
            start.flatten().numpy(),
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": STEPS, "maxcor": 20},
        )
        matrix = torch.from_numpy(result.x).reshape(start.shape)
        if objective.value(matrix) < least:
            start, least = matrix, objective.value(matrix)
    return Element(matrix=start), before - least


def sylvester(found: Products, otherwise: Tensor) -> Tensor:
    """The joint least squares of M B_+ = A_+ and M^T A_- = B_-; `otherwise` where they say nothing.

    Args:
        found: products within A and within B too.
        otherwise: a map whose part is taken in directions on which neither equation bears.
    """
    zero = torch.zeros_like(otherwise)
    plus, minus = (found.get(power) or Product(zero, zero, zero) for power in (1, -1))
    left, left_vectors = torch.linalg.eigh(minus.a)
    right, right_vectors = torch.linalg.eigh(plus.b)
    both = left[:, None] + right[None]
    wanted = left_vectors.T @ (plus.cross + minus.cross) @ right_vectors
    given = left_vectors.T @ otherwise @ right_vectors
    told = both > 1e-12 * both.max()
    solved = torch.where(told, wanted / torch.where(told, both, 1.0), given)
    matrix: Tensor = left_vectors @ solved @ right_vectors.T
    return matrix


class _Objective:
    """The squared distance as a function of the map, with its gradient."""

    def __init__(self, found: Products) -> None:
        zero = torch.zeros_like(crossed(found))
        self.plus, self.minus = (found.get(p) or Product(zero, zero, zero) for p in (1, -1))
        self.scale = float(self.plus.a.trace() + self.minus.a.trace())

    def value(self, matrix: Tensor) -> float:
        """At a map; infinite where it is all but singular."""
        return self._both(matrix)[0]

    def _both(self, matrix: Tensor) -> tuple[float, Tensor]:
        found, failed = torch.linalg.inv_ex(matrix)
        if failed or not float(found.norm() * matrix.norm()) < WORST:
            return float("inf"), torch.zeros_like(matrix)
        inverse = found.T
        total = self.scale
        slopes = []
        for side, at in ((self.plus, matrix), (self.minus, inverse)):
            mixed = at @ side.b
            total += float((at * (mixed - 2 * side.cross)).sum())
            slopes.append(2 * (mixed - side.cross))
        return total, slopes[0] - inverse @ slopes[1].T @ inverse

    def __call__(self, flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        size = len(self.plus.cross)
        value, slope = self._both(torch.from_numpy(flat).reshape(size, size))
        if not np.isfinite(value):
            return 1e300, np.zeros_like(flat)
        return value, slope.flatten().numpy()
