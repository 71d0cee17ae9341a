"""The figures of the statistics: estimates with intervals, heat maps, agreement. Frame in."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from analysis.figures.style import PALETTE, WIDE, looks, new_figure, plain_number, styled
from analysis.runs.columns import decimals

# Ink on a coloured cell, which is the same on light and dark ground.
BLACK, WHITE = "#000000", "#ffffff"
# Sixteen colours each way: an eye tells no more apart, and the bar beside them is drawn one by one.
COLOURS = colormaps["RdBu_r"].resampled(33)


@styled
def forest_figure(
    rows: pd.DataFrame,
    x: str,
    *,
    zero: float | None = 0.0,
    scales: Mapping[str, str] | None = None,
    series: str = "",
    same: bool = False,
) -> Figure:
    """Estimates and their intervals under one another: one row per label, one colour per series.

    Args:
        rows: `panel`, `label`, `series`, `value`, `low`, `high`, in the order in which they are
            drawn; an estimate without an interval is a point alone. Panels are beside one another
            if they have the same labels, and otherwise under one another.
        x: what is estimated.
        zero: where there is no effect, drawn as a line; None for none.
        scales: of the x axis of a panel, as matplotlib calls it, where it is not linear.
        series: what the series are; no legend if there is one only.
        same: whether panels under one another have one x axis.
    """
    rows = rows[np.isfinite(rows["value"].to_numpy(dtype=float))]
    panels, styles = list(dict.fromkeys(rows["panel"])), looks(list(dict.fromkeys(rows["series"])))
    labels = [tuple(rows[rows["panel"] == panel]["label"].unique()) for panel in panels]
    figure, grid = _forest_axes(labels, height=0.2 + 0.07 * (len(styles) - 1), same=same)
    for axes, panel in zip(grid, panels, strict=True):
        _draw_forest(axes, rows[rows["panel"] == panel], styles)
        if zero is not None:
            axes.axvline(zero, color="#808080", linewidth=1)
        if scales and panel in scales:
            _scale_x(axes, scales[panel])
        axes.set_title(panel)
    figure.supxlabel(x, fontsize="medium")
    if len(styles) > 1:
        handles, names = grid[0].get_legend_handles_labels()
        figure.legend(handles, names, title=series, loc="outside upper center", ncols=4)
    return figure


def _forest_axes(
    labels: Sequence[tuple[str, ...]], height: float, same: bool
) -> tuple[Figure, Sequence[Axes]]:
    """A panel for each of `labels`: beside one another if these are the same, otherwise stacked."""
    lengths = [len(own) for own in labels]
    if len(set(labels)) == 1:
        figure = new_figure(WIDE, 1.0 + height * max(lengths))
        return figure, figure.subplots(1, len(labels), squeeze=False, sharey=True).ravel().tolist()
    figure = new_figure(WIDE, 0.6 + 0.6 * len(labels) + height * sum(lengths))
    ratios = [length + 1 for length in lengths]
    grid = figure.subplots(len(labels), 1, squeeze=False, sharex=same, height_ratios=ratios)
    return figure, grid.ravel().tolist()


def _scale_x(axes: Axes, scale: str) -> None:
    axes.set_xscale(scale)
    if scale == "log":
        axes.xaxis.set_major_locator(LogLocator(base=10, subs=(1, 2, 5)))
    else:  # an axis that begins at 0
        axes.set_xlim(left=-0.2)
    axes.xaxis.set_major_formatter(FuncFormatter(plain_number))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _draw_forest(axes: Axes, rows: pd.DataFrame, styles: dict[str, tuple[str, str]]) -> None:
    labels = list(dict.fromkeys(rows["label"]))
    step = 0.6 / len(styles)
    for index, (name, (colour, marker)) in enumerate(styles.items()):
        part = rows[rows["series"] == name]
        y = np.array([labels.index(label) for label in part["label"]], dtype=float)
        y += step * (index - (len(styles) - 1) / 2)
        value, low, high = (part[c].to_numpy(dtype=float) for c in ("value", "low", "high"))
        has = np.isfinite(low) & np.isfinite(high)
        axes.plot(value, y, linestyle="none", color=colour, marker=marker, label=name)
        axes.hlines(y[has], low[has], high[has], color=colour, linewidth=1.2)
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.grid(visible=False, axis="y")


@styled
def heat_figure(values: pd.DataFrame, x: str, bar: str) -> Figure:
    """Correlations in colours from -1 to 1, with their numbers; a dash where there is none.

    Args:
        values: one row per group, one column per place on the x axis.
        x: what the columns are.
        bar: what the values are.
    """
    figure = new_figure(WIDE, 1.0 + 0.28 * len(values))
    axes = figure.add_subplot()
    numbers = values.to_numpy(dtype=float)
    edges = np.arange(numbers.shape[1] + 1) - 0.5, np.arange(numbers.shape[0] + 1) - 0.5
    mesh = axes.pcolormesh(*edges, numbers, cmap=COLOURS, vmin=-1, vmax=1)
    for (row, column), number in np.ndenumerate(numbers):
        text = "–" if np.isnan(number) else decimals(number)
        ink = "#808080" if np.isnan(number) else WHITE if abs(number) > 0.6 else BLACK
        axes.text(column, row, text, ha="center", va="center", fontsize=7.5, color=ink)
    axes.set_xticks(range(numbers.shape[1]), [str(column) for column in values.columns])
    axes.set_yticks(range(numbers.shape[0]), [str(group) for group in values.index])
    axes.invert_yaxis()
    axes.grid(visible=False)
    axes.set_xlabel(x)
    figure.colorbar(mesh, label=bar, ticks=[-1, 0, 1])
    return figure


@styled
def agreement_figure(
    table: pd.DataFrame, curve: pd.DataFrame, title: str, roc_title: str
) -> Figure:
    """Left the 2×2 table of what holds, right the ROC of LLFC's threshold.

    Args:
        table: counts of trials; rows LMC holds or not, columns LLFC holds or not.
        curve: the frame of `roc`; empty if LMC holds in all trials or in none.
        title: of the table.
        roc_title: of the curve.
    """
    figure = new_figure(WIDE, 3.2)
    left, right = figure.subplots(1, 2)
    counts = table.to_numpy(dtype=float)
    shares = counts / max(counts.sum(), 1)
    left.pcolormesh(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(counts):
        ink = WHITE if shares[row, column] > 0.55 else BLACK
        left.text(column + 0.5, row + 0.5, f"{count:.0f}", ha="center", va="center", color=ink)
    left.set_xticks([0.5, 1.5], list(table.columns))
    left.set_yticks([0.5, 1.5], list(table.index), rotation=90, va="center")
    left.invert_yaxis()
    left.grid(visible=False)
    left.set_title(title)
    right.plot([0, 1], [0, 1], "--", color="#808080", linewidth=1)
    right.plot(
        curve["false_positives"],
        curve["true_positives"],
        color=PALETTE[0],
        clip_on=False,
    )
    right.set_xlabel("of trials without LMC, share with LLFC")
    right.set_ylabel("of trials with LMC, share with LLFC")
    right.set_aspect("equal")
    right.set_title(roc_title)
    return figure
