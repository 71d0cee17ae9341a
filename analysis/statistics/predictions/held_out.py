"""How well one column predicts another in held-out trials.

Numeric columns enter as ranks among the fitted trials, so that any monotone relation can be a
straight line and held-out trials do not affect the ranks; others, such as the architecture, enter
as indicator variables. What was not measured, or is infinite, has no rank: a trial without one of
the columns is in no fit, has no prediction and is in no share. A share of variance is 1 for a
perfect prediction, 0 for one no better than the mean of the trials it is judged on, and negative
for a worse one.

Reference:
    Stone, Cross-Validatory Choice and Assessment of Statistical Predictions, Journal of the Royal
    Statistical Society B 36, 1974.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.linear_model import LinearRegression
from sklearn.metrics import r2_score
from sklearn.model_selection import LeaveOneGroupOut

from analysis.statistics.over_seeds import Estimate, Floats, is_constant, over_seeds


def places(column: "pd.Series[Any]", fitted: NDArray[np.bool_]) -> Floats:
    """Each value's rank among the `fitted` ones, over their number; of others, between two ranks.

    Only finite values have and count as one; the others' places are NaN.

    >>> places(pd.Series([30.0, 10.0, 20.0, 25.0]), np.array([True, True, True, False])).round(2)
    array([1.  , 0.33, 0.67, 0.83])
    """
    values = column.to_numpy(dtype=float)
    finite = np.isfinite(values)
    known = np.sort(values[fitted & finite])
    below, upto = (np.searchsorted(known, values, side) for side in ("left", "right"))
    there = finite if len(known) else np.zeros(len(values), dtype=bool)
    found: Floats = np.where(there, (below + upto + 1) / 2 / max(len(known), 1), np.nan)
    return found


def design(trials: pd.DataFrame, columns: Sequence[str], fitted: NDArray[np.bool_]) -> Floats:
    """The columns as those of a linear model, without a constant, shape [trials, ...].

    Args:
        trials: one row per trial.
        columns: names; numbers are `places`, others a level for each value but the first. Two names
            joined by ":" are a line of its own for each value of the first.
        fitted: the trials whose ranks count.
    """
    found = [np.zeros((len(trials), 0))]
    for name in columns:
        group, _, number = name.rpartition(":")
        column = trials[number]
        if pd.api.types.is_numeric_dtype(column):
            found.append(places(column, fitted)[:, None])
        else:
            found.append(_levels(column)[:, 1:])
        if group:
            levels = _levels(trials[group])
            found.append(np.hstack([levels[:, 1:], levels[:, 1:] * found[-1]]))
    return np.hstack(found)


def predict(
    trials: pd.DataFrame, columns: Sequence[str], target: str, groups: Sequence[object]
) -> pd.DataFrame:
    """Predictions of `target` for each group by a linear fit to the trials of all other groups.

    Args:
        trials: one row per trial.
        columns: what it is predicted from, as for `design`; none for the others' mean.
        target: a column of numbers.
        groups: each trial's; one after the other is held out.

    Returns:
        One row per trial: `wanted` and `predicted`, the places of the target among the fitted
        trials; `wanted_value` and `predicted_value`, in the target's own unit, where a predicted
        place has the value that the fitted trials have there. NaN where a column is not finite.

    Raises:
        ValueError: if there are fewer than two groups, or no trial to fit to once one is held out.
    """
    codes = pd.factorize(np.array(groups, dtype=object), use_na_sentinel=False)[0]
    if len(set(codes)) < 2:
        raise ValueError(f"groups to hold out must be at least 2, got {len(set(codes))}")
    values = trials[target].to_numpy(dtype=float)
    measured = _measured(trials, [target, *columns])
    found = np.full((len(values), 3), np.nan)
    for _, out in LeaveOneGroupOut().split(values, groups=codes):
        fitted = measured.copy()
        fitted[out] = False
        if not fitted.any():
            raise ValueError(f"no trial has {', '.join([target, *columns])} where one is held out")
        matrix = np.hstack([np.ones((len(values), 1)), design(trials, columns, fitted)])
        wanted = places(trials[target], fitted)
        model = LinearRegression(fit_intercept=False).fit(matrix[fitted], wanted[fitted])
        asked = out[measured[out]]
        if len(asked):
            predicted = model.predict(matrix[asked])
            known, at = values[fitted], predicted.clip(0, 1)
            # The inverse of `places`: of n values the r-th is at r / n.
            back = np.quantile(known, at, method="interpolated_inverted_cdf")
            found[asked] = np.column_stack([wanted[asked], predicted, back])
    names = ["wanted", "predicted", "predicted_value"]
    return pd.DataFrame(
        {"wanted_value": values, **dict(zip(names, found.T, strict=True))}
    ).set_axis(trials.index)


def _measured(trials: pd.DataFrame, columns: Sequence[str]) -> NDArray[np.bool_]:
    """Which trials have a finite number in each of the `columns` that is one of numbers."""
    names = [column.rpartition(":")[2] for column in columns]
    numbers = [name for name in names if pd.api.types.is_numeric_dtype(trials[name])]
    found: NDArray[np.bool_] = np.isfinite(trials[numbers].to_numpy(dtype=float)).all(axis=1)
    return found


def _levels(column: "pd.Series[Any]") -> Floats:
    """Indicator variables, one column of zeros and ones per value."""
    found: Floats = pd.get_dummies(column.astype(str)).to_numpy(dtype=float)
    return found


def shares(
    target: "Floats | pd.Series[float]",
    predicted: "Floats | pd.Series[float]",
    seeds: Sequence[object],
) -> Floats:
    """The fraction of variance predicted (R²) per seed; NaN for a seed without variance.

    Over the trials that have a prediction.
    """
    columns = {"target": np.asarray(target), "predicted": np.asarray(predicted)}
    frame = pd.DataFrame({**columns, "seed": list(seeds)})
    there = frame[["target", "predicted"]].notna().all(axis=1)
    frame[["target", "predicted"]] = frame[["target", "predicted"]].where(there)
    groups = [(seed, rows.dropna()) for seed, rows in frame.groupby("seed")]
    return np.array(
        [
            np.nan
            if len(rows) < 2 or is_constant(rows["target"].to_numpy(dtype=float))
            else r2_score(rows["target"], rows["predicted"])
            for _, rows in groups
        ]
    )


def share(
    target: "Floats | pd.Series[float]",
    predicted: "Floats | pd.Series[float]",
    seeds: Sequence[object],
) -> Estimate:
    """`shares` averaged over seeds, with an interval."""
    return over_seeds(shares(target, predicted, seeds), possible=(-math.inf, 1))
