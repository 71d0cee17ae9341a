"""The findings of a sweep in sentences: what was correlated, over what, how closely, how surely."""

import math
from typing import Any

import numpy as np
import pandas as pd

from analysis.runs.columns import decimals, phrase, three_digits
from analysis.runs.grid import GridLayout, name, panels, rows_where, show, values
from analysis.runs.pairs import count_networks, count_pairs, counted_once
from analysis.runs.schema import BARRIER, BASELINE, LLFC
from analysis.statistics.cells import within_cells
from analysis.statistics.comparators import comparisons
from llfc.names import counted

# What the intervals over seeds generalise to.
SCOPE = "Intervals are for new seeds of this grid, not for other families of networks."
QUESTION = (
    "If the features of two networks do not move along a straight line when their weights do, is"
    " the loss between the two networks higher?"
)
A_LITTLE = 0.1  # of a correlation
MOST_SENTENCES = 8  # groups, or series, that sentences tell one by one; tables tell more


def headline(found: pd.DataFrame) -> "pd.Series[Any]":
    """The row of `correlations` that the answer is about: ranks, over all trials."""
    return found[(found["group"] == "all") & (found["method"] == "Spearman")].iloc[0]


def opening(trials: pd.DataFrame, found: pd.DataFrame) -> str:
    """The question and its answer in plain words; numbers follow."""
    row = headline(found)
    if math.isnan(row["within"]) or math.isnan(row["low"]):
        return f"{QUESTION} These trials cannot tell: {row['note']}."
    if row["low"] <= 0:
        said = (
            "No, it is lower."
            if row["high"] < 0
            else "That remains open: seeds differ too much to tell."
        )
        return f"{QUESTION} {said}"
    beside = _beside_baseline(trials)
    if beside is None or math.isnan(beside["difference_low"]):
        return f"{QUESTION} Yes."
    plain = "how different the features of the two networks are to begin with"
    if beside["difference_low"] > 0:
        more = "a little more" if beside["difference"] < A_LITTLE else "more"
        return f"{QUESTION} Yes, and that tells {more} of the barrier than {plain}."
    if beside["difference_high"] < 0:
        return f"{QUESTION} Yes, but {plain} tells more of the barrier."
    return f"{QUESTION} Yes, but it is open whether that tells more of the barrier than {plain}."


def answer(trials: pd.DataFrame, found: pd.DataFrame) -> str:
    """How closely barrier and LLFC error go together, from the frame of `correlations`.

    In this order: what it means, how closely, what the plain distance of the ends' features says
    without any blend and what LLFC adds to it, what is left inside a cell of the grid, for what the
    intervals are, and how closely the two go together within groups.
    """
    row = headline(found)
    what = f"between {phrase(BARRIER)} and {phrase(LLFC)}"
    if math.isnan(row["value"]):
        return f"No correlation {what} can be given: {row['note']} ({counts(trials)})."
    over = f"over all {counts(trials)}"
    if math.isnan(row["within"]):
        return f"Spearman's ρ {what} is {decimals(row['value'])} {over}; {row['note']}."
    text = (
        f"Within a seed, {_in_words(row)}Spearman's ρ {what} is {decimals(row['within'])}"
        f" ({interval(row)}); it is {decimals(row['value'])} {over}."
    )
    known = not math.isnan(row["low"])
    scope = f" {SCOPE}" if known else ""
    return f"{text}{beyond_baseline(trials)}{inside_cells(trials)}{scope}{within(found)}"


def _in_words(row: "pd.Series[Any]") -> str:
    """What the correlation says, for whoever does not know its name; nothing without interval."""
    if row["low"] > 0:
        return "pairs whose features move less linearly have higher barriers: "

    if row["high"] < 0:
        return "pairs whose features move less linearly have lower barriers: "

    if math.isnan(row["low"]):
        return ""
    return "it remains open whether pairs whose features move less linearly have higher barriers: "


def beyond_baseline(trials: pd.DataFrame) -> str:
    """What the distance of the ends' own features says of the barrier, and what LLFC adds."""
    row = _beside_baseline(trials)
    if row is None:
        return ""
    text = (
        " How far apart the features of the two networks are to begin with (the baseline, which"
        f" needs no blend) has a ρ of {_coefficient(row)} with the barrier"
    )
    change, low, high = (row[f"difference{end}"] for end in ("", "_low", "_high"))
    if math.isnan(change):
        return f"{text}."
    if math.isnan(low):
        return f"{text}; the difference is {decimals(change, 3)} ({row['difference_note']})."
    interval = f"{decimals(change, 3)} (paired by seed, {decimals(low, 3)} to {decimals(high, 3)})"
    if low > 0:
        return f"{text}; LLFC adds {interval}."
    if high < 0:
        return f"{text}; that of LLFC is smaller, the difference is {interval}."
    return f"{text}; whether LLFC adds to it is open, the difference is {interval}."


def _beside_baseline(trials: pd.DataFrame) -> "pd.Series[Any] | None":
    """The row of `comparisons` of the baseline over all trials; None if it says nothing."""
    if BASELINE not in trials:
        return None
    found = comparisons(trials, LLFC, BARRIER, methods=["Spearman"])
    rows = found[(found["predictor"] == BASELINE) & found["within"].notna()]
    return None if rows.empty else rows.iloc[0]


def _coefficient(row: "pd.Series[Any]") -> str:
    """A correlation within a seed with its interval, if it has one."""
    ends = "" if math.isnan(row["low"]) else f" ({_ends(row, 3)})"
    return f"{decimals(row['within'], 3)}{ends}"


def inside_cells(trials: pd.DataFrame) -> str:
    """How fast the barrier rises with the LLFC error where only the seed differs."""
    row = within_cells(trials, LLFC, BARRIER).iloc[0]
    if math.isnan(row["slope"]):
        return ""
    text = (
        " Within a cell of the grid, where only the seed differs, the barrier grows as the"
        f" LLFC error to the power {decimals(row['slope'])} ({_ends(row)}; mixed"
        f" model of {counted(row['trials'], 'trial')} in {counted(row['cells'], 'cell')} without a"
        " barrier of 0)"
    )
    if math.isnan(row["share"]):
        return f"{text}."
    between = f"{100 * (1 - row['share']):.0f} %"
    return f"{text}; {between} of the covariance of the ranks is between cells."


def within(found: pd.DataFrame) -> str:
    """The same within each group, as what groups share may be all that a pooled number shows.

    Of more than MOST_SENTENCES groups the lowest and the highest. Why there is no interval is said
    where it is not what was said of all trials.
    """
    said = headline(found)["note"]
    rows = found[(found["group"] != "all") & (found["method"] == "Spearman")]
    rows = rows[rows["within"].notna()]
    if len(rows) > MOST_SENTENCES:
        ends = rows.sort_values("within").iloc[[0, -1]]
        low, high = (f"{decimals(row['within'])} ({row['group']})" for _, row in ends.iterrows())
        return f" Within {len(rows)} groups it is {low} to {high}."
    known = [
        f"{row['group']} {decimals(row['within'])}"
        + ("" if math.isnan(row["low"]) and row["note"] == said else f" ({interval(row)})")
        for _, row in rows.iterrows()
    ]
    return f" Within groups: {'; '.join(known)}." if known else ""


def interval(row: "pd.Series[Any]") -> str:
    """The interval of a correlation within a seed, or why there is none."""
    if math.isnan(row["low"]):
        return str(row["note"])
    return f"95 % interval over {counted(row['seeds'], 'seed')} {_ends(row)}"


def _ends(row: "pd.Series[Any]", digits: int = 2) -> str:
    """The ends of its interval."""
    return f"{decimals(row['low'], digits)} to {decimals(row['high'], digits)}"


def counts(trials: pd.DataFrame) -> str:
    """How many trials, pairs, networks and seeds there are.

    A pair's trials differ in matching, correction or measure; pairs of one seed share networks.
    Trials that repeat another's numbers are told, as they count once, and so are those without a
    finite barrier or LLFC error, which are not among the others.
    """
    columns = [column for column in (BARRIER, LLFC) if column in trials]
    finite = np.isfinite(trials[columns].to_numpy(dtype=float)).all(axis=1)
    used = trials[finite]
    distinct = len(counted_once(used, *columns))
    numbers = {
        "trial": len(used),
        "pair": count_pairs(used),
        "network": count_networks(used),
        "seed": used["seed"].nunique(),
    }
    texts = [f"{count} {word}{'s' if count != 1 else ''}" for word, count in numbers.items()]
    if distinct < len(used):
        texts[0] += f", {distinct} of them distinct,"
    text = "{} of {} ({}, {})".format(*texts)
    missing = len(trials) - len(used)
    return f"{text}; {missing} more lack one of the two numbers" if missing else text


def trends(trials: pd.DataFrame, plan: GridLayout) -> list[str]:
    """How the barrier goes from the first value of the sweep's axis to its last, a series each.

    None if there are more than MOST_SENTENCES series.
    """
    found = [
        sentence
        for title, rows in panels(trials, plan.panels)
        for series in values(rows, plan.series)
        if (sentence := _trend(rows_where(rows, plan.series, series), plan, series, title))
    ]
    return found if len(found) <= MOST_SENTENCES else []


def _trend(rows: pd.DataFrame, plan: GridLayout, series: Any, title: str) -> str:
    order = values(rows, plan.x)
    if len(order) < 2:
        return ""
    numbers = [value for value in order if isinstance(value, int | float)]
    # Of numbers the two ends; of names, and beside the numbers None, each.
    told = [*numbers[:1], *numbers[1:][-1:], *(value for value in order if value not in numbers)]
    means = [
        f"{three_digits(rows_where(rows, plan.x, value)[BARRIER].mean())} at"
        f" {name(plan.x)} {show(plan.x, value)}"
        for value in told
    ]
    where = f", {title}" if title else ""
    subject = f"{name(plan.series)} {show(plan.series, series)}{where}"
    return (
        f"{subject[0].upper()}{subject[1:]}: {phrase(BARRIER)}, averaged over trials, is"
        f" {'; '.join(means)}."
    )
