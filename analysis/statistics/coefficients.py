"""How closely two columns go together, how near to 1 each measure can be, and over which trials."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from analysis.runs.pairs import count_pairs, counted_once, of_all_seeds, uneven
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
    """Of all pairs of trials, of which there are few enough; 0 if a column is constant."""
    a, b = _centred_distances(x), _centred_distances(y)
    spread = math.sqrt((a * a).mean() * (b * b).mean())
    # Never negative but for rounding.
    return math.sqrt(max((a * b).mean() / spread, 0.0)) if spread else 0.0


def _centred_distances(values: Floats) -> Floats:
    """Distances of all pairs, less the means of rows and columns, shape [trials, trials]."""
    distances = np.abs(values[:, None] - values)
    means = distances.mean(0)
    centred: Floats = distances - means - means[:, None] + means.mean()
    return centred


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


def columns_of(trials: pd.DataFrame, *names: str) -> Floats:
    """These columns as an array of shape [trials, columns]; pandas takes ten times as long."""
    return np.array([trials[name].to_numpy(dtype=float) for name in names]).T


def usable(trials: pd.DataFrame, x: str, y: str, method: str) -> pd.DataFrame:
    """The trials whose `x` and `y` the method can use; `trials` itself if it can use them all."""
    values = columns_of(trials, x, y)
    fine = np.asarray(np.isfinite(values).all(axis=1))
    if method_of(method).positive:
        fine &= (values > 0).all(axis=1)
    if fine.all():
        return trials
    kept: pd.DataFrame = trials[fine]
    return kept


def unlike(trials: pd.DataFrame) -> str:
    """A note if seeds were measured on different cells of the grid; otherwise empty."""
    return "seeds were measured on other cells of the grid" if uneven(trials) else ""


@dataclass(frozen=True, kw_only=True)
class Counted:
    """Which of some trials count for a coefficient of two columns.

    To tell them apart takes longer than a coefficient: what several need is found once.

    Attributes:
        trials: all of which a method can use both columns.
        used: distinct trials, over all seeds; see `analysis.runs.pairs.counted_once`.
        alike: those of them within seeds, of cells that every seed has, as far as enough are left;
            see `analysis.runs.pairs.of_all_seeds`.
        uneven: the number of trials of cells that not every seed has.
        note: said where `alike` has such trials all the same; otherwise empty.
        pairs: the number of distinct pairs of networks in `used`.
    """

    trials: pd.DataFrame
    used: pd.DataFrame
    alike: pd.DataFrame
    uneven: int
    note: str
    pairs: int


def counted(trials: pd.DataFrame, x: str, y: str) -> Counted:
    """Which of `trials`, all of them usable, count for coefficients of `x` with `y`."""
    used, note = counted_once(trials, x, y), unlike(trials)
    common = of_all_seeds(trials, LEAST_TRIALS) if note else trials
    return Counted(
        trials=trials,
        used=used,
        alike=used if common is trials else counted_once(common, x, y),
        uneven=uneven(trials) if note else 0,
        note=note if common is trials else "",
        pairs=count_pairs(used),
    )


def counted_for(
    trials: pd.DataFrame, x: str, y: str, methods: Sequence[str]
) -> Iterator[tuple[str, Counted]]:
    """Each of `methods` with which of `trials` count for it; most can use the same trials."""
    finite = usable(trials, x, y, RANKS)
    of_finite = counted(finite, x, y)
    for method in methods:
        fine = usable(finite, x, y, method)
        yield method, of_finite if fine is finite else counted(fine, x, y)
