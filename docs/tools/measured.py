"""Figures of what was measured, for the pages of matchers and corrections: from `docs/results`."""

from functools import cache
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import pandas as pd

from docs.tools.pictures import BETWEEN, SETTINGS, TEXT, as_svg

TRIALS = Path(__file__).parents[1] / "results" / "matching.trials.parquet"
BARRIER = "test_loss_chord"
CAPTION = (
    "Barrier of the test loss (nats) of independent MLPs of 128 units on Fashion-MNIST, three"
    " seeds; {which}. [The numbers](../results/README.md#matchers-and-corrections)."
)
WHICH = {
    "matching": "no correction, `{name}` in colour",
    "correction": "in colour with `{name}`, otherwise without correction",
}


def figure_of(option: str, name: str) -> str:
    """The Markdown of a figure for an entry, or nothing where it was not measured."""
    trials = _trials()
    if option not in WHICH or name not in set(trials[option]):
        return ""
    caption = CAPTION.format(which=WHICH[option].format(name=name))
    label = f"Barriers by matcher, {name} in colour"
    svg = "".join(line for line in _drawn(option, name).splitlines())
    return f'<div class="picture" role="img" aria-label="{label}">{svg}</div>\n\n{caption}\n'


@cache
def _trials() -> pd.DataFrame:
    return pd.read_parquet(TRIALS, columns=["matching", "correction", BARRIER])


def _drawn(option: str, name: str) -> str:
    trials = _trials()
    plain = trials[trials["correction"] == "none"]
    order = list(plain.groupby("matching")[BARRIER].mean().sort_values().index)
    shown = trials[trials[option] == name]
    if option == "matching":
        shown = shown[shown["correction"] == "none"]
    with matplotlib.rc_context(SETTINGS):
        figure, axes = plt.subplots(figsize=(6.4, 2.6))
        for frame, colour, strength in ((plain, TEXT, 0.35), (shown, BETWEEN, 1.0)):
            rows = [order.index(matcher) for matcher in frame["matching"]]
            axes.plot(frame[BARRIER], rows, "o", color=colour, alpha=strength, markersize=6)
        axes.set_yticks(range(len(order)), order)
        axes.set(xlabel="barrier", xlim=(0, None))
        axes.grid(axis="y", color=TEXT, alpha=0.15)
        figure.tight_layout()
        return as_svg(figure)
