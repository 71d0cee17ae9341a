"""The tables of a sweep: frame in, frame out; and any frame as text for a terminal."""

import math
from collections.abc import Iterator, Mapping
from functools import partial
from textwrap import fill
from typing import Any

import numpy as np
import pandas as pd
from tabulate import tabulate  # type: ignore[import-untyped]

from analysis.runs.columns import decimals, label, mean_sd, three_digits
from analysis.runs.grid import GridLayout, name, rows_where, show, values

TERMINAL = 100
# What the numbers of `cell_table` and of `layer_table` are.
OVER_SEEDS = "mean ± standard deviation over seeds"
LAYER_CAPTION = "LLFC error / baseline at α = 1/2 by layer, means over trials"


def across(trials: pd.DataFrame, column: str, plan: GridLayout) -> pd.DataFrame:
    """Mean and standard deviation of `column` over seeds in each cell of the grid.

    Returns:
        One row per cell: the axes of the plan, `mean`, `sd` (NaN for a single trial), `trials`.
    """
    groups = trials.groupby(plan.keys, dropna=False, observed=True)[column]
    table = groups.agg(mean="mean", sd="std", trials="count").reset_index()
    return table.astype({"mean": float, "sd": float})


def cell_table(trials: pd.DataFrame, column: str, plan: GridLayout) -> pd.DataFrame:
    """`column` as mean ± sd over seeds: one row per x, one column per series; text, for people."""
    cells = across(trials, column, plan)
    rows = []
    for axes, part in _blocks(cells, (*plan.panels, plan.x)):
        row = dict(axes)
        for value in values(trials, plan.series):
            cell = rows_where(part, plan.series, value)
            row[show(plan.series, value)] = _mean_sd(cell)
        rows.append(row)
    return pd.DataFrame(rows)


def layer_table(trials: pd.DataFrame, layers: pd.DataFrame, plan: GridLayout) -> pd.DataFrame:
    """LLFC error at alpha = 1/2 beside its baseline, layer by layer, averaged over trials.

    One row per layer of each family of networks, in forward order; one column per series, with
    "error / baseline" as text, for people.
    """
    means = layer_means(trials, layers, plan)
    rows = []
    for axes, part in _blocks(means, (*layer_keys(plan)[:-1], "index")):
        row = {**dict(axes[:-1]), "layer": part["layer"].iloc[0]}
        for value in values(trials, plan.series):
            cell = rows_where(part, plan.series, value)
            row[show(plan.series, value)] = _error_baseline(cell)
        rows.append(row)
    return pd.DataFrame(rows)


def layer_keys(plan: GridLayout) -> list[str]:
    """The axes within which layers are averaged: what makes the layers, and the series."""
    return [axis for axis in ("architecture", "norm") if axis in plan.keys] + [plan.series]


def layer_means(trials: pd.DataFrame, layers: pd.DataFrame, plan: GridLayout) -> pd.DataFrame:
    """Mean and sd over trials of each layer's LLFC error at alpha = 1/2, and of its baseline."""
    keys = layer_keys(plan)
    middle = layers[np.isclose(layers["alpha"], 0.5)]
    joined = middle.merge(trials[["run_id", *keys]], on="run_id")
    groups = joined.groupby([*keys, "index", "layer"], dropna=False, observed=True)
    return groups.agg(
        cos_error=("cos_error", "mean"),
        cos_error_sd=("cos_error", "std"),
        baseline=("baseline", "mean"),
        trials=("run_id", "count"),
    ).reset_index()


def correlation_table(found: pd.DataFrame) -> pd.DataFrame:
    """The frame of `correlations` as text, for people."""
    frame = pd.DataFrame(
        {
            "group": found["group"],
            "method": found["method"],
            "all trials": _values(found["value"]),
            "within a seed": _values(found["within"]),
            "95 % interval": _ranges(found["low"], found["high"]),
            **{column: found[column] for column in ("trials", "seeds")},
            "left out": found["left_out"],
            "repeats": found["repeats"],
            "not in every seed": found["uneven"],
        }
    )
    counts = ("left out", "repeats", "not in every seed")
    return frame.drop(columns=[name for name in counts if not frame[name].any()])


def comparison_table(found: pd.DataFrame) -> pd.DataFrame:
    """The frame of `comparisons` over all trials as text, for people."""
    return filled_columns(
        {
            "the barrier with": [label(name) for name in found["predictor"]],
            "ρ (95 % interval)": estimates(found, "within"),
            "LLFC minus it": differences(found),
            "trials": found["trials"],
            "seeds": found["seeds"],
        }
    )


def estimate(
    value: float,
    low: float = math.nan,
    high: float = math.nan,
    p: float = math.nan,
    digits: int | None = None,
) -> str:
    """An estimate with its interval and p value, as far as there are any; two decimals by default.

    >>> estimate(0.631, 0.24, 0.841), estimate(0.631, p=0.0312), estimate(math.nan)
    ('0.63 (0.24 to 0.84)', '0.63, p 0.031', '–')
    """
    if math.isnan(value):
        return "–"
    tell = two_decimals if digits is None else partial(decimals, digits=digits)
    interval = "" if math.isnan(low) else f" ({tell(low)} to {tell(high)})"
    return f"{tell(value)}{interval}" + ("" if math.isnan(p) else f", p {p:.2g}")


def estimates(found: pd.DataFrame, value: str, p: str | None = None) -> list[str]:
    """`estimate` of each row: its columns `value`, low and high, and `p` if that is a column."""
    columns = [found[name] for name in (value, "low", "high", *([p] if p else []))]
    return [estimate(*row) for row in zip(*columns, strict=True)]


def differences(found: pd.DataFrame) -> list[str]:
    """`estimate` of each row's `difference` with its interval, to a third decimal; "" without."""
    columns = [found[f"difference{end}"] for end in ("", "_low", "_high")]
    return [
        "" if math.isnan(value) else estimate(value, low, high, digits=3)
        for value, low, high in zip(*columns, strict=True)
    ]


def filled_columns(columns: Mapping[str, Any]) -> pd.DataFrame:
    """A table for people, without the columns that are blank in every row."""
    frame = pd.DataFrame(columns)
    return frame.loc[:, [not (frame[name] == "").all() for name in frame]]


def two_decimals(value: float) -> str:
    """`value` to two decimals, or two digits if that is more.

    >>> two_decimals(0.631), two_decimals(0.0012), two_decimals(15.234), two_decimals(0)
    ('0.63', '0.0012', '15.23', '0.00')
    """
    return f"{value:.2g}" if 0 < abs(value) < 0.1 else decimals(value)


def short(value: object) -> object:
    """A number to four digits; anything else as it is.

    >>> short(0.123456), short("none")
    ('0.1235', 'none')
    """
    return f"{value:.4g}" if isinstance(value, float) else value


def _values(column: "pd.Series[float]") -> list[str]:
    return ["–" if np.isnan(value) else decimals(value) for value in column]


def _ranges(low: "pd.Series[float]", high: "pd.Series[float]") -> list[str]:
    ends = zip(low, high, strict=True)
    return ["–" if np.isnan(a) else f"{decimals(a)} to {decimals(b)}" for a, b in ends]


def once(frame: pd.DataFrame, width: int = TERMINAL) -> tuple[list[str], pd.DataFrame]:
    """What every row of a frame too wide for a terminal has in common, said once.

    Returns:
        A paragraph that says it, if there is something; and the frame, its numbers `short`, without
        those columns, and without the ones that are empty. The first column always stays.
    """
    shown = frame.map(short)
    if len(frame) < 2 or _width(shown) <= width:
        return [], shown
    words = shown.astype(str)
    same = [name for name in frame.columns[1:] if words[name].nunique() == 1]
    filled = [name for name in same if frame[name].notna().all() and shown[name].iloc[0] != ""]
    said = ", ".join(f"{name} {shown[name].iloc[0]}" for name in filled)
    paragraphs = [fill(f"the same in every row: {said}", width)] if said else []
    return paragraphs, shown.drop(columns=same)


def to_text(frame: pd.DataFrame, keys: int = 1, width: int = TERMINAL) -> str:
    """`frame` for a terminal, in as many blocks of columns as it takes to fit in `width`.

    Args:
        frame: any frame.
        keys: the number of columns, from the left, that every block repeats.
        width: columns of the terminal.
    """
    left: list[str] = list(frame.columns[:keys])
    blocks: list[list[str]] = [[]]
    for column in frame.columns[keys:]:
        if blocks[-1] and _width(frame[[*left, *blocks[-1], column]]) > width:
            blocks.append([])
        blocks[-1].append(column)
    return "\n\n".join(_simple(frame[[*left, *block]]) for block in blocks)


def _simple(frame: pd.DataFrame) -> str:
    text: str = tabulate(
        frame.astype(str).to_numpy().tolist(),
        headers=[str(column) for column in frame.columns],
        tablefmt="simple",
        disable_numparse=True,
    )
    return text


def _width(frame: pd.DataFrame) -> int:
    return len(_simple(frame).splitlines()[1])


def _blocks(
    cells: pd.DataFrame, axes: tuple[str, ...]
) -> Iterator[tuple[list[tuple[str, str]], pd.DataFrame]]:
    """The cells of each combination of `axes`, in order, with what the combination is called."""
    if not axes:
        yield [], cells
        return
    first, *rest = axes
    for value in values(cells, first):
        for more, part in _blocks(rows_where(cells, first, value), tuple(rest)):
            yield [(name(first), show(first, value)), *more], part


def _error_baseline(cell: pd.DataFrame) -> str:
    if cell.empty:
        return "–"
    return f"{three_digits(cell['cos_error'].iloc[0])} / {three_digits(cell['baseline'].iloc[0])}"


def _mean_sd(cell: pd.DataFrame) -> str:
    if cell.empty:
        return "–"
    return mean_sd(cell["mean"].iloc[0], cell["sd"].iloc[0])
