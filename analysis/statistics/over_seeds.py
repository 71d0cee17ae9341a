"""Estimates over seeds: one per seed, their mean and its Student's t interval.

Trials of one seed share networks, so they are not independent; seeds are. Every seed runs the whole
grid, so a seed has an estimate of its own, and the estimates of different seeds are independent of
one another, whatever the trials inside a seed share. The t interval of so few estimates is honest
from two on, also where the seeds' estimates differ in spread (Ibragimov & Müller).

Measured on simulated sweeps whose trials share networks (seven laws; bench_coverage.py in
tests/benchmarks prints the table), with 3, 5, 8 and 12 seeds, this interval, said to be one of 95
%, holds the correlation within a seed in 93 to 98 % of them. Of intervals for the correlation over
the trials of all seeds together, the one that takes trials for independent holds it in 46 to 85 %,
whatever the number of seeds; percentiles of a bootstrap that draws whole seeds in 38 to 87 % with
three seeds and 73 to 90 % with twelve; the jackknife over seeds in 86 to 97 %. That correlation is
itself biased by few seeds, which no interval around it mends. So it is given without one, and the
interval is that of the correlation within a seed.

And it is for new seeds of the same grid. Other families of networks are another sample, of which
a grid has few: in simulated sweeps of four families with laws of their own, it holds what further
families would yield in less than half of them with three seeds, and in fewer with more seeds.

References:
    Ibragimov & Müller, t-Statistic Based Correlation and Heterogeneity Robust Inference, Journal of
    Business & Economic Statistics 28, 2010.
    Bland & Altman, Calculating Correlation Coefficients with Repeated Observations, BMJ 310, 1995.
    Cameron & Miller, A Practitioner's Guide to Cluster-Robust Inference, Journal of Human
    Resources 50, 2015: few clusters.
"""

import math
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Floats = NDArray[np.float64]

LEVEL = 0.95
# Two estimates have a t interval too, 12.7 standard errors wide either way: no answer.
LEAST_SEEDS = 3
POWER, MOST_SEEDS = 0.8, 10_000  # of `seeds_needed`
RELATIVE_ROUNDING = 1e-12  # seeds that differ by less do not differ


@dataclass(frozen=True, kw_only=True)
class Scale:
    """The scale on which seeds are averaged, and its inverse.

    Attributes:
        there: the transformation (as Fisher's z) after which the mean over seeds is nearly normal.
        back: its inverse.
    """

    there: Callable[[Floats], Floats]
    back: Callable[[Floats], Floats]


SCALES: Mapping[str, Scale] = {
    "plain": Scale(there=lambda x: x, back=lambda x: x),
    "fisher": Scale(there=np.arctanh, back=np.tanh),  # correlations
    "log": Scale(there=np.log, back=np.exp),  # axes that double, as width
    "log1p": Scale(there=np.log1p, back=np.expm1),  # those that begin at 0, as spawn epoch
}


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """The mean over seeds with its interval and test.

    Attributes:
        value: the mean of the seeds' estimates, taken on the scale; NaN without any.
        low: the lower end of its 95 % interval over seeds; NaN if there is none.
        high: the upper end.
        p: of the two-sided t test that it is zero on the scale; NaN without an interval.
        seeds: how many seeds have an estimate.
        note: why there is no interval; empty if there is one.
    """

    value: float
    low: float
    high: float
    p: float
    seeds: int
    note: str

    def columns(self, value: str = "value") -> dict[str, float | int | str]:
        """The fields as columns of a frame, the value under the name `value`."""
        return {value: self.value, **{k: v for k, v in vars(self).items() if k != "value"}}


def over_seeds(
    estimates: Sequence[float] | Floats,
    scale: str = "plain",
    possible: tuple[float, float] = (-math.inf, math.inf),
) -> Estimate:
    """The mean of one estimate per seed, with its 95 % Student's t interval over seeds.

    Args:
        estimates: one per seed; NaN for a seed without one.
        scale: a name in SCALES: where the mean is taken.
        possible: the least and the largest value there can be; the interval is cut there, which
            costs it no value that it should hold.

    Reference:
        Ibragimov & Müller, t-Statistic Based Correlation and Heterogeneity Robust Inference,
        Journal of Business & Economic Statistics 28, 2010.

    >>> found = over_seeds([0.5, 0.6, 0.7])
    >>> round(found.value, 3), round(found.low, 3), round(found.high, 3)
    (0.6, 0.352, 0.848)
    """
    given = np.asarray(estimates, dtype=float)
    given = given[~np.isnan(given)]
    count = len(given)
    if count == 0:
        return _without_interval(math.nan, 0, "no seed has an estimate")
    if is_constant(given):
        note = _too_few(count) or "no interval: the seeds do not differ"
        return _without_interval(float(given[0]), count, note)
    with np.errstate(divide="ignore"):
        placed = SCALES[scale].there(given)
    value = float(SCALES[scale].back(placed.mean()))
    if count < LEAST_SEEDS or not np.isfinite(placed).all():
        note = _too_few(count) or "no interval: a seed's estimate is at the end of the scale"
        return _without_interval(value, count, note)
    test = stats.ttest_1samp(placed, 0.0)
    low, high = SCALES[scale].back(np.array(test.confidence_interval(LEVEL))).clip(*possible)
    ends = {"low": float(low), "high": float(high)}
    return Estimate(value=value, **ends, p=float(test.pvalue), seeds=count, note="")


def seeds_needed(estimates: Sequence[float] | Floats) -> float:
    """How many seeds a sweep needs for a t test to tell this mean from zero in 80 % of such sweeps.

    The mean and the spread over the given seeds are taken for the true ones, which few seeds tell
    but roughly: a number to plan the next sweep by, and no test of this one.

    Args:
        estimates: one per seed, on the scale of `over_seeds(scale="plain")`; NaN without one.

    Returns:
        The least number, 3 or more, at which the power of the two-sided test at 5 % is 80 %;
        infinity above 10 000; NaN if fewer than three seeds have an estimate or none differ.

    Reference:
        Cohen, Statistical Power Analysis for the Behavioral Sciences, 1988: noncentral t.

    >>> seeds_needed([0.1, 0.2, 0.3, 0.4]), seeds_needed([-0.1, 0.2, 0.3, 0.4])
    (5.0, 12.0)
    """
    given = np.asarray(estimates, dtype=float)
    given = given[np.isfinite(given)]
    if len(given) < LEAST_SEEDS or is_constant(given):
        return math.nan
    effect = abs(given.mean()) / given.std(ddof=1)

    def power(seeds: int) -> float:
        edge, shift = stats.t.ppf((1 + LEVEL) / 2, seeds - 1), effect * math.sqrt(seeds)
        other = stats.nct(seeds - 1, shift)
        return float(other.sf(edge) + other.cdf(-edge))

    counts = range(LEAST_SEEDS, MOST_SEEDS + 1)
    place = bisect_left(counts, POWER, key=power)
    return float(counts[place]) if place < len(counts) else math.inf


def is_constant(values: Floats) -> bool:
    """Whether `values`, or one of their columns, are constant up to rounding."""
    with np.errstate(invalid="ignore"):  # of two that are infinite
        spread, size = np.ptp(values, axis=0), np.abs(values).max(axis=0, initial=0)
    return bool(np.any(np.isfinite(spread) & (spread <= RELATIVE_ROUNDING * size)))


def _without_interval(value: float, seeds: int, note: str) -> Estimate:
    return Estimate(value=value, low=math.nan, high=math.nan, p=math.nan, seeds=seeds, note=note)


def _too_few(count: int) -> str:
    if count >= LEAST_SEEDS:
        return ""
    return f"no interval: {count} seed{'s'[: count != 1]}, at least {LEAST_SEEDS} are needed"
