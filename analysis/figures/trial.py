"""The figures of one trial (of a sweep: `analysis.figures.sweep`). Records in, Figure out."""

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.figures.style import PALETTE, new_figure, styled
from analysis.runs.schema import CHANCE_ERROR
from llfc.results import METRICS, SPLITS, Connection, midpoint

# Tick labels that fit under a figure; of more layers, some go unnamed.
NAMED_LAYERS = 28
# Of classes: the label of each metric's axis, what values are multiplied by, and a barrier's unit.
OF_CLASSES = {
    "loss": ("cross-entropy loss (nats)", 1.0, ""),
    "error": ("error rate (%)", 100.0, " points"),
}
ALPHA_LABEL = "α  (0: network A, 1: network B)"


@styled
def curve_figure(found: Connection, title: str) -> Figure:
    """Loss and error rate on the line between two networks, train and test, with their chords.

    The legend gives each curve's chord barrier: its largest height above the chord.
    """
    figure = new_figure(8.4, 3.4, fitted=False)
    # A fixed layout: every trial of a sweep draws this figure, and fitting one doubles its cost.
    figure.subplots_adjust(left=0.08, right=0.985, bottom=0.15, top=0.8, wspace=0.22)
    for axes, metric in zip(figure.subplots(1, 2), METRICS, strict=True):
        for split, colour in zip(SPLITS, (PALETTE[0], PALETTE[1]), strict=True):
            _draw_curve(axes, found, split, metric, colour)
        axes.set_xlabel(ALPHA_LABEL)
        axes.set_ylabel(scale_of(found, metric)[0])
        axes.set_ylim(bottom=0)
        legend_above(axes)
    figure.suptitle(title)
    return figure


def scale_of(found: Connection, metric: str) -> tuple[str, float, str]:
    """As in OF_CLASSES; other tasks have units of their own."""
    of_classes = not math.isnan(found.summaries.get(CHANCE_ERROR, math.nan))
    return OF_CLASSES[metric] if of_classes else (metric, 1.0, "")


def _draw_curve(axes: Axes, found: Connection, split: str, metric: str, colour: str) -> None:
    _, scale, unit = scale_of(found, metric)
    alpha, values = found.curve["alpha"], scale * found.curve[f"{split}_{metric}"]
    barrier = scale * found.barriers[f"{split}_{metric}_chord"]
    label = f"{split}, barrier {barrier:.3g}{unit}"
    axes.plot(alpha, values, "-o", color=colour, markersize=3, label=label)
    axes.plot([0, 1], [values[0], values[-1]], "--", color=colour, linewidth=1)


@styled
def layers_figure(found: Connection, title: str) -> Figure:
    """LLFC error of each layer at alpha = 1/2 beside what trivial agreement would give.

    Bars are one standard deviation over test images, cut at zero, which no error goes below.
    """
    middle = midpoint(found.curve["alpha"])
    index = np.arange(len(found.layers))
    error = np.array([layer.cos_error[middle] for layer in found.layers])
    spread = np.array([layer.cos_error_std[middle] for layer in found.layers])
    baseline = np.array([layer.baseline for layer in found.layers])
    baseline_spread = np.array([layer.baseline_std for layer in found.layers])
    figure = new_figure(7.2, 3.6)
    axes = figure.add_subplot()
    _draw_bars(axes, index - 0.08, error, spread, PALETTE[0], "o-", "LLFC error, α = 1/2")
    label = "baseline: A against B"
    _draw_bars(axes, index + 0.08, baseline, baseline_spread, PALETTE[1], "s--", label)
    name_layers(axes, [layer.name for layer in found.layers])
    axes.set_ylabel("1 − cosine (mean over test images)")
    axes.set_ylim(bottom=0)
    legend_above(axes)
    figure.suptitle(title)
    return figure


def legend_above(axes: Axes) -> None:
    """Put the legend between title and axes, where it hides nothing."""
    axes.legend(
        loc="lower center",
        bbox_to_anchor=(0.5, 0.99),
        ncols=2,
        borderaxespad=0.2,
        columnspacing=1.2,
        handlelength=1.6,
        handletextpad=0.5,
    )


def _draw_bars(
    axes: Axes,
    x: np.ndarray,
    mean: np.ndarray,
    spread: np.ndarray,
    colour: str,
    line: str,
    label: str,
) -> None:
    below = np.minimum(spread, np.maximum(mean, 0))
    axes.errorbar(x, mean, (below, spread), fmt=line, color=colour, label=label, elinewidth=0.8)


def name_layers(axes: Axes, names: list[str]) -> None:
    """Put the layers' names under the x axis, every n-th if they are many."""
    step = names_step(len(names))
    axes.set_xticks(range(0, len(names), step), names[::step], rotation=45, ha="right")
    axes.set_xlabel("layer, in forward order" + (f" (1 in {step} named)" if step > 1 else ""))


def names_step(count: int) -> int:
    """Of `count` layers, every which one is named."""
    return max(-(-count // NAMED_LAYERS), 1)
