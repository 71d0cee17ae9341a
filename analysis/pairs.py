"""Which trials share what: pairs and networks, told apart by the parameters of the trials."""

import pandas as pd

from analysis.params import PARAMS
from llfc.specs import Pair


def pair_columns(trials: pd.DataFrame) -> list[str]:
    """The parameters that tell one pair of networks from another; a pair's trials agree in them."""
    fields = Pair.__dataclass_fields__
    return [p for p in PARAMS if p in trials and (p in fields or p.startswith("recipe."))]


def trial_columns(trials: pd.DataFrame) -> list[str]:
    """The parameters that tell one trial of a pair from another: matching, correction, ..."""
    return [p for p in PARAMS if p in trials and p not in pair_columns(trials)]


def count_pairs(trials: pd.DataFrame) -> int:
    """The number of distinct pairs of networks."""
    return len(trials[pair_columns(trials)].drop_duplicates())


def count_networks(trials: pd.DataFrame) -> int:
    """The number of distinct networks: every pair has a B of its own, and may share its A."""
    trunks = [column for column in pair_columns(trials) if column != "spawn_epoch"]
    return len(trials[trunks].drop_duplicates()) + count_pairs(trials)
