"""As which power of a width, or of another positive axis, the barrier goes.

References:
    Entezari, Sedghi, Saukh & Neyshabur, The Role of Permutation Invariance in Linear Mode
    Connectivity of Neural Networks, ICLR 2022. https://arxiv.org/abs/2110.06296: barriers by width.
    Zhan et al., 2025: matched barriers fall as width to the power -1/2.
"""

import math

import numpy as np
import pandas as pd
from scipy import stats

from analysis.runs.grid import lines_along
from analysis.runs.schema import BARRIER
from analysis.statistics.over_seeds import over_seeds


def powers(trials: pd.DataFrame, axis: str, column: str = BARRIER) -> pd.DataFrame:
    """The exponent of the power law of `column` along `axis`, in each cell of the other axes.

    A seed's exponent is the slope of a least-squares line through its logarithms: -1/2 where four
    times the width halves the barrier. It is of the range that was measured, and says nothing of a
    peak inside it, nor whether a power law is what the points follow.

    Args:
        trials: one row per trial.
        axis: an axis of positive numbers such as "width" or "recipe.lr".
        column: the barrier, or another column.

    Returns:
        One row per combination of the other axes in which `axis` varies: its `group` as a title;
        `least` and `most` of the axis and how many `places` it has; the seeds' mean exponent
        `power` with its 95 % Student's t interval `low` and `high` and the p of its being 0; how
        many `seeds` have one; and a `note`. A seed that has a number of 0 or below somewhere has no
        exponent, and the note says so.

    Raises:
        ValueError: if the axis has values that are not positive numbers, or but one of them in
            each combination.
    """
    lines = lines_along(trials, axis)
    if not lines:
        raise ValueError(f"{axis} must have at least 2 numbers with everything else equal, got 1")
    if (least := min(part[axis].min() for _, part in lines)) <= 0:
        raise ValueError(f"{axis} must be positive to have a power, got {least:g}")
    return pd.DataFrame(_power(title, part, axis, column) for title, part in lines)


def _power(title: str, part: pd.DataFrame, axis: str, column: str) -> dict[str, object]:
    """The row of one combination of the other axes."""
    slopes = [_slope(rows, axis, column) for _, rows in part.groupby("seed")]
    found = over_seeds(slopes).columns("power")
    if lost := int(np.isnan(slopes).sum()):
        left_out = f"of {len(slopes)} seeds {lost} without: fewer than 2 places, or not positive"
        found["note"] = "; ".join(filter(None, (str(found["note"]), left_out)))
    ends = {"least": part[axis].min(), "most": part[axis].max(), "places": part[axis].nunique()}
    return {"group": title, **ends, **found}


def _slope(rows: pd.DataFrame, axis: str, column: str) -> float:
    """The slope of the line through a seed's logarithms; NaN without one."""
    measured = rows[[axis, column]].dropna().to_numpy(dtype=float)
    if len(np.unique(measured[:, 0])) < 2 or not (measured > 0).all():
        return math.nan
    x, y = np.log(measured).T
    return float(stats.linregress(x, y).slope)
