"""Which trials share what: pairs and networks, told apart by the parameters of the trials."""

import math
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.runs.grid import family_names
from analysis.runs.params import PARAMS, TUPLES
from llfc.specs import Pair

LAST = "\U0010ffff"  # sorted behind every text
SPAWN = ("spawn_epoch", "spawn_step")  # what a pair's first network has no part in
SHARED = "shared_data"  # None, or the share that its second network has of the first one's half
LEAST_SHARE = 0.5  # of a family's trials, for cells that every seed has to stand for it
# The parameters that say how finely one and the same line is measured.
FINENESS = ("limit_test", "alphas", "probes", "measures")


def pair_columns(trials: pd.DataFrame) -> list[str]:
    """The parameters that tell one pair of networks from another; a pair's trials agree in them."""
    return [name for name in _parameters(trials) if _is_of_pair(name)]


def trial_columns(trials: pd.DataFrame) -> list[str]:
    """The parameters that tell one trial of a pair from another: matching, correction, ..."""
    return [name for name in _parameters(trials) if not _is_of_pair(name)]


def _parameters(trials: pd.DataFrame) -> list[str]:
    there = set(trials.columns)
    return [name for name in PARAMS if name in there]


def _is_of_pair(name: str) -> bool:
    return name in Pair.__dataclass_fields__ or name.startswith("recipe.")


def measured_once(trials: pd.DataFrame) -> pd.DataFrame:
    """`trials` without those that measure another's line again, only more coarsely.

    Of trials that differ in nothing but FINENESS, the one on most test images counts; of these the
    one at most positions, and then the one that probes the usual layers and measures most.
    """
    present = [name for name in FINENESS if name in trials]
    if not present:
        return trials
    # The last key comes first.
    finest = np.lexsort(
        (
            [-_length(value) for value in _column(trials, "measures")],
            [value is not None for value in _column(trials, "probes")],
            [-float(value or 0) for value in _column(trials, "alphas")],
            [-_or_inf(value) for value in _column(trials, "limit_test")],
        )
    )
    same = [name for name in _parameters(trials) if name not in FINENESS]
    return _first_of_each(trials, group_index(trials, same).tolist(), finest)


def counted_once(trials: pd.DataFrame, *columns: str) -> pd.DataFrame:
    """`trials` without those that repeat, in all of `columns`, the numbers of one of their pair.

    Trials that `measured_once` leaves out do not count either. A matching that moves no unit
    measures the line of no matching again, and a correction without anything to correct the line
    of no correction: one observation, whatever the number of its names, and counted under the
    plainest of them, whatever the order of the rows. Numbers of which six digits agree are the
    same.
    """
    if not columns or not trial_columns(trials):
        return trials
    trials = measured_once(trials)
    numbers = ([f"{value:.6g}" for value in trials[name].tolist()] for name in columns)
    pairs = group_index(trials, pair_columns(trials)).tolist()
    told = list(zip(pairs, *numbers, strict=True))
    return _first_of_each(trials, told, _plainest_first(trials))


def _first_of_each(
    trials: pd.DataFrame, told: Sequence[Hashable], order: NDArray[np.integer]
) -> pd.DataFrame:
    """Of trials of which the same is told, the first in `order`; rows stay in their places."""
    first: dict[Hashable, int] = {}
    for row in order.tolist():
        first.setdefault(told[row], row)
    return trials if len(first) == len(trials) else trials.iloc[sorted(first.values())]


def cell_columns(trials: pd.DataFrame) -> list[str]:
    """The parameters that tell one cell of the grid from another: all but the seed."""
    return [name for name in _parameters(trials) if name not in ("seed", *FINENESS)]


def _plainest_first(trials: pd.DataFrame) -> NDArray[np.integer]:
    """The rows' positions; those first in which most of what makes a trial of a pair is none."""
    names = [_values(trials, name) for name in trial_columns(trials)]
    texts = [[LAST if value is math.nan else str(value) for value in column] for column in names]
    plain = np.sum([[text == "none" for text in column] for column in texts], axis=0)
    order: NDArray[np.integer] = np.lexsort([*map(_ranks, reversed(texts)), -plain])
    return order


def uneven(trials: pd.DataFrame) -> int:
    """The number of trials of cells of the grid that not every seed has."""
    cells, seeds = group_index(trials, cell_columns(trials)), group_index(trials, ["seed"])
    count = int(seeds.max(initial=-1)) + 1
    there = np.unique(cells * count + seeds) // max(count, 1)
    return int((np.bincount(there, minlength=len(trials))[cells] < count).sum())


def of_all_seeds(trials: pd.DataFrame, least: int) -> pd.DataFrame:
    """The trials of cells of the grid that every seed has, so that seeds compare the same cells.

    A trial that failed in one seed is left out in the others too: their correlation with it is one
    over other cells, and the mean over seeds would be of neither. Seeds with fewer than `least`
    trials, which have no correlation, are left out. Where less than half of the trials of a family
    of networks were left, or fewer than `least` a seed, all trials are given back.
    """
    if not uneven(trials):
        return trials
    enough = trials.groupby("seed")["seed"].transform("size").to_numpy() >= least
    cells = group_index(trials, cell_columns(trials))
    seeds = trials["seed"].where(enough).groupby(cells).transform("nunique").to_numpy()
    shared = enough & (seeds == trials["seed"][enough].nunique())
    shares = pd.Series(shared).groupby(family_names(trials).to_numpy()).mean()
    kept: pd.DataFrame = trials[shared]
    if shares.min() < LEAST_SHARE or kept.groupby("seed").size().min() < least:
        return trials
    return kept


def count_pairs(trials: pd.DataFrame) -> int:
    """The number of distinct pairs of networks."""
    return len(set(group_index(trials, pair_columns(trials)).tolist()))


def count_networks(trials: pd.DataFrame) -> int:
    """The number of distinct networks: every pair has a B of its own, and may share its A."""
    if "checkpoints" in trials and trials["checkpoints"].notna().all():
        return len({name for pair in trials["checkpoints"] for name in pair})
    trunks = [column for column in pair_columns(trials) if column not in SPAWN]
    if SHARED in trials:  # A's half is the same, whatever share of it B has
        halves = trials.assign(**{SHARED: trials[SHARED].notna()})
    else:
        halves = trials
    return len(set(group_index(halves, trunks).tolist())) + count_pairs(trials)


def group_index(trials: pd.DataFrame, columns: list[str]) -> NDArray[np.integer]:
    """A number for each row, the same where all `columns` are.

    In plain Python, as pandas takes a millisecond for each of some thirty columns, however few
    the rows, and a page asks for this a thousand times.
    """
    numbers = np.zeros(len(trials), dtype=int)
    for name in columns:
        ranks = _ranks(_values(trials, name))
        if ranks.any():
            both = numbers * (int(ranks.max()) + 1) + ranks
            numbers = np.unique(both, return_inverse=True)[1]
    return numbers


def _ranks(values: Sequence[Any]) -> NDArray[np.integer]:
    """The place of each value among the distinct ones, sorted as pandas sorts them.

    Texts come before NaN, which trials have from before a column was there.
    """
    distinct = list(dict.fromkeys(values))
    if len(distinct) < 2:  # as in most columns
        return np.zeros(len(values), dtype=int)
    texts = sorted(value for value in distinct if isinstance(value, str))
    others = [value for value in distinct if not isinstance(value, str)]
    distinct = texts + [others[i] for i in np.array(others, dtype=object).argsort().tolist()]
    places = {value: place for place, value in enumerate(distinct)}
    return np.array([places[value] for value in values], dtype=int)


def _column(trials: pd.DataFrame, name: str) -> list[Any]:
    return trials[name].tolist() if name in trials else [None] * len(trials)


def _or_inf(limit: float | None) -> float:
    return math.inf if limit is None or math.isnan(limit) else float(limit)


def _length(value: Any) -> int:
    return len(list(value)) if np.iterable(value) else 0


def _values(trials: pd.DataFrame, name: str) -> list[Any]:
    """A column, tuples as text: from a file they come back as arrays, which have no hash."""
    values = trials[name].tolist()
    if name in TUPLES:
        return [_as_text(value) for value in values]
    # None, which pandas may hand back as another NaN: NaN equals nothing but is itself.
    return [math.nan if value is None or value != value else value for value in values]


def _as_text(value: Any) -> str:
    return str(list(value) if np.iterable(value) else value)
