"""What matching takes off the barrier, pair by pair."""

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from analysis.runs.grid import GridLayout, name, show, values
from analysis.runs.schema import BARRIER
from analysis.statistics.over_seeds import over_seeds

UNMATCHED = "none"
MOST_SENTENCES = 8  # a table tells more
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


def what_matching_does(trials: pd.DataFrame, plan: GridLayout) -> str:
    """What is left of the barrier after each matching, a sentence each; empty without any.

    Of several cells along numbers the first and the last are told, of others the least and most.
    """
    found = taken_off(trials, plan)
    known = found[found["left"].notna()]
    sentences = [
        f"Matched by {matching}, {left_of(known[known['matching'] == matching], plan)}."
        for matching in values(known, "matching")
    ]
    return " ".join(sentences) if len(sentences) <= MOST_SENTENCES else ""


def left_of(rows: pd.DataFrame, plan: GridLayout) -> str:
    """The share that is left in the cells of one matching."""
    cells = [axis for axis in plan.keys if axis != "matching" and len(values(rows, axis)) > 1]
    along = len(cells) == 1 and pd.api.types.is_numeric_dtype(rows[cells[0]])
    ends = rows.sort_values(cells if along else "left").iloc[[0, -1] if len(rows) > 1 else [0]]
    told = [share_of(row, cells) for _, row in ends.iterrows()]
    counts = sorted({int(count) for count in rows["seeds"]})
    seeds = " to ".join(str(count) for count in {counts[0]: 0, counts[-1]: 0})
    return f"{' and '.join(told)} ({seeds} seed{'s' if seeds != '1' else ''})"


def share_of(row: "pd.Series[Any]", cells: Sequence[str]) -> str:
    """What is left in one cell, where that is, and whether seeds agree that it is less."""
    where = ", ".join(f"{name(axis)} {show(axis, row[axis])}" for axis in cells)
    said = f"{100 * row['left']:.0f} % of the barrier is left{f' at {where}' if where else ''}"
    if row["high"] < 0:
        return said
    more = "it is higher" if row["low"] > 0 else "whether it is lower at all is open"
    return f"{said} ({more})"


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
