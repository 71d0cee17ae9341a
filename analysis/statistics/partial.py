"""Partial correlations of barrier and LLFC error, given what may explain both.

A wide network has a low barrier and a low LLFC error; so have two networks close to each other. A
partial correlation is that of the residuals of both after linear regression on the covariates.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from analysis.runs.pairs import counted_once, of_all_seeds
from analysis.runs.params import PARAMS
from analysis.runs.schema import WEIGHTS
from analysis.statistics.coefficients import LEAST_TRIALS
from analysis.statistics.correlations import correlations, unlike, usable, with_note
from analysis.statistics.over_seeds import Floats, is_constant, over_seeds
from analysis.statistics.summaries import with_weight_distance

# What a pair's barrier and LLFC error may both owe to. Weights by their angle, as their distance
# grows with the size of the networks.
GIVEN = ("architecture", "norm", "width", "endpoint_error", WEIGHTS)
# Of ranks, so that any monotone dependence on a covariate is taken off, or of the values.
PARTIAL_METHODS = ("Spearman", "Pearson")
# Trials that a seed must have beyond what the covariates use up.
SPARE = 3


def partial_correlations(
    trials: pd.DataFrame,
    x: str,
    y: str,
    *,
    given: Sequence[str] | None = None,
    methods: Sequence[str] = PARTIAL_METHODS,
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
        with fewer than SPARE trials beyond what the covariates use up has none.

    Raises:
        ValueError: if a covariate is no column, or was measured in no trial.

    Reference:
        Kim, ppcor: An R Package for a Fast Calculation to Semi-partial Correlation Coefficients,
        Communications for Statistical Applications and Methods 22, 2015.
    """
    trials = with_weight_distance(trials)
    given = measured_covariates(trials) if given is None else given
    for name in given:
        if name not in trials or (trials[name].isna().all() and name != "spawn_epoch"):
            raise ValueError(f"covariate must be a column that was measured, got {name!r}")
    there = trials[[name for name in given if name not in PARAMS]].notna().all(axis=1)
    rows = []
    for method in methods:
        common = of_all_seeds(usable(trials[there], x, y, method), LEAST_TRIALS)
        used = counted_once(common, x, y)
        parts = [part for _, part in used.groupby("seed")]
        found = over_seeds([_partial(part, x, y, given, method) for part in parts], "fisher")
        raw = correlations(used, x, y, methods=[method])["within"].iloc[0]
        about = {"x": x, "y": y, "given": ", ".join(given), "method": method, "raw": raw}
        within = with_note(found.columns("within"), unlike(common))
        rows.append(about | within | {"trials": len(used)})
    return pd.DataFrame(rows)


def measured_covariates(trials: pd.DataFrame) -> list[str]:
    """The covariates of GIVEN that were measured in some trial."""
    trials = with_weight_distance(trials)
    return [name for name in GIVEN if name in trials and trials[name].notna().any()]


def _partial(rows: pd.DataFrame, x: str, y: str, given: Sequence[str], method: str) -> float:
    """The partial correlation in one seed; NaN if it has too few trials, or nothing is left."""
    place = stats.rankdata if method == "Spearman" else np.asarray
    columns = [_design(rows[name], place) for name in given]
    design = np.column_stack([np.ones(len(rows)), *columns])
    both = np.column_stack([place(rows[name]) for name in (x, y)]).astype(float)
    if is_constant(rows[[x, y]].to_numpy(dtype=float)):  # as ranks, rounding would look like more
        return float("nan")
    fit, _, rank, _ = np.linalg.lstsq(design, both)
    if len(rows) - rank < SPARE:
        return float("nan")
    left = both - design @ fit
    if (left.std(axis=0) <= 1e-9 * both.std(axis=0)).any():
        return float("nan")  # the covariates decide a column, and the rest is rounding
    return float(stats.pearsonr(*left.T).statistic)


def _design(column: "pd.Series[Any]", place: Any) -> Floats:
    """A covariate as columns of a design: numbers as they are placed, others one level each."""
    if pd.api.types.is_numeric_dtype(column) and column.notna().all():
        if is_constant(column.to_numpy(dtype=float)):
            return np.zeros((len(column), 0))
        return np.asarray(place(column), dtype=float)[:, None]
    return pd.get_dummies(column.astype(str), drop_first=True, dtype=float).to_numpy()
