"""Training curves: the error of every network by epoch. Frame in, figure out."""

import textwrap

import pandas as pd
from matplotlib.figure import Figure

from analysis.figures.style import PALETTE, WIDE, new_figure, styled

COLUMNS = 3
TITLE = 20  # characters of a line above a panel


@styled
def training_figure(found: pd.DataFrame, unconverged: set[int]) -> Figure:
    """The test error of every network against the epoch.

    A panel for each family, data set, and part of the data that networks are trained on.

    Args:
        found: the frame of `analysis.statistics.convergence.trainings`.
        unconverged: the networks that are drawn in another colour and dashed.
    """
    groups = list(found.groupby(["family", "dataset", "part"], sort=False))
    several = found["dataset"].nunique() > 1
    rows = -(-len(groups) // COLUMNS)
    figure = new_figure(WIDE, 0.6 + 1.9 * rows)
    grid = figure.subplots(rows, min(COLUMNS, len(groups)), squeeze=False).ravel()
    for axes, ((family, dataset, part), networks) in zip(grid, groups, strict=False):
        for network, epochs in networks.groupby("network"):
            judged = epochs[epochs["test_error"].notna()]
            late = network in unconverged
            axes.plot(
                judged["epoch"],
                judged["test_error"],
                color=PALETTE[1] if late else PALETTE[0],
                linestyle="--" if late else "-",
                marker="." if len(judged) < 4 else "",
                linewidth=1,
                alpha=0.7,
            )
        title = [str(family), *([str(dataset)] if several else []), *([str(part)] if part else [])]
        axes.set_title(textwrap.fill(", ".join(title), TITLE))
        axes.set_yscale("log")
        axes.set_ylabel("test error")
        axes.set_xlabel("epoch")
    for axes in grid[len(groups) :]:
        axes.set_visible(False)
    return figure
