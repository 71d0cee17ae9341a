"""A permutation test of whether two columns go together, that keeps together what belongs so.

If barrier and LLFC error had nothing to do with each other, the errors of one pair of networks
could as well stand beside the barriers of another. So the errors are exchanged between the pairs of
a seed - never between seeds, and all trials of a pair (its matchings, its corrections) moving
together, as they share both networks - in every seed alike, as pairs of different seeds in one cell
of the grid resemble one another. In simulated sweeps without a relation, trials exchanged one by
one found one at the 5 % level in up to 42 % of them, and pairs exchanged alike in 3 to 6 %.

What remains assumed: that pairs of one seed are exchangeable. Spawned pairs of one trunk share
network A, which makes the test reject a little too often over spawn epochs.

Reference:
    Winkler, Webster, Vidaurre, Nichols & Smith, Multi-level Block Permutation, NeuroImage 123,
    2015.
"""

# Shape suffixes: S = seeds, P = pairs of networks of a seed, T = trials of a pair.

import math
from collections.abc import Callable

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from analysis.over_seeds import Floats
from analysis.pairs import pair_columns, trial_columns

# Of three pairs there are six orders, and no p below 1/6.
LEAST_PAIRS = 4


def permutation_p(
    trials: pd.DataFrame,
    x: str,
    y: str,
    statistic: Callable[[Floats, Floats], float],
    permutations: int = 999,
    seed: int = 0,
) -> float:
    """How often exchanged pairs go together, in mean over seeds, at least as closely as these.

    The two-sided p value of `statistic` within seeds; the smallest there is, is one over the number
    of orders of a seed's pairs, or 1 / (permutations + 1) if those are more and drawn at random.
    Only cells of the grid that every seed has are used.

    Args:
        trials: a row a trial.
        x: a column.
        y: another.
        statistic: how closely two columns go together.
        permutations: how many, at most.
        seed: of the draws.

    Returns:
        p, or NaN if the seeds have fewer than LEAST_PAIRS pairs in common.
    """
    x_SPT, y_SPT = _cube(trials, x, y)
    pairs = x_SPT.shape[1]
    if pairs < LEAST_PAIRS:
        return math.nan

    def closeness(order: NDArray[np.integer]) -> float:
        found = [
            statistic(moved.ravel(), still.ravel())
            for moved, still in zip(x_SPT[:, order], y_SPT, strict=True)
        ]
        return abs(float(np.mean(found)))

    test = stats.permutation_test(
        (np.arange(pairs),),
        closeness,
        permutation_type="pairings",
        vectorized=False,
        n_resamples=permutations,
        alternative="greater",
        rng=np.random.default_rng(seed),
    )
    return float(test.pvalue)


def _cube(trials: pd.DataFrame, x: str, y: str) -> tuple[Floats, Floats]:
    """Both columns by seed, pair and trial of a pair, shape [S, P, T]: cells all seeds have."""
    cells = [column for column in pair_columns(trials) if column != "seed"]
    keys = ["seed", "pair", "trial"]
    rows = pd.DataFrame(
        {
            "seed": trials["seed"],
            "pair": _number(trials, cells),
            "trial": _number(trials, trial_columns(trials)),
            "x": trials[x],
            "y": trials[y],
        }
    ).sort_values(keys)
    seeds = rows["seed"].nunique()
    rows = rows[rows.groupby(["pair", "trial"])["seed"].transform("nunique") == seeds]
    each = rows["trial"].nunique()
    rows = rows[rows.groupby("pair")["trial"].transform("nunique") == each]
    shape = (seeds, -1, max(each, 1))
    found = (rows[column].to_numpy(dtype=float).reshape(shape) for column in ("x", "y"))
    return next(found), next(found)


def _number(trials: pd.DataFrame, columns: list[str]) -> NDArray[np.integer]:
    """A number for each row, the same where all `columns` are."""
    if not columns:
        return np.zeros(len(trials), dtype=int)
    return trials.groupby(columns, dropna=False).ngroup().to_numpy()
