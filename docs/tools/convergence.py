"""The picture of convergence: test error by epoch, as trained and with twice the epochs."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from analysis.runs.grid import FAMILY
from docs.tools.colours import A, B
from docs.tools.families import FAMILIES, RESULTS

ENDS = ["test_error_a", "test_error_b"]


def ends() -> Mapping[str, tuple[float, float]]:
    """The mean test error of seed 0's ends as trained, and with twice the epochs, by family."""
    return {
        name: tuple(own[ENDS].mean(axis=1).to_list())  # type: ignore[misc]
        for name, own in _pairs(FAMILIES).items()
    }


def convergence() -> Figure:
    """Both networks of seed 0 of each family by epoch; each error is of up to 1000 inputs."""
    training = _frame("training").dropna(subset="test_error")
    pairs = _pairs(FAMILIES)
    figure, places = plt.subplots(3, 4, figsize=(9, 6))
    for axes in places.flat[len(pairs) :]:
        axes.set_axis_off()
    for axes, (name, own) in zip(places.flat, pairs.items(), strict=False):
        for run_id, colour in zip(own["run_id"], (A, B), strict=True):
            for _, line in training[training["run_id"] == run_id].groupby("network"):
                axes.plot(line["epoch"], line["test_error"], color=colour, linewidth=1.2)
        axes.set_title(name, fontsize=10)
        axes.set(xlim=(0, None), ylim=(0, None))
    first = places[0, 0]
    first.text(0.95, 0.35, "as trained", color=A, ha="right", transform=first.transAxes)
    first.text(0.95, 0.2, "twice the epochs", color=B, ha="right", transform=first.transAxes)
    places[1, 0].set_ylabel("test error")
    places[2, 0].set_xlabel("epoch")
    return figure


def _pairs(families: Mapping[str, str]) -> Mapping[str, pd.DataFrame]:
    """The two trials of each family that has them, the shorter training first."""
    trials, pairs = _frame("trials"), {}
    for sweep, name in families.items():
        (key,) = {*_keys(pd.read_parquet(RESULTS / f"{sweep}.trials.parquet"))}
        own = trials[[other == key for other in _keys(trials)]]
        if len(own):
            pairs[name] = own.sort_values("recipe.epochs")
    return pairs


def _keys(trials: pd.DataFrame) -> list[tuple[object, ...]]:
    """What makes the family of each trial."""
    axes = trials.reindex(columns=list(FAMILY)).astype(object).fillna("")
    return [tuple(row) for row in axes.to_numpy()]


def _frame(kind: str) -> pd.DataFrame:
    return pd.read_parquet(RESULTS / f"twice/study-twice.{kind}.parquet")
