"""Which trials share what: pairs and networks, told apart by the parameters of the trials."""

import math
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.runs.grid import family_names
from analysis.runs.params import PARAMS, TUPLES
from llfc.specs import Pair

# The parameters that say how finely one and the same line is measured.
LEAST_SHARE = 0.5  # of a family's trials, for cells that every seed has to stand for it
FINENESS = ("limit_test", "alphas", "probes", "measures")


def pair_columns(trials: pd.DataFrame) -> list[str]:
    """The parameters that tell one pair of networks from another; a pair's trials agree in them."""
    fields = Pair.__dataclass_fields__
    return [p for p in PARAMS if p in trials and (p in fields or p.startswith("recipe."))]


def trial_columns(trials: pd.DataFrame) -> list[str]:
    """The parameters that tell one trial of a pair from another: matching, correction, ..."""
    return [p for p in PARAMS if p in trials and p not in pair_columns(trials)]


def measured_once(trials: pd.DataFrame) -> pd.DataFrame:
    """`trials` without those that measure another's line again, only more coarsely.

    Of trials that differ in nothing but FINENESS, the one on most test images counts; of these the
    one at most positions, and then the one that probes the usual layers and measures most.
    """
    present = [name for name in FINENESS if name in trials]
    if not present:
        return trials
    most = pd.DataFrame(
        {
            "limit_test": [-_or_inf(value) for value in _column(trials, "limit_test")],
            "alphas": [-float(value or 0) for value in _column(trials, "alphas")],
            "probes": [value is not None for value in _column(trials, "probes")],
            "measures": [-_length(value) for value in _column(trials, "measures")],
        },
        index=pd.RangeIndex(len(trials)),
    )
    order = most.sort_values(list(FINENESS), kind="stable").index
    same = [name for name in PARAMS if name in trials and name not in FINENESS]
    cells = pd.Series(group_index(trials, same)).loc[order]
    return trials.iloc[sorted(order[~cells.duplicated()])]


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
    told = trials[list(columns)].map(lambda value: f"{value:.6g}")
    told = pd.concat([_hashable(trials, pair_columns(trials)), told], axis=1)
    order = _plainest_first(trials)
    return trials.iloc[sorted(order[~told.iloc[order].duplicated()])]


def cell_columns(trials: pd.DataFrame) -> list[str]:
    """The parameters that tell one cell of the grid from another: all but the seed."""
    return [name for name in PARAMS if name in trials and name not in ("seed", *FINENESS)]


def _plainest_first(trials: pd.DataFrame) -> NDArray[np.integer]:
    """The rows' positions; those first in which most of what makes a trial of a pair is none."""
    names = _hashable(trials, trial_columns(trials)).astype(str).reset_index(drop=True)
    names.insert(0, "", -(names == "none").sum(axis=1))
    order: NDArray[np.integer] = names.sort_values([*names], kind="stable").index.to_numpy()
    return order


def uneven(trials: pd.DataFrame) -> int:
    """The number of trials of cells of the grid that not every seed has."""
    seeds = trials["seed"].groupby(group_index(trials, cell_columns(trials))).transform("nunique")
    return int((seeds < trials["seed"].nunique()).sum())


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
    return len(_hashable(trials, pair_columns(trials)).drop_duplicates())


def count_networks(trials: pd.DataFrame) -> int:
    """The number of distinct networks: every pair has a B of its own, and may share its A."""
    trunks = [column for column in pair_columns(trials) if column != "spawn_epoch"]
    return len(_hashable(trials, trunks).drop_duplicates()) + count_pairs(trials)


def group_index(trials: pd.DataFrame, columns: list[str]) -> NDArray[np.integer]:
    """A number for each row, the same where all `columns` are."""
    if not columns:
        return np.zeros(len(trials), dtype=int)
    known = _hashable(trials, columns)
    return known.groupby(columns, dropna=False, sort=True).ngroup().to_numpy()


def _column(trials: pd.DataFrame, name: str) -> list[Any]:
    return trials[name].tolist() if name in trials else [None] * len(trials)


def _or_inf(limit: float | None) -> float:
    return math.inf if limit is None or math.isnan(limit) else float(limit)


def _length(value: Any) -> int:
    return len(list(value)) if np.iterable(value) else 0


def _hashable(trials: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    """Those columns, tuples as text: from a file they come back as arrays, which have no hash."""
    told = {name: trials[name].map(_as_text) for name in columns if name in TUPLES}
    return trials[columns].assign(**told)


def _as_text(value: Any) -> str:
    return str(list(value) if np.iterable(value) else value)
