"""The picture of convergence: test error by epoch, as trained and with twice the epochs."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from analysis.runs.grid import FAMILY
from docs.tools.colours import TEXT, A, B
from docs.tools.families import APART, FAMILIES, RESULTS

TWICE = "study-twice"
EPOCHS, ENDS = "recipe.epochs", ["test_error_a", "test_error_b"]


def ends() -> pd.DataFrame:
    """The mean test error of seed 0's ends, by family: as `trained`, with `twice` the epochs."""
    trials = _frame("trials").assign(error=lambda trials: trials[ENDS].mean(axis=1))
    rows = {}
    for name, key in _keys().items():
        own = trials[_of(trials, key)].sort_values(EPOCHS)
        rows[name] = dict(zip(("trained", "twice"), own["error"], strict=True))
    return pd.DataFrame.from_dict(rows, orient="index")


def convergence() -> Figure:
    """Both networks of seed 0 of each family by epoch; each error is of up to 1000 inputs."""
    trials, training = _frame("trials"), _frame("training").dropna(subset="test_error")
    keys = _keys()
    figure, places = plt.subplots(2, -(-len(keys) // 2), figsize=(9, 4))
    for axes in places.flat[len(keys) :]:
        axes.set_visible(False)
    for axes, (name, key) in zip(places.flat, keys.items(), strict=False):
        own = trials[_of(trials, key)].sort_values(EPOCHS)
        for run_id, colour in zip(own["run_id"], (A, B), strict=True):
            for _, line in training[training["run_id"] == run_id].groupby("network"):
                axes.plot(line["epoch"], line["test_error"], color=colour, linewidth=1.2)
        axes.set_title(name, fontsize=9)
        axes.set_ylim(0, min(axes.get_ylim()[1], 1))
    places[0, 0].set_ylabel("test error")
    places[1, 0].set(ylabel="test error", xlabel="epoch")
    figure.text(0.75, 0.01, "as trained", color=A)
    figure.text(0.86, 0.01, "twice the epochs", color=B)
    figure.text(0.01, 0.01, "", color=TEXT)
    return figure


def _frame(kind: str) -> pd.DataFrame:
    return pd.read_parquet(RESULTS / f"{TWICE}.{kind}.parquet")


def _keys() -> dict[str, tuple[object, ...]]:
    """What makes each family, by its name."""
    sweeps = {**FAMILIES, **APART}.items()
    return {name: _key(pd.read_parquet(RESULTS / f"{sweep}.trials.parquet")) for sweep, name in sweeps}


def _key(trials: pd.DataFrame) -> tuple[object, ...]:
    (key,) = {tuple(row) for row in _axes(trials).to_numpy()}
    return key


def _of(trials: pd.DataFrame, key: tuple[object, ...]) -> list[bool]:
    return [tuple(row) == key for row in _axes(trials).to_numpy()]


def _axes(trials: pd.DataFrame) -> pd.DataFrame:
    return trials.reindex(columns=list(FAMILY)).astype(object).fillna("")
