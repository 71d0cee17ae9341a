"""A figure for the page of each measure: what it is computed from, and what it gives of a pair."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from docs.tools.colours import BETWEEN, TEXT, A, B
from docs.tools.pictures import SETTINGS, as_svg
from docs.tools.small_pair import SAID, measured
from llfc.results import Table

Figures = Sequence[Figure]

LAYERS = 4  # of the pair
PAIRS = {"matched": BETWEEN, "unmatched": B, "shuffled": TEXT}


def figure_of_measure(name: str) -> str:
    """The Markdown of the figure of the measure called `name`."""
    draw, said = FIGURES[name]
    with matplotlib.rc_context(SETTINGS):
        figures = draw()
        for figure in figures:
            figure.tight_layout()
        svg = "".join(line for figure in figures for line in as_svg(figure).splitlines())
    return f'<div class="picture" role="img" aria-label="{said}">{svg}</div>\n\n{said}. {SAID}.\n'


def _table(name: str) -> Table:
    return measured().tables[name]


def _rows(table: Table, **where: str) -> dict[str, Any]:
    """The columns of those rows that have these values."""
    chosen = [all(table[c][i] == v for c, v in where.items()) for i in range(len(table["layer"]))]
    return {c: [x for x, is_in in zip(xs, chosen, strict=True) if is_in] for c, xs in table.items()}


def _beside() -> tuple[Figures, Axes, Axes]:
    """A drawing, and a plot on its right; on a phone, below it."""
    figures = [plt.subplots(figsize=(width, 2.6)) for width in (2.8, 3.9)]
    (_, left), (_, right) = figures
    return [figure for figure, _ in figures], left, right


def _of_layers(axes: Axes, layers: Sequence[str], series: Mapping[str, tuple[Any, str]]) -> None:
    """A point for each layer, from the first at the top, in the colour of each series."""
    for name, (values, colour) in series.items():
        axes.plot(values, range(len(layers)), "o", color=colour, label=name, alpha=0.8)
    axes.set_yticks(range(len(layers)), layers)
    axes.set_ylim(len(layers) - 0.5, -0.5)
    axes.grid(axis="y", color=TEXT, alpha=0.15)
    place = {"loc": "lower left", "bbox_to_anchor": (-0.05, 1), "ncols": 2}
    axes.legend(fontsize=8, handletextpad=0.1, columnspacing=1, **place)


def _stack(axes: Axes, column: float, colours: Sequence[tuple[str, ...]], title: str) -> None:
    """A network as boxes, its layers from top to bottom, each in one colour or in two halves."""
    for layer, halves in enumerate(colours):
        for half, colour in enumerate(halves):
            width = 1 / len(halves)
            place = column + half * width, LAYERS - 1 - layer
            axes.add_patch(Rectangle(place, width, 0.72, color=colour, linewidth=0))
    axes.text(column + 0.5, LAYERS + 0.05, title, ha="center")


def _framed(axes: Axes, width: float) -> None:
    axes.set(xlim=(-0.1, width), ylim=(-0.2, LAYERS + 0.6))
    axes.set_axis_off()


def conditions() -> Figures:
    """Additivity: the mean of two values of a ReLU, and the ReLU of their mean."""
    figures, left, right = _beside()
    h = np.linspace(-2, 2.4, 100)
    left.plot(h, np.maximum(h, 0), color=TEXT, linewidth=1)
    left.plot([-1.2, 2], [0, 2], ":", color=TEXT)
    for x, colour, name in ((-1.2, A, "A"), (2.0, B, "B")):
        left.plot(x, max(x, 0), "o", color=colour)
        left.text(x, max(x, 0) + 0.2, name, color=colour, ha="center")
    left.plot([0.4, 0.4], [0.4, 1.0], color=BETWEEN, linewidth=2)
    left.text(0.25, 1.05, "u", ha="right", color=BETWEEN)
    left.text(0.55, 0.2, "v", color=BETWEEN)
    left.set(xlabel="pre-activation", ylabel="σ", xticks=[], yticks=[], ylim=(-0.3, 2.6))
    table = _table("additivity")
    found = {pair: _rows(table, pair=pair) for pair in PAIRS}
    series = {pair: (found[pair]["dist"], colour) for pair, colour in PAIRS.items()}
    _of_layers(right, found["matched"]["layer"], series)
    right.set(xlabel="additivity: dist(u, v)", xlim=(0, None))
    return figures


def layer_barriers() -> Figures:
    """One layer at the midpoint of A and B, all others A's, or B's."""
    figures, left, right = _beside()
    for column, rest, title in ((0.0, A, "rest A's"), (1.6, B, "rest B's")):
        layers = [(rest,)] * LAYERS
        layers[1] = (A, B)
        _stack(left, column, layers, title)
    _framed(left, 2.8)
    table = _table("layer_barriers")
    found = {f"rest {end.upper()}'s": _rows(table, rest=end) for end in "ab"}
    series = {n: (found[n]["loss_excess"], c) for n, c in zip(found, (A, B), strict=True)}
    _of_layers(right, found["rest A's"]["layer"], series)
    right.set(xlabel="loss above that of the whole network")
    return figures


def random_direction() -> Figures:
    """As far from an end as the midpoint, in a direction drawn at random."""
    figures, left, right = _beside()
    left.plot([0, 2], [0, 0], color=TEXT, linewidth=1)
    turn = np.linspace(0, 2 * np.pi, 100)
    for x, colour, name, angle in ((0, A, "A", 2.0), (2, B, "B", 1.2)):
        left.plot(x + np.cos(turn), np.sin(turn), ":", color=colour, linewidth=1)
        end = x + np.cos(angle), np.sin(angle)
        left.plot([x, end[0]], [0, end[1]], color=colour)
        left.plot(*end, "s", color=colour)
        left.plot(x, 0, "o", color=colour)
        left.text(x, -0.35, name, color=colour, ha="center")
    left.plot(1, 0, "o", color=BETWEEN)
    left.text(1, -0.35, "1/2", color=BETWEEN, ha="center")
    left.set(xlim=(-1.2, 3.2), ylim=(-1.2, 1.2), aspect="equal")
    left.set_axis_off()
    curve, table = measured().curve["test_loss"], _table("random_direction")
    rows = [
        ("A", curve[0], A),
        ("random, from A", table["loss"][0], A),
        ("midpoint of the line", curve[1], BETWEEN),
        ("random, from B", table["loss"][1], B),
        ("B", curve[2], B),
    ]
    for row, (name, value, colour) in enumerate(rows):
        right.plot(value, row, "s" if "random" in name else "o", color=colour)
    right.set_yticks(range(len(rows)), [name for name, *_ in rows])
    right.invert_yaxis()
    right.set(xlabel="test loss", xlim=(0, None))
    right.grid(axis="y", color=TEXT, alpha=0.15)
    return figures


def samples() -> Figures:
    """How many images have which LLFC error, layer by layer, and which baseline."""
    table = _table("histogram")
    layers = list(dict.fromkeys(table["layer"]))[-3:]
    panels = [plt.subplots(figsize=(2.3, 2.3)) for _ in layers]
    most = max(*table["cos_error"], *table["baseline"])
    for (_, axes), layer in zip(panels, layers, strict=True):
        found = _rows(table, layer=layer)
        for column, colour, name in (
            ("cos_error", BETWEEN, "LLFC error"),
            ("baseline", TEXT, "baseline"),
        ):
            edges = [*found["low"][1:], found["high"][-1]]
            axes.stairs(found[column][1:], edges, color=colour, label=name, linewidth=1.5)
        axes.set(xscale="log", xlim=(1e-4, 2), ylim=(0, most))
        axes.set(title=layer, xlabel="1 − cos", ylabel="images")
        axes.legend(fontsize=8, loc="upper left")
    return [figure for figure, _ in panels]


def similarity() -> Figures:
    """A feature's spread in A, in B and in the blend; and how alike the networks are."""
    figures, left, right = _beside()
    x = np.linspace(-4, 6, 200)
    for mean, spread, colour, name in ((0, 1, A, "A"), (2, 1, B, "B"), (1, 0.55, BETWEEN, "blend")):
        density = np.exp(-(((x - mean) / spread) ** 2) / 2)
        left.plot(x, density, color=colour)
        left.text(1 + 1.4 * (mean - 1), 1.05, name, color=colour, ha="center")
    left.set(xlabel="a feature over images", yticks=[], xticks=[], ylim=(0, 1.25))
    left.spines["left"].set_visible(False)
    table = _table("similarity")
    series = {
        "variance ratio": (table["variance_ratio"], BETWEEN),
        "CKA of A and B": (table["cka_ab"], TEXT),
        "CKA of blend and A": (table["cka_a"], A),
        "CKA of blend and B": (table["cka_b"], B),
    }
    _of_layers(right, list(table["layer"]), series)
    right.set(xlim=(0, 1.05))
    return figures


def stitching() -> Figures:
    """The layers of one network up to a probe, then those of the other."""
    figures, left, right = _beside()
    for column, first, then, title in ((0.0, A, B, "into B"), (1.6, B, A, "into A")):
        _stack(left, column, [(first,)] * 2 + [(then,)] * 2, title)
    _framed(left, 2.8)
    table = _table("stitching")
    found = {f"into {end.upper()}": _rows(table, into=end) for end in "ab"}
    series = {n: (found[n]["error"], c) for n, c in zip(found, (A, B), strict=True)}
    _of_layers(right, found["into A"]["layer"], series)
    right.set(xlabel="test error", xlim=(0, None))
    return figures


FIGURES: Mapping[str, tuple[Callable[[], Figures], str]] = {
    "conditions": (
        conditions,
        "First, additivity at one unit: u is the mean of A's and B's activations, v that of the"
        " mean pre-activation; then their distance in every layer",
    ),
    "layer-barriers": (
        layer_barriers,
        "First, one layer half way between A and B, the others A's or B's; then the loss above"
        " that of A, or of B, for every layer",
    ),
    "random-direction": (
        random_direction,
        "First, as far from A and from B as the midpoint is, in a random direction; then the test"
        " loss at all these points",
    ),
    "samples": (
        samples,
        "How many images have which LLFC error, and which baseline 1 − cos between A and B, in the"
        " last three layers that are probed",
    ),
    "similarity": (
        similarity,
        "First, a feature whose spread has collapsed in the blend; then the ratio of variances and"
        " the CKA in every layer",
    ),
    "stitching": (
        stitching,
        "First, the layers of one network followed by those of the other; then the error where"
        " they meet after each layer",
    ),
}
