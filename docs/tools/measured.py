"""Figures of what was measured, for the pages of matchers and corrections: from `docs/results`."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from docs.tools.colours import BETWEEN, TEXT
from docs.tools.pictures import SETTINGS, as_svg

RESULTS = Path(__file__).parents[1] / "results"
BARRIER = "test_loss_chord"
OF_MLPS = (
    "Barrier of the test loss (nats) of independent MLPs of 128 units on Fashion-MNIST, three"
    " seeds; {which}. [The numbers](../results/earlier.md#matchers-and-corrections)."
)
OF_RESNET = (
    "Barrier of the test loss (nats) of one pair of ResNet-20 of width 1/4 with batch norms on 5000"
    " images; in colour with `{name}`, otherwise without correction."
)
OF_GPT = (
    "Test loss (nats a character) along the line between gpt of 2 blocks and 64 channels in"
    " canonical form, trained apart, five pairs: in colour with `{name}`, otherwise B as it is."
    " [The numbers](../results/study.md#transformers-need-more-than-permutations)."
)
WHICH = {
    "matching": "no correction, `{name}` in colour",
    "correction": "in colour with `{name}`, otherwise without correction",
}


def figure_of(option: str, name: str) -> str:
    """The Markdown of a figure for an entry, or nothing where it was not measured."""
    if option not in WHICH:
        return ""
    mlps, resnets, curves = _frame("matching.trials"), _resnets(), _curves()
    if name in set(mlps[option]):
        said = OF_MLPS.format(which=WHICH[option].format(name=name))
        return _shown(lambda: _barriers(mlps, option, name), f"Barriers, {name} in colour", said)
    if name in set(resnets[option]):
        said = OF_RESNET.format(name=name)
        return _shown(lambda: _barriers(resnets, option, name), f"Barriers, {name} in colour", said)
    if option == "matching" and name in set(curves["matching"]):
        label = f"Test loss along the line, with {name} and without"
        return _shown(lambda: _lines(curves, name), label, OF_GPT.format(name=name))
    return ""


def _shown(draw: Callable[[], Figure], label: str, caption: str) -> str:
    with matplotlib.rc_context(SETTINGS):
        figure = draw()
        figure.tight_layout()
        svg = "".join(as_svg(figure).splitlines())
    return f'<div class="picture" role="img" aria-label="{label}">{svg}</div>\n\n{caption}\n'


@cache
def _frame(name: str) -> pd.DataFrame:
    return pd.read_parquet(RESULTS / f"{name}.parquet")


def _resnets() -> pd.DataFrame:
    """Those with batch norms, less the matchers that read units elsewhere then."""
    trials = _frame("matching-small.trials")
    by_features = trials["matching"].str.startswith("activations")
    return trials[(trials["architecture"] == "resnet20") & ~by_features]


def _curves() -> pd.DataFrame:
    trials = _frame("study-gpt.trials")
    trials = trials[trials["form"] == "canonical"]
    return _frame("study-gpt.curves").merge(trials[["run_id", "matching"]], on="run_id")


def _barriers(trials: pd.DataFrame, option: str, name: str) -> Figure:
    """A row for each matcher, the best at the top, with the entry's points in colour."""
    plain = trials[trials["correction"] == "none"]
    order = list(plain.groupby("matching")[BARRIER].mean().sort_values().index)
    shown = trials[trials[option] == name]
    if option == "matching":
        shown = shown[shown["correction"] == "none"]
    figure, axes = plt.subplots(figsize=(6.4, 2.6))
    for frame, colour, strength in ((plain, TEXT, 0.35), (shown, BETWEEN, 1.0)):
        rows = [order.index(matcher) for matcher in frame["matching"]]
        axes.plot(frame[BARRIER], rows, "o", color=colour, alpha=strength, markersize=6)
    axes.set_yticks(range(len(order)), order)
    axes.set(xlabel="barrier", xlim=(0, None))
    axes.grid(axis="y", color=TEXT, alpha=0.15)
    return figure


def _lines(curves: pd.DataFrame, name: str) -> Figure:
    """The loss along the line of every pair, before and after it is matched."""
    figure, axes = plt.subplots(figsize=(6.4, 2.6))
    for matching, colour, strength in (("none", TEXT, 0.4), (name, BETWEEN, 1.0)):
        for _, curve in curves[curves["matching"] == matching].groupby("run_id"):
            axes.plot(curve["alpha"], curve["test_loss"], color=colour, alpha=strength)
    axes.set(xlabel="α", ylabel="test loss", xlim=(0, 1), xticks=[0, 0.5, 1])
    return figure
