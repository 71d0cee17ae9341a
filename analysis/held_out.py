"""How well one thing predicts another in trials that the fit has not seen.

Numbers enter as ranks over all trials, so that any monotone relation can be a straight line; what
is no number, such as an architecture, enters with a level for each value. A share of variance is 1
for a perfect prediction, 0 for one no better than the mean of the trials it is judged on, and
negative for a worse one.

Reference:
    Stone, Cross-Validatory Choice and Assessment of Statistical Predictions, Journal of the Royal
    Statistical Society B 36, 1974.
"""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats
from sklearn.linear_model import LinearRegression
from sklearn.metrics import r2_score
from sklearn.model_selection import LeaveOneGroupOut, cross_val_predict

from analysis.over_seeds import Estimate, Floats, constant, over_seeds


def ranks(trials: pd.DataFrame, columns: Sequence[str]) -> Floats:
    """The columns as those of a design, without a constant, shape [trials, ...]."""
    found = [np.zeros((len(trials), 0))]
    for name in columns:
        column = trials[name]
        if pd.api.types.is_numeric_dtype(column):
            found.append(stats.rankdata(column)[:, None] / len(trials))
        else:
            found.append(pd.get_dummies(column.astype(str), drop_first=True).to_numpy(dtype=float))
    return np.hstack(found)


def predict(design: Floats, target: Floats, groups: Sequence[object]) -> Floats:
    """Each trial's `target` as a line through the trials of all other groups predicts it.

    Raises:
        ValueError: if there are fewer than two groups.
    """
    codes = pd.factorize(np.array(groups, dtype=object), use_na_sentinel=False)[0]
    if len(set(codes)) < 2:
        raise ValueError(f"groups to hold out must be at least 2, got {len(set(codes))}")
    constant = np.ones((len(target), 1))
    model = LinearRegression(fit_intercept=False)
    found: Floats = cross_val_predict(
        model, np.hstack([constant, design]), target, groups=codes, cv=LeaveOneGroupOut()
    )
    return found


def shares(target: Floats, predicted: Floats, seeds: Sequence[object]) -> Floats:
    """The share of each seed's variance that was predicted; NaN for a seed without any."""
    frame = pd.DataFrame({"target": target, "predicted": predicted, "seed": seeds})
    return np.array(
        [
            np.nan
            if len(rows) < 2 or constant(rows["target"].to_numpy(dtype=float))
            else r2_score(rows["target"], rows["predicted"])
            for _, rows in frame.groupby("seed")
        ]
    )


def share(target: Floats, predicted: Floats, seeds: Sequence[object]) -> Estimate:
    """`shares`, as seeds say it together."""
    return over_seeds(shares(target, predicted, seeds), possible=(-math.inf, 1))
