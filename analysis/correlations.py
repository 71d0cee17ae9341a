"""How closely two columns of a sweep go together, with intervals that know what trials share.

Trials of one seed share networks, so they are not independent, and an interval that takes them for
independent is too narrow. Both intervals here take a seed, with all its trials in all cells of the
grid, as one observation:

- the bootstrap draws whole seeds with replacement and takes percentiles. With few seeds it is too
  narrow: with three seeds it held the truth in 40 to 77 % of simulated sweeps;
- the jackknife leaves out a seed at a time, on Fisher's z scale, with Student's t for the number
  of seeds. In the same simulations it held the truth in 91 to 95 %.

References:
    Efron & Tibshirani, An Introduction to the Bootstrap, 1993: chapters 11 and 13.
    Cameron & Miller, A Practitioner's Guide to Cluster-Robust Inference, Journal of Human
    Resources 50, 2015: few clusters.
"""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from analysis.grid import name, panels
from analysis.params import PARAMS
from llfc.specs import Pair

Floats = NDArray[np.float64]
Statistic = Callable[[Floats, Floats], float]

LEVEL = 0.95
# Below this, resamples of seeds are so few that their range says nothing.
LEAST_SEEDS = 3
# Below this, resamples are few enough for the interval's ends to be coarse.
FEW_SEEDS = 6
RESAMPLES = 999


def _loglog(x: Floats, y: Floats) -> float:
    return float(stats.pearsonr(np.log(x), np.log(y)).statistic)


METHODS: Mapping[str, Statistic] = {
    "Spearman": lambda x, y: float(stats.spearmanr(x, y).statistic),
    "Kendall": lambda x, y: float(stats.kendalltau(x, y).statistic),
    "Pearson": lambda x, y: float(stats.pearsonr(x, y).statistic),
    "Pearson, log-log": _loglog,
}


def correlations(
    trials: pd.DataFrame,
    x: str,
    y: str,
    *,
    by: Sequence[str] = (),
    methods: Sequence[str] = tuple(METHODS),
    seed: int = 0,
) -> pd.DataFrame:
    """The correlation of `x` with `y` over all trials, and within each value of the axes `by`.

    Args:
        trials: a row a trial; the columns x, y and seed, and the parameters of the pairs.
        x: a column, such as "llfc_error_mean".
        y: a column, such as "test_loss_chord".
        by: axes; a group for each value of each of them.
        methods: names in METHODS.
        seed: of the resampling, where there are too many resamples to take them all.

    Returns:
        A row a (group, method): `value`; `low` and `high`, its 95 % bootstrap interval, and `t_low`
        and `t_high`, its 95 % jackknife interval, NaN if there is none; the numbers of `trials`,
        `pairs` and `seeds`; `left_out`, the trials that the method cannot use (not finite, or not
        positive under a logarithm); `note`, what to know of the intervals.
    """
    groups = [("all", trials)]
    for axis in by:
        groups += [(title or name(axis), rows) for title, rows in panels(trials, (axis,))]
    rows = [
        {"group": group, "method": method, **_correlate(part, x, y, method, seed)}
        for group, part in groups
        for method in methods
    ]
    return pd.DataFrame(rows)


def count_pairs(trials: pd.DataFrame) -> int:
    """The number of distinct pairs of networks."""
    return len(trials[_pair_columns(trials)].drop_duplicates())


def count_networks(trials: pd.DataFrame) -> int:
    """The number of distinct networks: every pair has a B of its own, and may share its A."""
    trunks = [column for column in _pair_columns(trials) if column != "spawn_epoch"]
    return len(trials[trunks].drop_duplicates()) + count_pairs(trials)


def _pair_columns(trials: pd.DataFrame) -> list[str]:
    fields = Pair.__dataclass_fields__
    return [p for p in PARAMS if p in trials and (p in fields or p.startswith("recipe."))]


def _correlate(
    trials: pd.DataFrame, x: str, y: str, method: str, seed: int
) -> dict[str, float | int | str]:
    values = trials[[x, y]].to_numpy(dtype=float)
    usable = np.isfinite(values).all(axis=1)
    if method == "Pearson, log-log":
        usable &= (values > 0).all(axis=1)
    used = trials[usable]
    counts = {
        "trials": len(used),
        "pairs": count_pairs(used),
        "seeds": used["seed"].nunique(),
        "left_out": int((~usable).sum()),
    }
    clusters = [values[usable & (trials["seed"] == s).to_numpy()] for s in used["seed"].unique()]
    value = _statistic(METHODS[method], values[usable])
    low, high, note = _bootstrap(METHODS[method], clusters, seed)
    t_low, t_high = _jackknife(METHODS[method], clusters)
    if math.isnan(value):
        note = "undefined: fewer than 3 trials, or a column that does not vary"
    ends = {"low": low, "high": high, "t_low": t_low, "t_high": t_high}
    return {"value": value, **ends, **counts, "note": note}


def _statistic(statistic: Statistic, values: Floats) -> float:
    """NaN where no correlation is defined; scipy would warn there."""
    if len(values) < 3 or (np.ptp(values, axis=0) == 0).any():
        return math.nan
    return statistic(values[:, 0], values[:, 1])


def _bootstrap(
    statistic: Statistic, clusters: Sequence[Floats], seed: int
) -> tuple[float, float, str]:
    """The percentile interval over resamples of the clusters.

    `scipy.stats.bootstrap` draws single observations, or, handed the clusters' indices, draws at
    random even where all resamples can be listed; so the resampling is done here.
    """
    count = len(clusters)
    if count < LEAST_SEEDS:
        return math.nan, math.nan, f"no interval: {count} seeds, at least {LEAST_SEEDS} are needed"
    draws, weights = _resamples(count, np.random.default_rng(seed))
    found = np.array(
        [
            _statistic(statistic, np.concatenate([c for c, n in pairs for _ in range(n)]))
            for pairs in (list(zip(clusters, draw, strict=True)) for draw in draws)
        ]
    )
    defined = np.isfinite(found)
    if weights[defined].sum() < LEVEL:
        return math.nan, math.nan, "no interval: undefined in too many resamples"
    ends = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
    low, high = np.quantile(found[defined], ends, weights=weights[defined], method="inverted_cdf")
    few = f"{count} seeds make it coarse and too narrow"
    return float(low), float(high), few if count < FEW_SEEDS else ""


def _jackknife(statistic: Statistic, clusters: Sequence[Floats]) -> tuple[float, float]:
    """The t interval over leave-one-cluster-out pseudo-values of Fisher's z.

    NaN if a correlation is undefined or perfect, where z is infinite.
    """
    count = len(clusters)
    if count < LEAST_SEEDS:
        return math.nan, math.nan
    left = [np.concatenate([*clusters[:i], *clusters[i + 1 :]]) for i in range(count)]
    found = np.array([_statistic(statistic, part) for part in [np.concatenate(clusters), *left]])
    if not (np.abs(found) < 1).all():
        return math.nan, math.nan
    z = np.arctanh(found)
    pseudo = count * z[0] - (count - 1) * z[1:]
    spread = stats.t.ppf((1 + LEVEL) / 2, count - 1) * pseudo.std(ddof=1) / math.sqrt(count)
    return math.tanh(pseudo.mean() - spread), math.tanh(pseudo.mean() + spread)


def _resamples(count: int, rng: np.random.Generator) -> tuple[NDArray[np.int64], Floats]:
    """How often each cluster is drawn, a row a resample, and the resample's probability.

    All of them if they are few (10 for three clusters, 462 for six), else RESAMPLES at random.
    """
    if math.comb(2 * count - 1, count) > RESAMPLES:
        draws = rng.multinomial(count, np.full(count, 1 / count), size=RESAMPLES)
        return draws, np.full(RESAMPLES, 1 / RESAMPLES)
    drawn = itertools.combinations_with_replacement(range(count), count)
    draws = np.array([np.bincount(clusters, minlength=count) for clusters in drawn])
    ways = [math.factorial(count) / math.prod(map(math.factorial, draw)) for draw in draws.tolist()]
    return draws, np.array(ways) / count**count
