"""What matching takes off the barrier, pair by pair."""

import math
from typing import Any

import pandas as pd

from analysis.runs.grid import GridLayout, values
from analysis.runs.schema import BARRIER
from analysis.statistics.over_seeds import over_seeds

UNMATCHED = "none"
COLUMNS = tuple("matching unmatched matched change low high p seeds note left".split())


def taken_off(trials: pd.DataFrame, plan: GridLayout, column: str = BARRIER) -> pd.DataFrame:
    """`column` of matched pairs less that of the same pairs unmatched, in each cell of the grid.

    Returns:
        One row per cell and matching: the axes of the plan, the means over seeds of the column
        `unmatched` and `matched`, the mean `change` paired by seed with its 95 % interval `low` and
        `high` over `seeds`, its `note`, and `left`, the ratio of the two means, NaN if the first
        is 0. No row where a pair was not measured both ways.
    """
    keys = [axis for axis in plan.keys if axis != "matching"]
    rows = []
    for cell, part in trials.groupby(keys, dropna=False, observed=True):
        table = part.pivot_table(column, "seed", "matching", observed=True)
        if UNMATCHED not in table:
            continue
        for matching in values(part, "matching"):
            if matching != UNMATCHED:
                both = table[[UNMATCHED, matching]].dropna().to_numpy()
                rows.append(dict(zip(keys, cell, strict=True)) | _change(matching, *both.T))
    found = pd.DataFrame([row for row in rows if row["seeds"]], columns=[*keys, *COLUMNS])
    return found.sort_values(keys, kind="stable", ignore_index=True) if keys else found


def _change(matching: str, unmatched: Any, matched: Any) -> dict[str, Any]:
    """The columns of a row from two barriers per seed."""
    before, after = (float(x.mean()) if len(x) else math.nan for x in (unmatched, matched))
    return {
        "matching": matching,
        "unmatched": before,
        "matched": after,
        **over_seeds(matched - unmatched).columns("change"),
        "left": after / before if before else math.nan,
    }
