"""The picture of the intervention: all units of one layer exchanged, the first to the last."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from analysis.runs.schema import BARRIER, BASELINE, LLFC
from analysis.statistics.over_seeds import over_seeds
from docs.tools.colours import BETWEEN, TEXT, A, B
from docs.tools.families import RESULTS

MLP = ("hidden1", "hidden2", "hidden3")
GPT = ("block1.mlp.hidden", "block2.mlp.hidden")
# Of each sweep its name, colour, style, and the layers of which units were exchanged.
SWEEPS: Mapping[str, tuple[str, str, str, tuple[str, ...]]] = {
    "study-mlp-misalignment-spawned": ("MLP, ReLU, sharing an epoch", A, "-", MLP),
    "study-mlp-misalignment": ("MLP, ReLU, matched", A, "--", MLP),
    "study-mlp-tanh-misalignment": ("MLP, tanh, matched", BETWEEN, "--", MLP),
    "study-gpt-misalignment-spawned": ("GPT, sharing an epoch", B, "-", GPT),
    "study-gpt-misalignment": ("GPT, matched", B, "--", GPT),
}
PLACES = ("none", "first", "middle", "last")


def interventions() -> Figure:
    """Barrier, LLFC error and baseline, by the layer of which all units were exchanged."""
    figure, panels = plt.subplots(1, 4, figsize=(10, 2.9), width_ratios=[3, 3, 3, 2])
    titles = {BARRIER: "barrier [nats]", LLFC: "LLFC error", BASELINE: "baseline"}
    for axes, (column, title) in zip(panels[:3], titles.items(), strict=True):
        for sweep, (name, colour, style, layers) in SWEEPS.items():
            means = exchanged(sweep, column, layers)
            places = [0, *((1, 2, 3) if len(layers) == 3 else (1, 3))]
            axes.vlines(places, means["low"], means["high"], color=colour, linewidth=1.2)
            axes.plot(places, means["mean"], "o", color=colour, markersize=4)
            axes.plot(places[1:], means["mean"][1:], style, color=colour, label=name)
        axes.axvline(0.5, linewidth=0.7, color=TEXT)
        axes.set(title=title, ylim=(0, None))
        axes.set_xticks(range(len(PLACES)), PLACES)
    panels[1].set_xlabel("the layer of which all units are exchanged")
    panels[3].legend(*panels[0].get_legend_handles_labels(), loc="center", fontsize=9)
    panels[3].set_axis_off()
    return figure


def exchanged(sweep: str, column: str, layers: tuple[str, ...]) -> pd.DataFrame:
    """The mean over seeds and its 95 % interval with none exchanged, then all of each layer's."""
    trials = pd.read_parquet(RESULTS / f"{sweep}.trials.parquet")
    whole = trials[trials["misalignment"] == 1].groupby("misaligned", observed=True)
    parts = [trials[trials["misalignment"] == 0], *map(whole.get_group, layers)]
    return pd.DataFrame(over_seeds(part[column].to_list()).columns("mean") for part in parts)
