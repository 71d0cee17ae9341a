"""The figures of a pair: loss and error on the line, and how linear each layer is."""

import importlib.util
import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from llfc.results import METRICS, SPLITS, Connection, midpoint

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe & Ito, "Color Universal Design" (2008); read on light and on dark ground.
COLOURS = {"test": "#D55E00", "train": "#0072B2"}
INK = "#1a1b1e"  # which becomes the page's own
NAMED = 30  # layers that are named under a figure
STYLE: Any = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "grid.color": "#808080",
    "legend.frameon": False,
    "svg.hashsalt": "llfc",
    "svg.fonttype": "none",
    **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor"), INK),
    **dict.fromkeys(("xtick.color", "ytick.color"), INK),
}


def can_draw() -> bool:
    """Whether matplotlib is installed."""
    return importlib.util.find_spec("matplotlib") is not None


def draw(found: Connection, folder: Path) -> dict[str, str]:
    """Write each figure into `folder` as SVG and PNG; by name, its SVG to be put into a page."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    drawn = {}
    with mpl.rc_context(STYLE):
        for name, fill in (("curve", _curve), ("layers", _layers)):
            figure = Figure(figsize=(8.4, 3.4), layout="constrained")
            fill(figure, found)
            drawn[name] = _svg(figure)
            (folder / f"{name}.svg").write_text(drawn[name], encoding="utf-8")
            figure.savefig(folder / f"{name}.png", dpi=150, facecolor="white")
    return {name: re.sub(rf"(?i){INK}", "currentColor", svg) for name, svg in drawn.items()}


def _svg(figure: "Figure") -> str:
    """The figure as an element of HTML."""
    text = io.StringIO()
    figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    return text.getvalue()[text.getvalue().index("<svg") :]


def _curve(figure: "Figure", found: Connection) -> None:
    """Loss and error at every position, with the chords between the ends."""
    alpha = found.curve["alpha"]
    for axes, metric in zip(figure.subplots(1, 2), METRICS, strict=True):
        for split in SPLITS:
            values = found.curve[f"{split}_{metric}"]
            if np.isnan(values).all():
                continue
            barrier, colour = found.barriers[f"{split}_{metric}_chord"], COLOURS[split]
            label = f"{split}, barrier {barrier:.3g}"
            axes.plot(alpha, values, "-o", color=colour, markersize=3, label=label)
            axes.plot([0, 1], values[[0, -1]], "--", color=colour, linewidth=1)
        axes.set_xlabel("α  (0: A, 1: B)")
        axes.set_ylabel(metric)
        _legend(axes)


def _layers(figure: "Figure", found: Connection) -> None:
    """The LLFC error of each layer at the midpoint, beside how far A's and B's features differ."""
    middle = midpoint(found.curve["alpha"])
    errors = [layer.cos_error[middle] for layer in found.layers]
    axes = figure.add_subplot()
    axes.plot(errors, "-o", color=COLOURS["test"], markersize=3, label="LLFC error, α = 1/2")
    baseline = [layer.baseline for layer in found.layers]
    axes.plot(baseline, "--s", color=COLOURS["train"], markersize=3, label="A against B")
    _name(axes, [layer.name for layer in found.layers])
    axes.set_ylabel("1 − cosine, mean over samples")
    axes.set_ylim(bottom=0)
    _legend(axes)


def _legend(axes: "Axes") -> None:
    """Above the axes, where it hides nothing."""
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)


def _name(axes: "Axes", names: Sequence[str]) -> None:
    """Name the layers, every n-th if they are many."""
    step = max(1, -(-len(names) // NAMED))
    axes.set_xticks(range(0, len(names), step), names[::step], rotation=45, ha="right")
