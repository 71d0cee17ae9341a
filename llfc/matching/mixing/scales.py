"""The best positive scale of each unit of B towards each of A."""

import torch
from torch import Tensor

from llfc.matching.mixing.products import Products

WIDEST = 12.0  # the logarithms of scales; a unit that is all zeros would ask for an infinite one
GRID = 13  # scales tried before Newton's method, which finds local minima only
NEWTON = 12


def best_scales(found: Products) -> tuple[Tensor, Tensor]:
    r"""For all pairs the least squared distance over positive scales, and that scale.

    .. math:: \min_{s > 0} \sum_p |a_i^p - s^p b_j^p|^2

    of the rows a^p and b^p that the scale multiplies by its power p: 1 for what writes a unit, -1
    for what reads it. For these two the stationary points are the roots of a quartic, up to three
    of them positive minima or maxima; so a grid of t = log s comes first, then Newton's steps,
    which are kept where they go down.

    Args:
        found: products by power, U units.

    Returns:
        the squared distance and the scale, [U, U] each, float64.
    """
    terms = []
    for power, product in found.items():
        a, b = product.squares()
        terms.append((power, product.cross, a[:, None], b[None]))
    t = _start(terms)
    value = _value(terms, t)
    for _ in range(NEWTON):
        slope, bend = _derivatives(terms, t)
        step = torch.where(bend > 0, -slope / bend.clamp(min=1e-300), -slope.sign() * 0.3)
        tried = (t + step.clamp(-1, 1)).clamp(-WIDEST, WIDEST)
        there = _value(terms, tried)
        lower = there < value
        t, value = torch.where(lower, tried, t), torch.where(lower, there, value)
    return value, t.exp()


_Terms = list[tuple[int, Tensor, Tensor, Tensor]]


def _value(terms: _Terms, t: Tensor) -> Tensor:
    value = torch.zeros_like(t)
    for power, cross, a, b in terms:
        s = (power * t).exp()
        value += a + s * (s * b - 2 * cross)
    return value


def _derivatives(terms: _Terms, t: Tensor) -> tuple[Tensor, Tensor]:
    slope, bend = torch.zeros_like(t), torch.zeros_like(t)
    for power, cross, _, b in terms:
        s = (power * t).exp()
        slope += 2 * power * s * (s * b - cross)
        bend += 2 * power**2 * s * (2 * s * b - cross)
    return slope, bend


def _start(terms: _Terms) -> Tensor:
    """The best of a grid round the scale at which the norms of A and B are most alike; or 1."""
    cross = terms[0][1]
    middle, weight = torch.zeros_like(cross), 0.0
    for power, _, a, b in terms:
        if power:
            known = (a > 0) & (b > 0)
            ratio = torch.where(known, a / b.clamp(min=1e-300), 1.0)
            middle = middle + ratio.log() / 2 / power
            weight += 1.0
    middle = (middle / max(weight, 1.0)).clamp(-WIDEST, WIDEST)
    best = torch.zeros_like(cross)
    value = _value(terms, best)
    for offset in torch.linspace(-3, 3, GRID).tolist():
        tried = (middle + offset).clamp(-WIDEST, WIDEST)
        there = _value(terms, tried)
        lower = there < value
        best, value = torch.where(lower, tried, best), torch.where(lower, there, value)
    return best
