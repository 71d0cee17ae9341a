"""Partial correlations of barrier and LLFC error, given what may explain both.

A wide network has a low barrier and a low LLFC error; so have two networks close to each other. A
partial correlation is that of the residuals of both after linear regression on the covariates.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from analysis.runs.pairs import counted_once, of_all_seeds
from analysis.runs.params import PARAMS
from analysis.runs.schema import WEIGHTS
from analysis.statistics.coefficients import LEAST_TRIALS, step, unlike, usable
from analysis.statistics.correlations import together, with_note, within_seeds
from analysis.statistics.over_seeds import Floats, is_constant
from analysis.statistics.summaries import with_weight_distance
from llfc.names import lookup

# What a pair's barrier and LLFC error may both owe to. Weights by their angle, as their distance
# grows with the size of the networks.
GIVEN = ("architecture", "norm", "width", "endpoint_error", WEIGHTS)
# Of ranks, so that any monotone dependence on a covariate is taken off, or of the values.
PARTIAL_METHODS: Mapping[str, Callable[[Any], Any]] = {
    "Spearman": stats.rankdata,
    "Pearson": np.asarray,
}
# Trials that a seed must have beyond what the covariates use up.
SPARE = 3


def partial_correlations(
    trials: pd.DataFrame,
    x: str,
    y: str,
    *,
    given: Sequence[str] | None = None,
    methods: Sequence[str] = tuple(PARTIAL_METHODS),
) -> pd.DataFrame:
    """The correlation of `x` with `y` given covariates, within a seed, beside that without them.

    In each seed, both columns and every number among the covariates - their ranks, for Spearman -
    are regressed on the covariates by least squares, and the residuals correlated. Covariates that
    are no numbers, such as the architecture, have a level for each of their values.

    Args:
        trials: one row per trial, as `with_summaries` gives them.
        x: a column.
        y: another.
        given: the covariates, by default those of GIVEN that were measured. One that does not vary
            in a seed changes nothing there. Trials in which one was not measured are left out.
        methods: names in PARTIAL_METHODS.

    Returns:
        One row per method: `given`; `raw`, the correlation within a seed without covariates;
        `within`, that with them, with `low`, `high`, `p`, `seeds` and `note` as in `correlations`;
        `trials`, those that both rest on, of cells that every seed has (see `correlations`). A seed
        with fewer than SPARE trials beyond what the covariates use up has none; a perfect one
        counts as in `correlations`, of as many trials as the covariates leave.

    Raises:
        ValueError: if a covariate is no column, or was measured in no trial; or a method is none.

    Reference:
        Kim, ppcor: An R Package for a Fast Calculation to Semi-partial Correlation Coefficients,
        Communications for Statistical Applications and Methods 22, 2015.
    """
    placing = {method: lookup("method", method, PARTIAL_METHODS) for method in methods}
    trials = with_weight_distance(trials)
    given = measured_covariates(trials) if given is None else given
    for name in given:
        if name not in trials or (trials[name].isna().all() and name != "spawn_epoch"):
            raise ValueError(f"covariate must be a column that was measured, got {name!r}")
    there = pd.Series(True, index=trials.index)
    for name in given:
        there &= _measured(trials[name])
    rows = []
    for method, place in placing.items():
        common = of_all_seeds(usable(trials[there], x, y, method), LEAST_TRIALS)
        used = counted_once(common, x, y)
        parts = [part for _, part in used.groupby("seed")]
        each = [_partial(part, x, y, given, place) for part in parts]
        steps = [step(method, max(count, LEAST_TRIALS), tied=False) for _, count in each]
        found = together(np.array([value for value, _ in each]), np.array(steps))
        raw = within_seeds(used, x, y, method).value
        about = {"x": x, "y": y, "given": ", ".join(given), "method": method, "raw": raw}
        within = with_note(found.columns("within"), unlike(common))
        rows.append(about | within | {"trials": len(used)})
    return pd.DataFrame(rows)


def measured_covariates(trials: pd.DataFrame) -> list[str]:
    """The covariates of GIVEN that were measured in some trial."""
    trials = with_weight_distance(trials)
    return [name for name in GIVEN if name in trials and trials[name].notna().any()]


def _measured(column: "pd.Series[Any]") -> "pd.Series[bool]":
    """Where a covariate is known: a number is finite; None is a value of a trial's parameters."""
    if pd.api.types.is_numeric_dtype(column):
        finite = np.isfinite(column.to_numpy(dtype=float, na_value=np.nan))
        return pd.Series(finite | (column.isna() & (column.name in PARAMS)), index=column.index)
    return column.notna() | (column.name in PARAMS)


def _partial(
    rows: pd.DataFrame, x: str, y: str, given: Sequence[str], place: Callable[[Any], Any]
) -> tuple[float, int]:
    """The partial correlation in one seed, and of how many trials, less what covariates use up.

    NaN if it has too few trials, or nothing is left.
    """
    if is_constant(rows[[x, y]].to_numpy(dtype=float)):  # as ranks, rounding would look like more
        return math.nan, 0
    columns = [_design(rows[name], place) for name in given]
    design = np.column_stack([np.ones(len(rows)), *columns])
    both = np.column_stack([_standard(place(rows[name])) for name in (x, y)])
    fit, _, rank, _ = np.linalg.lstsq(design, both)
    free = len(rows) - (int(rank) - 1)
    if free - 1 < SPARE:
        return math.nan, free
    left = both - design @ fit
    if (left.std(axis=0) <= 1e-9 * both.std(axis=0)).any():
        return math.nan, free  # the covariates decide a column, and the rest is rounding
    return float(stats.pearsonr(*left.T).statistic), free


def _standard(values: Any) -> Floats:
    """Values that vary, from their mean and over the largest: their unit and zero say nothing.

    Least squares takes a column for dependent where another is larger by its number of digits.
    """
    found: Floats = np.asarray(values, dtype=float)
    found = found / np.abs(found).max()
    found = found - found.mean()
    return found / float(np.abs(found).max())


def _design(column: "pd.Series[Any]", place: Any) -> Floats:
    """A covariate as columns of a design: numbers as they are placed, others one level each."""
    if pd.api.types.is_numeric_dtype(column) and column.notna().all():
        if is_constant(column.to_numpy(dtype=float)):
            return np.zeros((len(column), 0))
        return _standard(place(column))[:, None]
    return pd.get_dummies(column.astype(str), drop_first=True, dtype=float).to_numpy()
