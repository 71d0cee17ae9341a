"""What a sweep says, in sentences: what was correlated, over what, how closely, how surely."""

import math
from typing import Any

import pandas as pd

from analysis.columns import BARRIER, LLFC, label, number
from analysis.correlations import count_networks, count_pairs
from analysis.grid import Layout, name, panels, select, show, values


def answer(trials: pd.DataFrame, found: pd.DataFrame) -> str:
    """How closely barrier and LLFC error go together, from the frame of `correlations`."""
    row = found[(found["group"] == "all") & (found["method"] == "Spearman")].iloc[0]
    what = f"{label(BARRIER)} and {label(LLFC)}"
    over = f"Over {counts(trials)}"
    if math.isnan(row["value"]):
        return f"{over}: no correlation of {what}; {row['note']}."
    return f"{over}, Spearman's ρ of {what} is {row['value']:.2f}{interval(row)}."


def interval(row: "pd.Series[Any]") -> str:
    """A correlation's interval and what to know of it, to stand behind its value."""
    if math.isnan(row["low"]):
        return f" ({row['note']})"
    note = f"; {row['note']}" if row["note"] else ""
    return f" (95 % bootstrap interval over seeds {row['low']:.2f} to {row['high']:.2f}{note})"


def counts(trials: pd.DataFrame) -> str:
    """How many trials, pairs, networks and seeds there are."""
    numbers = {
        "trial": len(trials),
        "pair": count_pairs(trials),
        "network": count_networks(trials),
        "seed": trials["seed"].nunique(),
    }
    return ", ".join(f"{n} {word}{'s' if n != 1 else ''}" for word, n in numbers.items())


def trends(trials: pd.DataFrame, plan: Layout) -> list[str]:
    """How the barrier goes from the first value of the sweep's axis to its last, a series each."""
    return [
        sentence
        for title, rows in panels(trials, plan.panels)
        for series in values(rows, plan.series)
        if (sentence := _trend(select(rows, plan.series, series), plan, series, title))
    ]


def _trend(rows: pd.DataFrame, plan: Layout, series: Any, title: str) -> str:
    order = values(rows, plan.x)
    if len(order) < 2:
        return ""
    first, last = (select(rows, plan.x, value)[BARRIER].mean() for value in (order[0], order[-1]))
    ends = [f"{name(plan.x)} {show(plan.x, value)}" for value in (order[0], order[-1])]
    where = f" ({title})" if title else ""
    return (
        f"{name(plan.series)} {show(plan.series, series)}{where}: mean barrier {number(first)} at"
        f" {ends[0]}, {number(last)} at {ends[1]}."
    )
