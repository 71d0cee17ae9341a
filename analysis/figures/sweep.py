"""The figures of a sweep: frame in, Figure out."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

from analysis.answers.tables import layer_keys, layer_means
from analysis.figures.marks import mark
from analysis.figures.style import WIDE, looks, new_figure, plain_number, styled
from analysis.figures.trial import name_layers
from analysis.runs.columns import heading
from analysis.runs.grid import LOGARITHMIC, GridLayout, name, panels, rows_where, show, values

COLUMNS = 3  # panels beside one another


@styled
def barrier_figure(trials: pd.DataFrame, column: str, plan: GridLayout) -> Figure:
    """`column` against the sweep's axis: means, joined where the axis is ordered, and trials.

    Both axes are logarithmic where all values are positive; where a barrier is zero or negative,
    the y axis is linear below the smallest positive one.
    """
    parts = list(panels(trials, plan.panels))
    figure, grid = _grid_of_axes(len(parts), height=3.2)
    for axes, (title, rows) in zip(grid, parts, strict=True):
        _scale_x(axes, trials, plan.x, letters=30 if len(parts) < COLUMNS else 12)
        for series, (colour, marker) in _looks(trials, plan.series):
            part = rows_where(rows, plan.series, series)
            text = show(plan.series, series)
            points: Any = {"color": colour, "marker": marker}
            dots = axes.scatter(
                _places(trials, part, plan.x),
                part[column],
                alpha=0.35,
                s=14,
                linewidths=0,
                **points,
            )
            mark(dots, part["run_id"])
            means = part.groupby(plan.x, dropna=False, sort=False)[column].mean().reset_index()
            means = means.assign(place=_places(trials, means, plan.x)).sort_values("place")
            axes.plot(means["place"], means[column], **points, linestyle="none", label=text)
            # Only what has an order is joined: numbers, and not None to them, nor names.
            ordered = means[means[plan.x].map(_has_order).astype(bool)]
            axes.plot(ordered["place"], ordered[column], color=colour)
        axes.set_title(title.replace(", ", "\n"))
        _scale_y(axes, trials[column])
    _name(figure, grid, name(plan.x), heading(column, trials), name(plan.series))
    return figure


@styled
def profile_figure(trials: pd.DataFrame, layers: pd.DataFrame, plan: GridLayout) -> Figure:
    """LLFC error at alpha = 1/2 by layer, averaged over trials, beside its baseline (dashed).

    Bands are one standard deviation over trials, cut at zero.
    """
    means = layer_means(trials, layers, plan)
    parts = list(panels(means, tuple(layer_keys(plan)[:-1])))
    figure, grid = _grid_of_axes(len(parts), height=3.6)
    for axes, (title, rows) in zip(grid, parts, strict=True):
        for series, (colour, marker) in _looks(means, plan.series):
            part = rows_where(rows, plan.series, series).sort_values("index")
            x, mean, sd = part["index"], part["cos_error"], part["cos_error_sd"].fillna(0)
            line: Any = {"color": colour, "marker": marker}
            axes.plot(x, mean, **line, label=show(plan.series, series))
            axes.plot(x, part["baseline"], "--", **line, linewidth=1, markersize=2.5)
            low = np.maximum(mean - sd, 0)
            axes.fill_between(x, low, mean + sd, color=colour, alpha=0.15, linewidth=0)
        axes.set_title(title.replace(", ", "\n"))
        names = rows.drop_duplicates("index").sort_values("index")["layer"]
        name_layers(axes, names.tolist())
    grid[0].set_ylim(bottom=0)  # of all panels, and not before the last is drawn: it fixes the top
    _name(figure, grid, None, "1 − cosine", f"{name(plan.series)} (dashed: baseline, A against B)")
    return figure


@styled
def by_layer_figure(
    measures: Mapping[str, pd.DataFrame], plan: GridLayout, kinds: Sequence[str]
) -> Figure:
    """Means by layer: one column of panels per measure, one row per family, one colour per series.

    Args:
        measures: frames of `measure_means`, by what their values are.
        plan: as they were made with.
        kinds: the values of `kind`, the first drawn solid, the others dashed and dotted.
    """
    *families, series = layer_keys(plan)
    every = pd.concat(list(measures.values()))
    rows = list(panels(every, tuple(families)))
    figure = new_figure(WIDE, 0.8 + 2.5 * len(rows))
    grid = figure.subplots(len(rows), len(measures), squeeze=False)
    looks_of = _looks(every, series)
    for column, (title, means) in enumerate(measures.items()):
        parts = dict(panels(means, tuple(families)))
        for axes, (family, _) in zip(grid[:, column], rows, strict=True):
            part = parts.get(family, means.iloc[:0])
            for value, (colour, marker) in looks_of:
                _draw_kinds(axes, rows_where(part, series, value), kinds, colour, marker)
                axes.plot([], [], color=colour, marker=marker, label=show(series, value))
            names = part.drop_duplicates("index").sort_values("index")["layer"]
            name_layers(axes, names.tolist())
            axes.set_ylim(bottom=0)
            axes.set_ylabel(title)
            axes.set_title(family)
    handles, names = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, names, title=name(series), loc="outside upper center", ncols=4)
    return figure


def _draw_kinds(
    axes: Axes, means: pd.DataFrame, kinds: Sequence[str], colour: str, marker: str
) -> None:
    for kind, line in zip(kinds, ("-", "--", ":"), strict=False):
        part = means[means["kind"] == kind].sort_values("index")
        first: Any = {"marker": marker} if kind == kinds[0] else {"linewidth": 1}
        axes.plot(part["index"], part["mean"], line, color=colour, **first)
        if kind == kinds[0]:
            sd = part["sd"].fillna(0)
            low = np.maximum(part["mean"] - sd, 0)
            axes.fill_between(
                part["index"], low, part["mean"] + sd, color=colour, alpha=0.15, linewidth=0
            )


@styled
def scatter_figure(trials: pd.DataFrame, x: str, y: str, series: str, title: str = "") -> Figure:
    """One point per trial: `y` against `x`, one colour and one marker per series."""
    figure = new_figure(WIDE, 3.6)
    axes = figure.add_subplot()
    for value, (colour, marker) in _looks(trials, series):
        part = rows_where(trials, series, value)
        dots = axes.scatter(
            part[x],
            part[y],
            s=24,
            color=colour,
            marker=marker,
            alpha=0.75,
            linewidths=0,
            label=show(series, value),
        )
        mark(dots, part["run_id"])
    axes.set_xlabel(f"{heading(x)}, α = 1/2" if x.startswith("llfc_") else heading(x, trials))
    axes.set_ylabel(heading(y, trials))
    axes.set_title(title)
    figure.legend(title=name(series), loc="outside upper center", ncols=4)
    return figure


def _has_order(value: Any) -> bool:
    return isinstance(value, int | float) and not pd.isna(value)


def _grid_of_axes(count: int, height: float) -> tuple[Figure, list[Axes]]:
    across = min(count, COLUMNS)
    down = -(-count // across)
    figure = new_figure(WIDE, height * down + 0.4)
    grid = figure.subplots(down, across, squeeze=False, sharey=True).ravel().tolist()
    for spare in grid[count:]:
        spare.remove()
    return figure, grid[:count]


def _name(figure: Figure, grid: Sequence[Axes], x: str | None, y: str, series: str) -> None:
    """Name the axes of all panels, and the series once, under them."""
    if x is not None:
        figure.supxlabel(x, fontsize="medium")
    figure.supylabel(y, fontsize="medium")
    named: dict[str, Any] = {}
    for handle, text in itertools.chain.from_iterable(
        zip(*axes.get_legend_handles_labels(), strict=True) for axes in grid
    ):
        named.setdefault(text, handle)
    figure.legend(
        list(named.values()), list(named), title=series, loc="outside upper center", ncols=4
    )


def _looks(trials: pd.DataFrame, axis: str) -> list[tuple[Any, tuple[str, str]]]:
    """Each value of `axis` with its colour and marker."""
    found = values(trials, axis)
    return list(zip(found, looks([show(axis, value) for value in found]).values(), strict=True))


def _to_scale(trials: pd.DataFrame, axis: str) -> bool:
    """Whether `axis` is drawn to scale: it has numbers, and all its values are numbers."""
    return axis in LOGARITHMIC and bool(trials[axis].notna().all())


def _places(trials: pd.DataFrame, rows: pd.DataFrame, axis: str) -> list[float]:
    """Where the rows lie on the x axis: at their value, or at their category's place."""
    if _to_scale(trials, axis):
        return [float(value) for value in rows[axis]]
    order = [show(axis, value) for value in values(trials, axis)]
    return [float(order.index(show(axis, None if pd.isna(v) else v))) for v in rows[axis]]


def _scale_x(axes: Axes, trials: pd.DataFrame, axis: str, letters: int) -> None:
    """Ticks for the values of `axis`; names of more `letters` in all are turned."""
    found = values(trials, axis)
    names = [show(axis, value) for value in found]
    if _to_scale(trials, axis):
        axes.set_xscale("log", base=2)
        axes.set_xticks([float(value) for value in found], names)
        axes.xaxis.set_minor_locator(NullLocator())
        axes.margins(x=0.08)
    else:
        turned: Any = {"rotation": 30, "ha": "right"} if len("".join(names)) > letters else {}
        axes.set_xticks(range(len(names)), names, **turned)
        axes.set_xlim(-0.5, len(names) - 0.5)


def _scale_y(axes: Axes, column: "pd.Series[float]") -> None:
    positive = column[column > 0]
    if positive.empty:
        return
    if (column <= 0).any():
        axes.set_yscale("symlog", linthresh=float(positive.min()))
        return
    axes.set_yscale("log")
    low, high = float(column.min()), float(column.max())
    steps = (1, 2, 5) if high < 100 * low else (1,)
    axes.yaxis.set_major_locator(LogLocator(base=10, subs=steps))
    axes.yaxis.set_major_formatter(FuncFormatter(plain_number))
    axes.yaxis.set_minor_formatter(NullFormatter())
