"""The linear assignment problem: the best partner for every unit at once."""

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from torch import Tensor

Scores = NDArray[np.float32] | NDArray[np.float64]

ROWS = 2**16  # numbers of rows that are reduced at once, in the processor's cache


def best_assignment(score: Tensor) -> Tensor:
    """For each row, the column of its partner, so that the total score is as large as it can be.

    The rows' and columns' means are taken off first, then their maxima: they add the same to every
    assignment, and without them the solver searches far less.

    Args:
        score: score of unit i of the one network with unit j of the other, shape [H, H], finite.

    Returns:
        The partners, int64 on the CPU, shape [H].

    Reference:
        Crouse, On Implementing 2D Rectangular Assignment Algorithms, IEEE Transactions on
        Aerospace and Electronic Systems 52(4), 2016; the algorithm of scipy's solver.

    >>> best_assignment(torch.tensor([[0.0, 2.0], [1.0, 2.5]]))
    tensor([1, 0])
    """
    score = score if score.dtype == torch.float32 else score.double()
    return torch.from_numpy(solve(score.detach().cpu().numpy()))


def solve(score: Scores) -> NDArray[np.int64]:
    """`best_assignment` on arrays. Costs are reduced, in float64, as scipy would copy scores."""
    size = len(score)
    costs = np.empty((size, size))
    step = max(1, ROWS // max(1, size))
    parts = [slice(start, start + step) for start in range(0, size, step)]
    for rows in parts:
        wide = score[rows].astype(np.float64)
        np.subtract(wide.mean(axis=1, keepdims=True), wide, out=costs[rows])
    means = costs.mean(axis=0, keepdims=True)
    least = np.full((1, size), np.inf)
    for rows in parts:
        part = costs[rows]
        part -= means
        part -= part.min(axis=1, keepdims=True)
        np.minimum(least, part.min(axis=0, keepdims=True), out=least)
    costs -= least
    places, columns = linear_sum_assignment(costs)
    assert (places == np.arange(size)).all()  # scipy promises sorted rows for a square matrix
    return columns.astype(np.int64)


def total_score(score: Tensor, partners: Tensor) -> float:
    """The sum over rows of the score with the row's partner, summed in float64."""
    chosen = score.gather(1, partners.to(score.device)[:, None])
    return float(chosen.sum(dtype=torch.float64))


def best_total(a: Tensor, b: Tensor) -> float:
    """The largest total score of units of `a` with units of `b`, one number a unit.

    Both in one order (the rearrangement inequality); an assignment on a matrix of rank 1 would take
    the solver a hundred times as long as one of random numbers.

    Args:
        a: [H].
        b: [H].

    >>> best_total(torch.tensor([1.0, -2.0]), torch.tensor([3.0, 5.0]))
    -1.0
    """
    return float((a.sort().values * b.sort().values).sum(dtype=torch.float64))
