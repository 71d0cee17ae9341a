"""Correlations of two columns of a sweep: within a seed, and over all trials.

A correlation within a seed compares the trials of one seed across the grid. There is one per seed,
and `analysis.statistics.over_seeds` averages them, with an interval that is valid although trials
share networks. The correlation over all trials is reported next to it, without an interval.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from analysis.runs.grid import name, panels
from analysis.statistics.coefficients import (
    LEAST_TRIALS,
    USUAL,
    Counted,
    clip,
    columns_of,
    correlation,
    counted_for,
    method_of,
    step,
)
from analysis.statistics.over_seeds import (
    RELATIVE_ROUNDING,
    Estimate,
    Floats,
    over_seeds,
)
from analysis.statistics.permutations import PermutationTest, permutation_test


def correlations(
    trials: pd.DataFrame,
    x: str,
    y: str,
    *,
    by: Sequence[str | tuple[str, ...]] = (),
    methods: Sequence[str] = USUAL,
    permutations: int = 0,
    seed: int = 0,
) -> pd.DataFrame:
    """The correlation of `x` with `y` over all trials, and within each value of the axes `by`.

    Args:
        trials: one row per trial; the columns x, y and seed, and the parameters of the trials.
        x: a column, such as "llfc_error_mean".
        y: a column, such as "test_loss_chord".
        by: axes; a group for each value of each of them. An axis may be a tuple of axes: then a
            group for each combination of their values, as each cell of the grid.
        methods: names in METHODS.
        permutations: how many to draw for `p_permuted`; 0 for none.
        seed: of the permutations, where there are too many to take them all.

    Returns:
        One row per (group, method):

        - `value`: over all trials; it mixes what varies within seeds and between them;
        - `within`: within a seed, over the cells of the grid that every seed has (see
          `analysis.runs.pairs.of_all_seeds`), averaged over `seeds` on Fisher's z scale; `low` and
          `high`, its 95 % interval over seeds; `p`, of the t test over seeds that it is zero;
        - `p_permuted`: the p value of a permutation test that exchanges whole pairs; see
          `analysis.statistics.permutations`; `permuted`, the trials that it rests on;
        - the numbers of `trials` and `pairs`, and of `seeds` that have a correlation of their own;
          `left_out`, the trials that the method cannot use (not finite, or not positive under a
          logarithm); `repeats`, those that count once with another of their pair (see
          `analysis.runs.pairs.counted_once`); `uneven`, the trials of cells of the grid that not
          every seed has, as where one failed: they are in `value` alone, or where they are too
          many, as `note` then says, in both; `note`, why a number is not there.

    Raises:
        ValueError: if one of `by` is no column, or one of `methods` none.
    """
    rows = []
    for group, part in groups_by(trials, by):
        for method, found in counted_for(part, x, y, methods):
            row = _correlate(part, found, x, y, method, permutations, seed)
            rows.append({"group": group, "method": method, **row})
    return pd.DataFrame(rows)


def groups_by(
    trials: pd.DataFrame, by: Sequence[str | tuple[str, ...]]
) -> list[tuple[str, pd.DataFrame]]:
    """All trials under the name `all`, and then those of each value of each of the axes `by`.

    Raises:
        ValueError: if one of `by` is no column.
    """
    groups = [("all", trials)]
    for axis in by:
        axes = (axis,) if isinstance(axis, str) else axis
        for unknown in [each for each in axes if each not in trials]:
            raise ValueError(f"by must be axes of the trials, got {unknown!r}")
        groups += [(title or name(axes[0]), rows) for title, rows in panels(trials, axes)]
    return groups


def within_seeds(trials: pd.DataFrame, x: str, y: str, method: str) -> Estimate:
    """The correlation of `x` with `y` over the trials of a seed, as seeds say it together.

    A seed with fewer than LEAST_TRIALS trials, or a column that does not vary there, says nothing.
    """
    return averaged_over_seeds(own_correlations(trials, x, y, method), trials, x, y, method)


def averaged_over_seeds(
    found: Floats, trials: pd.DataFrame, x: str, y: str, method: str
) -> Estimate:
    """`found`, the `own_correlations` of the trials' seeds, as seeds say it together."""
    groups = _by_seed(trials, x, y)
    tied = any(len(np.unique(column)) < len(column) for values in groups for column in values.T)
    steps = np.array([step(method, max(len(v), LEAST_TRIALS), tied=tied) for v in groups])
    return together(found, steps)


def together(found: Floats, steps: Floats) -> Estimate:
    """Seeds' own correlations on average; perfect ones are clipped by their steps (see `clip`).

    Where all seeds agree nothing is clipped: there is no interval, and 1 may be 1.
    """
    known = found[~np.isnan(found)]
    if known.max(initial=-1) - known.min(initial=1) > RELATIVE_ROUNDING:
        found = clip(found, steps)
    return over_seeds(found, "fisher")


def own_correlations(trials: pd.DataFrame, x: str, y: str, method: str) -> Floats:
    """Each seed's own correlation of `x` with `y`, seeds in ascending order; NaN without one."""
    return np.array([correlation(values, method) for values in _by_seed(trials, x, y)])


def _by_seed(trials: pd.DataFrame, x: str, y: str) -> list[Floats]:
    values, seeds = columns_of(trials, x, y), trials["seed"].to_numpy()
    return [values[seeds == seed] for seed in np.unique(seeds)]


def with_note(columns: dict[str, Any], note: str) -> dict[str, Any]:
    """The columns of an estimate with `note` added to their own, where there is one."""
    return columns | {"note": "; ".join(filter(None, (str(columns["note"]), note)))}


def _correlate(
    trials: pd.DataFrame,
    found: Counted,
    x: str,
    y: str,
    method: str,
    permutations: int,
    seed: int,
) -> dict[str, Any]:
    value = correlation(columns_of(found.used, x, y), method)
    within = within_seeds(found.alike, x, y, method)
    columns = within.columns("within")
    if not method_of(method).signed:
        columns["p"] = math.nan
    if math.isnan(value):
        note = f"undefined: fewer than {LEAST_TRIALS} trials, or a column that does not vary"
        columns["note"] = note
    elif not within.seeds:
        columns["note"] = f"no interval: no seed has {LEAST_TRIALS} trials that differ"
    else:
        columns = with_note(columns, found.note)
    permuted = PermutationTest(math.nan, 0)
    if permutations and not math.isnan(within.value):
        # Exchanging whole pairs needs the whole grid; a repeat moves with its pair.
        statistic = method_of(method).statistic
        permuted = permutation_test(found.trials, x, y, statistic, permutations, seed)
        if math.isnan(permuted.p):
            why = f"no permutation test: {permuted.trials} trials of pairs that can be exchanged"
            columns = with_note(columns, why)
    return {
        "value": value,
        **columns,
        "p_permuted": permuted.p,
        "permuted": permuted.trials,
        "trials": len(found.used),
        "pairs": found.pairs,
        "uneven": found.uneven,
        "left_out": len(trials) - len(found.trials),
        "repeats": len(found.trials) - len(found.used),
    }
