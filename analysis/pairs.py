"""Which trials share what: pairs and networks, told apart by the parameters of the trials."""

from typing import Any

import numpy as np
import pandas as pd

from analysis.params import PARAMS, TUPLES
from llfc.specs import Pair


def pair_columns(trials: pd.DataFrame) -> list[str]:
    """The parameters that tell one pair of networks from another; a pair's trials agree in them."""
    fields = Pair.__dataclass_fields__
    return [p for p in PARAMS if p in trials and (p in fields or p.startswith("recipe."))]


def trial_columns(trials: pd.DataFrame) -> list[str]:
    """The parameters that tell one trial of a pair from another: matching, correction, ..."""
    return [p for p in PARAMS if p in trials and p not in pair_columns(trials)]


def counted_once(trials: pd.DataFrame, *columns: str) -> pd.DataFrame:
    """`trials` without those that repeat, in all of `columns`, the numbers of one of their pair.

    A matching that moves no unit measures the line of no matching again, and a correction without
    anything to correct the line of no correction: one observation, whatever the number of its
    names. Numbers of which six digits agree are the same.
    """
    if not columns or not trial_columns(trials):
        return trials
    told = trials[list(columns)].map(lambda value: f"{value:.6g}")
    told = pd.concat([_hashable(trials, pair_columns(trials)), told], axis=1)
    kept: pd.DataFrame = trials[~told.duplicated()]
    return kept


def count_pairs(trials: pd.DataFrame) -> int:
    """The number of distinct pairs of networks."""
    return len(_hashable(trials, pair_columns(trials)).drop_duplicates())


def count_networks(trials: pd.DataFrame) -> int:
    """The number of distinct networks: every pair has a B of its own, and may share its A."""
    trunks = [column for column in pair_columns(trials) if column != "spawn_epoch"]
    return len(_hashable(trials, trunks).drop_duplicates()) + count_pairs(trials)


def _hashable(trials: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    """Those columns, tuples as text: from a file they come back as arrays, which have no hash."""
    told = {name: trials[name].map(_as_text) for name in columns if name in TUPLES}
    return trials[columns].assign(**told)


def _as_text(value: Any) -> str:
    return str(list(value) if np.iterable(value) else value)
