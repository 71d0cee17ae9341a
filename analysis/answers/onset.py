"""From which width, or which spawn epoch, on are pairs connected?

The onset of a seed is where its barrier falls below a threshold and stays there for all larger
values of the axis. A grid cannot tell it exactly: it lies in a bracket, between the last value of
the grid at which the pair is not connected and the first from which on it is. The barrier of a
finite test set has a standard error, so near the threshold a pair is neither the one nor the other,
and a trial that failed says nothing; both widen the bracket. The axis is taken as logarithmic, as
grids are spaced.

References:
    Frankle, Dziugaite, Roy & Carbin, Linear Mode Connectivity and the Lottery Ticket Hypothesis,
    ICML 2020. https://arxiv.org/abs/1912.05671: stable below 2 % of error.
    Sun, The Statistical Analysis of Interval-censored Failure Time Data, Springer 2006.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from analysis.runs.grid import lines_along
from analysis.runs.params import PARAMS
from analysis.runs.schema import INSTABILITY, INSTABILITY_SE, STABLE
from analysis.statistics.crossing import Onset, onset_of
from analysis.statistics.over_seeds import LEAST_SEEDS, Floats, over_seeds


def onsets(
    trials: pd.DataFrame,
    axis: str,
    *,
    barrier: str = INSTABILITY,
    threshold: float = STABLE,
    unfinished: pd.DataFrame | None = None,
    searched: bool = False,
) -> pd.DataFrame:
    """Where along `axis` pairs become connected, in each cell of the other axes.

    Args:
        trials: one row per trial.
        axis: "width", "spawn_epoch" or another axis of numbers, none negative; trials without a
            value on it, as independent pairs have no spawn epoch, are left out.
        barrier: a column; connected is where it is below `threshold`. Of INSTABILITY the standard
            error is known, if the trials have the column INSTABILITY_SE.
        threshold: in the column's unit.
        unfinished: trials without a result, as `Runs.unfinished`, so that a value of the grid at
            every seed failed is known to be one.
        searched: whether each seed has places of its own, as a search asks for; otherwise what one
            seed has measured, and another not, is missing there.

    Returns:
        One row per combination of the other axes in which `axis` varies:

        - `onset`: the seeds' mean on the logarithmic scale (of 1 + epoch, where there is a 0), NaN
          where a seed has none inside the grid, or an unknown one;
        - `low` and `high`: an interval for that mean of new seeds. The lower end is that of the
          95 % t interval over the seeds' lower bracket ends, the upper end that over their upper
          ones, so the interval never promises more than the grid and the test set can tell; NaN
          where there is no such end, or there are fewer than LEAST_SEEDS seeds.
          Censored seeds are not modelled: `onset` needs the onset of each seed, and an end of the
          interval that end of each bracket. So where a seed is never connected only `low` is there,
          over all seeds, its own lower end being the last value at which it is not; where one is
          connected from the start on, or not known to be unconnected anywhere, only `high` is. An
          axis that begins at 0 has nothing below: a missing lower end is 0 there, as is the onset
          of a seed that is connected from the start on;
        - `seeds`; how many of them are `never` connected (not at the grid's end), are connected
          `from_start`, have an `unknown` onset (the largest value of the grid failed or is missing
          there, or the smallest, and the seed is connected at all others), and are not `monotone`:
          connected at some value and not at a larger one;
        - `note`: why a number is not there.

    Raises:
        ValueError: if the axis has fewer than two numbers in each combination, or other values,
            or there is no such barrier, or the threshold is not finite.
    """
    found = by_seed(
        trials,
        axis,
        barrier=barrier,
        threshold=threshold,
        unfinished=unfinished,
        searched=searched,
    )
    return pd.DataFrame(
        {"group": one.group, **_together(list(one.seeds.values()), one.scale, one.start)}
        for one in found
    )


@dataclass(frozen=True, kw_only=True)
class SeedOnsets:
    """The onsets of the seeds in one combination of the other axes.

    Attributes:
        group: the combination, as a title.
        seeds: the onset by seed.
        scale: a name in SCALES, on which the axis is averaged.
        start: the smallest value that was asked for.
    """

    group: str
    seeds: Mapping[int, Onset]
    scale: str
    start: float


def by_seed(
    trials: pd.DataFrame,
    axis: str,
    *,
    barrier: str = INSTABILITY,
    threshold: float = STABLE,
    unfinished: pd.DataFrame | None = None,
    searched: bool = False,
) -> list[SeedOnsets]:
    """The onsets along `axis`, seed by seed, in each cell of the other axes.

    Arguments and errors are those of `onsets`.
    """
    if not math.isfinite(threshold):
        raise ValueError(f"threshold must be a finite number, got {threshold}")
    if barrier not in trials:
        raise ValueError(f"barrier must be a column of the trials, got {barrier!r}")
    trials = with_unfinished(trials, unfinished)
    lines = lines_along(trials, axis)
    if not lines:
        raise ValueError(f"{axis} must have at least 2 numbers with everything else equal, got 1")
    scale = "log" if all((part[axis] > 0).all() for _, part in lines) else "log1p"
    noise = INSTABILITY_SE if barrier == INSTABILITY and INSTABILITY_SE in trials else None
    found = []
    for title, part in lines:
        whole = np.sort(part[axis].unique()).astype(float)
        own = {}
        for seed, rows in part.groupby("seed"):
            grid = np.sort(rows[axis].unique()).astype(float) if searched else whole
            barriers = _barriers(rows, axis, barrier, noise, grid)
            own[int(str(seed))] = onset_of(grid, *barriers, threshold, scale)
        found.append(SeedOnsets(group=title, seeds=own, scale=scale, start=float(whole[0])))
    return found


def with_unfinished(trials: pd.DataFrame, unfinished: pd.DataFrame | None) -> pd.DataFrame:
    """`trials`, and below them the parameters of those without a result."""
    if unfinished is None or unfinished.empty:
        return trials
    shared = [name for name in PARAMS if name in trials and name in unfinished]
    return pd.concat([trials, unfinished[shared]], ignore_index=True)


def _barriers(
    rows: pd.DataFrame, axis: str, barrier: str, noise: str | None, grid: Floats
) -> tuple[Floats, Floats]:
    """The barrier of one seed at each value of the grid, and its standard error.

    Of several trials at a place, the one with the highest barrier.
    """
    measured = rows[rows[barrier].notna()]
    worst = measured.sort_values(barrier).groupby(axis).tail(1).set_index(axis).reindex(grid)
    errors = np.zeros(len(grid)) if noise is None else worst[noise].fillna(0).to_numpy(dtype=float)
    return worst[barrier].to_numpy(dtype=float), errors


def _together(own: Sequence[Onset], scale: str, start: float) -> dict[str, Any]:
    # An axis that begins at 0 has no smaller value: connected there, the onset is 0.
    start = 0.0 if start == 0 else math.nan
    at = np.array([start if one.at == -math.inf else one.at for one in own])
    at[[not one.complete for one in own]] = math.nan
    inside = np.isfinite(at)
    counts = {
        "seeds": len(own),
        "never": sum(one.at == math.inf and one.complete for one in own),
        "from_start": sum(one.at == -math.inf for one in own),
        "unknown": sum(not one.complete for one in own),
        "not_monotone": sum(not one.monotone for one in own),
    }
    low = _end([start if one.low == -math.inf else one.low for one in own], scale, "low")
    high = _end([one.high for one in own], scale, "high")
    value = over_seeds(at, scale).value if inside.all() else math.nan
    return {"onset": value, "low": low, "high": high, **counts, "note": _note(counts, low, high)}


def _end(ends: Sequence[float], scale: str, which: str) -> float:
    """The lower or upper end of the interval, from the seeds' bracket ends; NaN if there is none.

    Seeds in one bracket differ by less than the grid tells: then the bracket's end is the end.
    """
    if len(ends) < LEAST_SEEDS or not np.isfinite(ends).all():
        return math.nan
    found = over_seeds(ends, scale, possible=(0.0, math.inf))
    if np.ptp(ends) == 0:
        return float(ends[0])
    return float(getattr(found, which))


def _note(counts: dict[str, int], low: float, high: float) -> str:
    seeds = counts["seeds"]
    words = {
        "never": "not connected at the grid's end",
        "from_start": "connected from its start on",
        "unknown": "without a result at an end of the grid",
    }
    odd = [f"{counts[kind]} {word}" for kind, word in words.items() if counts[kind]]
    said = [f"of {seeds} seeds {', '.join(odd)}"] if odd else []
    if counts["not_monotone"]:
        said.append(f"{counts['not_monotone']} connected at a value and not at a larger one")
    if math.isnan(low) and math.isnan(high) and not odd:
        said.append("no interval: too few seeds, or too near the threshold for this test set")
    return "; ".join(said)
