"""The figures of what a trial measured beside its curve: by layer, one figure a measure."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from analysis.figures.style import MARKERS, PALETTE, new_figure, styled
from analysis.figures.trial import (
    ALPHA_LABEL,
    curve_figure,
    layers_figure,
    legend_above,
    name_layers,
    names_step,
    scale_of,
)
from llfc.results import Connection, Table

# The same colours for every trial, so that two heat maps can be laid side by side.
LLFC_LIMITS = 1e-4, 1.0
PAIR_LABELS = {
    "matched": "A and B",
    "shuffled": "A and B on different images",
    "unmatched": "A and B before matching",
}


@styled
def heatmap_figure(found: Connection, title: str) -> Figure:
    """LLFC error of every layer at every position on the line, in colours from 1e-4 to 1.

    What is smaller, as at both ends, where the error is zero, has the darkest colour.
    """
    names = [layer.name for layer in found.layers]
    error = np.array([layer.cos_error for layer in found.layers])
    figure = new_figure(7.2, 1.4 + 0.17 * len(names))
    axes = figure.add_subplot()
    low, high = LLFC_LIMITS
    alpha = found.curve["alpha"]
    mesh = axes.pcolormesh(
        alpha,
        np.arange(len(names)),
        np.maximum(error, low),
        cmap="cividis",
        norm=LogNorm(low, high),
    )
    axes.grid(visible=False)
    step = names_step(len(names))
    axes.set_yticks(range(0, len(names), step), names[::step])
    axes.invert_yaxis()  # the input on top, as one reads
    axes.set_xlabel(ALPHA_LABEL)
    figure.colorbar(mesh, label="LLFC error: 1 − cosine", extend="both")
    figure.suptitle(title)
    return figure


@styled
def conditions_figure(found: Connection, title: str) -> Figure:
    """Weak additivity at each activation and commutativity at each layer, with their controls."""
    additivity, commutativity = found.tables["additivity"], found.tables["commutativity"]
    figure = new_figure(8.4, 4.0)
    left, right = figure.subplots(1, 2)
    _draw_kinds(left, additivity, "dist", "pair", PAIR_LABELS)
    left.set_ylabel("weak additivity: Dist σ")
    _draw_kinds(right, commutativity, "dist_com", "pair", PAIR_LABELS)
    rows = [i for i, kind in enumerate(commutativity["pair"]) if kind == "matched"]
    for offset, (column, label) in enumerate({"dist_w": "Dist W", "dist_h": "Dist H"}.items()):
        values = np.asarray(commutativity[column])[rows]
        right.plot(values, ":", marker="x+"[offset], color=PALETTE[3 + offset], label=label)
    right.set_ylabel("commutativity: Dist com")
    for axes in (left, right):
        axes.set_ylim(bottom=0)
        legend_above(axes)
    figure.suptitle(title)
    return figure


@styled
def stitching_figure(found: Connection, title: str) -> Figure:
    """Error with one network's feature in the other's remaining layers, by layer."""
    table = found.tables["stitching"]
    figure = new_figure(7.2, 3.6)
    axes = figure.add_subplot()
    labels = {"b": "A's feature, B's rest", "a": "B's feature, A's rest"}
    label, scale, _ = scale_of(found, "error")
    _draw_kinds(axes, table, "error", "into", labels, scale=scale)
    error = scale * found.curve["test_error"]
    # Dashes in each other's gaps: often the two are one height.
    for value, end, gap, colour in (
        (error[0], "A", 0, PALETTE[3]),
        (error[-1], "B", 5, PALETTE[4]),
    ):
        dashes = (gap, (5, 5))
        axes.axhline(value, linestyle=dashes, color=colour, linewidth=1.2, label=f"{end} itself")
    axes.set_ylabel(f"test {label}")
    axes.set_ylim(bottom=0)
    legend_above(axes)
    figure.suptitle(title)
    return figure


# The figures that need a table, by the table.
OF_TABLES: Mapping[str, tuple[str, Callable[[Connection, str], Figure]]] = {
    "commutativity": ("conditions", conditions_figure),
    "stitching": ("stitching", stitching_figure),
}


def trial_figures(found: Connection, title: str) -> dict[str, Figure]:
    """Every figure of a trial that `found` has the numbers for, by name."""
    always = {"curve": curve_figure, "layers": layers_figure, "heatmap": heatmap_figure}
    of_tables = {
        name: draw
        for table, (name, draw) in OF_TABLES.items()
        if found.tables.get(table, {}).get("layer")
    }
    return {name: draw(found, title) for name, draw in {**always, **of_tables}.items()}


def _draw_kinds(
    axes: Axes,
    table: Table,
    column: str,
    kind: str,
    labels: Mapping[str, str] | None = None,
    scale: float = 1.0,
) -> None:
    """`column` over the layers, a line for each word in `kind`."""
    kinds: Sequence[str] = list(dict.fromkeys(str(word) for word in table[kind]))
    values = np.asarray(table[column], dtype=np.float64) * scale
    layers: list[str] = []
    for index, word in enumerate(kinds):
        rows = [i for i, other in enumerate(table[kind]) if other == word]
        layers = [str(table["layer"][i]) for i in rows]
        axes.plot(
            values[rows],
            "-" + MARKERS[index],
            color=PALETTE[index],
            label=(labels or {}).get(word, word),
        )
    name_layers(axes, layers)
