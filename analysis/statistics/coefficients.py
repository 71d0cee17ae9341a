"""Measures of how closely two columns go together, and how near to 1 each can be."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from scipy import stats

from analysis.statistics.over_seeds import RELATIVE_ROUNDING, Floats, is_constant
from llfc.names import lookup

# Of three points, ranks have four correlations in all, and Fisher's z no finite variance.
LEAST_TRIALS = 4


@dataclass(frozen=True, kw_only=True)
class Method:
    """A measure of how closely two columns go together.

    Attributes:
        statistic: from two columns of one length to a number in [-1, 1].
        positive: whether it takes positive values only, as logarithms do.
        step: of n trials without ties, how far below 1 the next value is; 0 if values are
            continuous.
        signed: whether it is zero on average where nothing goes together; if not, being zero
            cannot be tested by t, only by permutation.
    """

    statistic: Callable[[Floats, Floats], float]
    positive: bool = False
    step: Callable[[int], float] = lambda n: 0.0
    signed: bool = True


def _distance_correlation(x: Floats, y: Floats) -> float:
    from dcor import distance_correlation  # loads numba, which takes seconds

    return float(distance_correlation(x, y))


METHODS: Mapping[str, Method] = {
    # Whether the order is the same; any monotone relation counts in full.
    "Spearman": Method(
        statistic=lambda x, y: float(stats.spearmanr(x, y).statistic),
        step=lambda n: 12 / (n * (n * n - 1)),
    ),
    # The share of pairs of trials in the same order, less the share in opposite order (tau-b).
    "Kendall": Method(
        statistic=lambda x, y: float(stats.kendalltau(x, y).statistic),
        step=lambda n: 4 / (n * (n - 1)),
    ),
    # Whether the relation is a straight line.
    "Pearson": Method(statistic=lambda x, y: float(stats.pearsonr(x, y).statistic)),
    # Whether it is a power law.
    "Pearson, log-log": Method(
        statistic=lambda x, y: float(stats.pearsonr(np.log(x), np.log(y)).statistic),
        positive=True,
    ),
    # Whether there is any relation at all; 0 only if none (Székely, Rizzo & Bakirov, Measuring and
    # Testing Dependence by Correlation of Distances, Annals of Statistics 35, 2007).
    "distance": Method(
        statistic=_distance_correlation,
        signed=False,
    ),
}
# The method of answers in words, and of tables of one method.
RANKS = "Spearman"
USUAL = tuple(method for method in METHODS if method != "distance")


def method_of(name: str) -> Method:
    """The method of that name.

    Raises:
        ValueError: if there is none.
    """
    return lookup("method", name, METHODS)


def step(method: str, count: int, *, tied: bool) -> float:
    """The gap between 1 and the next smaller value of the method's statistic over `count` trials.

    A single tie, in one column of otherwise equal order, takes less off Spearman's rho and
    Kendall's tau-b than two exchanged neighbours do: both become the root of 1 - step / 2.
    """
    whole = method_of(method).step(count)
    return 1 - math.sqrt(1 - whole / 2) if tied else whole


def clip(found: Floats, steps: Floats | float) -> Floats:
    """Correlations with perfect ones set half a step below 1, so that Fisher's z is finite.

    A perfect one stands for all that the ranks of so few trials would round to it. The others are
    left as they are: none is nearer to 1 than a step.
    """
    perfect = np.abs(found) > 1 - RELATIVE_ROUNDING
    return np.where(perfect, np.sign(found) * (1 - np.asarray(steps) / 2), found)


def correlation(values: Floats, method: str) -> float:
    """The correlation of the two columns of `values`; NaN where none is defined."""
    if len(values) < LEAST_TRIALS or is_constant(values):
        return math.nan
    return method_of(method).statistic(values[:, 0], values[:, 1])
