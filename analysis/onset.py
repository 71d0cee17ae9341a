"""From which width, or which spawn epoch, on are pairs connected?

The onset of a seed is where its barrier falls below a threshold and stays there for all larger
values of the axis: between the last value of the grid that is not connected and the next, on the
straight line between their barriers, the axis taken as logarithmic, as grids are spaced.

Reference:
    Frankle, Dziugaite, Roy & Carbin, Linear Mode Connectivity and the Lottery Ticket Hypothesis,
    ICML 2020. https://arxiv.org/abs/1912.05671: stable below 2 % of error.
"""

import math
from typing import Any

import numpy as np
import pandas as pd

from analysis.grid import layout, panels
from analysis.over_seeds import SCALES, Floats, over_seeds

STABLE = 0.02
# The mean barrier of the error rate is Frankle et al.'s instability.
INSTABILITY = "test_error_mean"


def onsets(
    trials: pd.DataFrame,
    axis: str,
    *,
    barrier: str = INSTABILITY,
    threshold: float = STABLE,
) -> pd.DataFrame:
    """Where along `axis` pairs become connected, in each cell of the other axes.

    Args:
        trials: a row a trial.
        axis: "width", "spawn_epoch" or another axis of numbers, none negative; trials without a
            value on it, as strangers have no spawn epoch, are left out.
        barrier: a column; connected is where it is below `threshold`.
        threshold: in the column's unit.

    Returns:
        A row a combination of the other axes in which `axis` varies: `group`; `onset`, the seeds'
        mean on the logarithmic scale (of 1 + epoch, where there is a 0), with its 95 % interval
        over seeds `low` and `high`; `seeds` that have an onset inside the grid; `never` and
        `from_start`, the seeds that are not connected at the grid's end, and that are everywhere;
        `note`. With such seeds there is no interval, as the onset is outside the grid there, and
        `onset` is that of the others alone.

    Raises:
        ValueError: if the axis has fewer than two numbers in each combination, or other values,
            or there is no such barrier.
    """
    if barrier not in trials:
        raise ValueError(f"barrier must be a column of the trials, got {barrier!r}")
    lines = lines_along(trials, axis)
    if not lines:
        raise ValueError(f"{axis} must have at least 2 numbers where all else is equal, got 1")
    scale = "log" if all((part[axis] > 0).all() for _, part in lines) else "log1p"
    rows = []
    for title, part in lines:
        own = [_onset(seed, axis, barrier, threshold, scale) for _, seed in part.groupby("seed")]
        rows.append({"group": title, **_together(np.array(own), scale)})
    return pd.DataFrame(rows)


def lines_along(trials: pd.DataFrame, axis: str) -> list[tuple[str, pd.DataFrame]]:
    """The trials of each combination of the other axes in which `axis` varies, with its title.

    Raises:
        ValueError: if the axis has other values than numbers.
    """
    groups = [name for name in layout(trials, "", axis).keys if name != axis and name in trials]
    placed = trials[trials[axis].notna()]
    if not all(isinstance(value, int | float) for value in placed[axis].tolist()):
        raise ValueError(f"{axis} must be an axis of numbers, got {placed[axis].iloc[0]!r}")
    placed = placed.astype({axis: float})
    parts = panels(placed, tuple(groups))
    return [(title, part) for title, part in parts if part[axis].nunique() > 1]


def crossing(places: Floats, barriers: Floats, threshold: float) -> float:
    """Where `barriers` fall below `threshold` for good, on the line between two places.

    Infinite if they are not below it at the end; minus infinite if they are everywhere.

    >>> crossing(np.array([0.0, 1.0, 2.0]), np.array([0.5, 0.1, 0.0]), 0.3)
    0.5
    """
    above = np.flatnonzero(~(barriers < threshold))
    if not len(above):
        return -math.inf
    last = int(above[-1])
    if last == len(barriers) - 1:
        return math.inf
    share = (barriers[last] - threshold) / (barriers[last] - barriers[last + 1])
    return float(places[last] + share * (places[last + 1] - places[last]))


def _onset(rows: pd.DataFrame, axis: str, barrier: str, threshold: float, scale: str) -> float:
    """The onset of one seed, on the axis's own scale; of several trials at a place, the worst."""
    worst = rows.groupby(axis)[barrier].max().sort_index()
    places = SCALES[scale].there(worst.index.to_numpy(dtype=float))
    at = crossing(places, worst.to_numpy(dtype=float), threshold)
    return float(SCALES[scale].back(np.array(at))) if math.isfinite(at) else at


def _together(own: Floats, scale: str) -> dict[str, Any]:
    inside = own[np.isfinite(own)]
    found = over_seeds(inside, scale).columns("onset")
    outside = {"never": int((own == math.inf).sum()), "from_start": int((own == -math.inf).sum())}
    if sum(outside.values()):
        never, always = outside.values()
        note = f"no interval: of {len(own)} seeds {never} never connected, {always} from the start"
        found |= {"low": math.nan, "high": math.nan, "note": note}
    del found["p"]  # that an onset is at 1 is no question
    return {**found, **outside}
