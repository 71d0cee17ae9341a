"""Where one seed's barrier falls below a threshold for good: a bracket, and a crossing in it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from analysis.statistics.over_seeds import LEVEL, SCALES, Floats

# What a barrier says of its pair, given its standard error.
NOT_CONNECTED, UNDECIDED, CONNECTED = -1, 0, 1


@dataclass(frozen=True)
class Onset:
    """The onset of one seed, in the unit of the axis.

    Attributes:
        at: where the barrier crosses the threshold for the last time, on the straight line between
            two values of the grid; infinite if it is not below at the largest value that was
            measured, minus infinite if it is below everywhere, NaN if it is below wherever it was
            measured and that is not from the grid's start on.
        low: the lower end of the bracket: minus infinite if no value is known not to be connected.
        high: the upper end; infinite if it is not known to be connected at the grid's end.
        complete: whether the largest value of the grid was measured, and the smallest unless the
            onset is known to be above it.
        monotone: whether the barrier never rises above the threshold again once it was below.
        again: the values that are known not to be connected above one that is known to be.
    """

    at: float
    low: float
    high: float
    complete: bool
    monotone: bool
    again: tuple[float, ...] = ()


def onset_of(
    places: Floats, barriers: Floats, noise: Floats, threshold: float, scale: str = "plain"
) -> Onset:
    """The onset of one seed.

    Args:
        places: the values of the grid, ascending, shape [P].
        barriers: at each of them; NaN where nothing was measured, shape [P].
        noise: the standard error of each barrier, shape [P]; connected, or not, is a pair whose
            barrier is below, or above, the threshold by 1.96 of it.
        threshold: below which a pair is connected.
        scale: a name in SCALES: on which the crossing lies on a straight line.

    >>> onset_of(np.array([0.0, 1.0, 2.0]), np.array([0.5, 0.1, 0.0]), np.zeros(3), 0.3)
    Onset(at=0.5, low=0.0, high=1.0, complete=True, monotone=True, again=())
    """
    known = ~np.isnan(barriers)
    below = barriers < threshold
    found = verdicts(barriers, noise, threshold).tolist()
    last, first = bracket_in(found)
    low = -math.inf if last is None else float(places[last])
    high = math.inf if first is None else float(places[first])
    there = SCALES[scale].there(places[known])
    at = _crossing(there, barriers[known], threshold)
    at = math.nan if at == -math.inf and not known[0] else at
    at = float(SCALES[scale].back(np.array(at))) if math.isfinite(at) else at
    order = below[known]
    return Onset(
        at=at,
        low=low,
        high=high,
        complete=bool(known[-1]) and not math.isnan(at),
        monotone=not (order[:-1] & ~order[1:]).any(),
        again=tuple(float(places[i]) for i in _again(found)),
    )


def verdicts(barriers: Floats, noise: Floats, threshold: float) -> NDArray[np.int64]:
    """CONNECTED, NOT_CONNECTED or UNDECIDED, where a barrier is too near the threshold or NaN.

    Args:
        barriers: of any number of pairs, shape [P].
        noise: the standard error of each, shape [P].
        threshold: below which a pair is connected.

    >>> verdicts(np.array([0.5, 0.31, 0.0, np.nan]), np.full(4, 0.01), 0.3).tolist()
    [-1, 0, 1, 0]
    """
    margin = stats.norm.ppf((1 + LEVEL) / 2) * noise
    above, below = barriers - margin >= threshold, barriers + margin < threshold
    return np.where(above, NOT_CONNECTED, np.where(below, CONNECTED, UNDECIDED))


def bracket_in(found: Sequence[int]) -> tuple[int | None, int | None]:
    """Between which of the verdicts `found`, in the order of their places, the onset lies.

    Returns:
        The index of the last that is not connected, and that of the first from which on all are;
        None where there is no such.

    >>> bracket_in([-1, -1, 0, 1, 1]), bracket_in([1, 1]), bracket_in([1, -1])
    ((1, 3), (None, 0), (1, None))
    """
    low = max((i for i, verdict in enumerate(found) if verdict == NOT_CONNECTED), default=None)
    first = max((i for i, verdict in enumerate(found) if verdict != CONNECTED), default=-1) + 1
    return low, first if first < len(found) else None


def _again(found: Sequence[int]) -> list[int]:
    """The indices of all that are not connected after the first that is."""
    first = found.index(CONNECTED) if CONNECTED in found else len(found)
    return [i for i, verdict in enumerate(found) if verdict == NOT_CONNECTED and i > first]


def _crossing(places: Floats, barriers: Floats, threshold: float) -> float:
    above = np.flatnonzero(barriers >= threshold)
    if not len(above):
        return -math.inf
    last = int(above[-1])
    if last == len(barriers) - 1:
        return math.inf
    share = (barriers[last] - threshold) / (barriers[last] - barriers[last + 1])
    return float(places[last] + share * (places[last + 1] - places[last]))
