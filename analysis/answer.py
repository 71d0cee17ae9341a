"""What a sweep says, in sentences: what was correlated, over what, how closely, how surely."""

import math
from typing import Any

import pandas as pd

from analysis.columns import BARRIER, LLFC, number, phrase
from analysis.grid import Layout, name, panels, select, show, values
from analysis.pairs import count_networks, count_pairs, counted_once

MOST = 8  # groups, or series, that sentences tell one by one; tables tell more


def headline(found: pd.DataFrame) -> "pd.Series[Any]":
    """The row of `correlations` that the answer is about: ranks, over all trials."""
    return found[(found["group"] == "all") & (found["method"] == "Spearman")].iloc[0]


def answer(trials: pd.DataFrame, found: pd.DataFrame) -> str:
    """How closely barrier and LLFC error go together, from the frame of `correlations`."""
    row = headline(found)
    what = f"between {phrase(BARRIER)} and {phrase(LLFC)}"
    if math.isnan(row["value"]):
        return f"No correlation {what} can be given: {row['note']} ({counts(trials)})."
    over = f"over all {counts(trials)}"
    if math.isnan(row["within"]):
        return f"Spearman's ρ {what} is {row['value']:.2f} {over}; {row['note']}."
    text = (
        f"Within a seed, Spearman's ρ {what} is {row['within']:.2f} ({interval(row)});"
        f" it is {row['value']:.2f} {over}."
    )
    return f"{text}{within(found)}"


def within(found: pd.DataFrame) -> str:
    """The same within each group, as what groups share may be all that a pooled number shows.

    Of more than MOST groups the lowest and the highest. Why there is no interval is said where it
    is not what was said of all trials.
    """
    said = headline(found)["note"]
    rows = found[(found["group"] != "all") & (found["method"] == "Spearman")]
    rows = rows[rows["within"].notna()]
    if len(rows) > MOST:
        ends = rows.sort_values("within").iloc[[0, -1]]
        low, high = (f"{row['within']:.2f} ({row['group']})" for _, row in ends.iterrows())
        return f" Within {len(rows)} groups it is {low} to {high}."
    known = [
        f"{row['group']} {row['within']:.2f}"
        + ("" if math.isnan(row["low"]) and row["note"] == said else f" ({interval(row)})")
        for _, row in rows.iterrows()
    ]
    return f" Within groups: {'; '.join(known)}." if known else ""


def interval(row: "pd.Series[Any]") -> str:
    """The interval of a correlation within a seed, or why there is none."""
    if math.isnan(row["low"]):
        return str(row["note"])
    return f"95 % interval over {row['seeds']} seeds {row['low']:.2f} to {row['high']:.2f}"


def counts(trials: pd.DataFrame) -> str:
    """How many trials, pairs, networks and seeds there are.

    A pair's trials differ in matching, correction or measure; pairs of one seed share networks.
    Trials that repeat another's numbers are told, as they count once.
    """
    distinct = len(counted_once(trials, *({BARRIER, LLFC} & set(trials))))
    numbers = {
        "trial": len(trials),
        "pair": count_pairs(trials),
        "network": count_networks(trials),
        "seed": trials["seed"].nunique(),
    }
    texts = [f"{count} {word}{'s' if count != 1 else ''}" for word, count in numbers.items()]
    if distinct < len(trials):
        texts[0] += f", {distinct} of them distinct,"
    return "{} of {} ({}, {})".format(*texts)


def trends(trials: pd.DataFrame, plan: Layout) -> list[str]:
    """How the barrier goes from the first value of the sweep's axis to its last, a series each.

    None if there are more than MOST series.
    """
    found = [
        sentence
        for title, rows in panels(trials, plan.panels)
        for series in values(rows, plan.series)
        if (sentence := _trend(select(rows, plan.series, series), plan, series, title))
    ]
    return found if len(found) <= MOST else []


def _trend(rows: pd.DataFrame, plan: Layout, series: Any, title: str) -> str:
    order = values(rows, plan.x)
    if len(order) < 2:
        return ""
    numbers = [value for value in order if isinstance(value, int | float)]
    # Of numbers the two ends; of names, and beside the numbers None, each.
    told = [*numbers[:1], *numbers[1:][-1:], *(value for value in order if value not in numbers)]
    means = [
        f"{number(select(rows, plan.x, value)[BARRIER].mean())} at"
        f" {name(plan.x)} {show(plan.x, value)}"
        for value in told
    ]
    where = f", {title}" if title else ""
    subject = f"{name(plan.series)} {show(plan.series, series)}{where}"
    return (
        f"{subject[0].upper()}{subject[1:]}: {phrase(BARRIER)}, averaged over trials, is"
        f" {'; '.join(means)}."
    )
