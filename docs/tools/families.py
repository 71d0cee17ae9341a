"""The picture and the tables of the results by family of networks, from the frames.

`python -m docs.tools.families` prints the tables.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.answers.tables import differences, estimates
from analysis.runs.schema import BARRIER, BASELINE, LLFC
from analysis.statistics.coefficients import RANKS
from analysis.statistics.comparators import comparisons, over_families
from docs.tools.colours import BETWEEN, TEXT, A, B

RESULTS = Path(__file__).parents[1] / "results"
# The sweep of each family that meets the protocol's rules of convergence.
FAMILIES: Mapping[str, str] = {
    "study-mlp": "MLP, ReLU",
    "study-mlp-tanh": "MLP, tanh",
    "study-randhie": "MLP, regression",
    "study-vgg11": "VGG-11, no norm",
    "study-vgg11-batch": "VGG-11, batch norm",
    "study-resnet20": "ResNet-20, batch norm",
    "study-resnet20-layer": "ResNet-20, layer norm",
    "study-resnet20-group": "ResNet-20, group norm",
    "study-vit": "ViT",
    "study-mixer": "MLP-Mixer",
    "study-gpt": "GPT, text",
    "study-sums": "GPT, modular addition",
}
MEAN = "mean over families"


def families() -> Figure:
    """Both correlations with the barrier, and their difference, with 95 % intervals."""
    found = _found(own := _trials(FAMILIES))
    apart = _found(list(map(_independent, own)))
    figure, (left, right) = plt.subplots(1, 2, figsize=(7.4, 3.4), sharey=True)
    for place, rows in enumerate(found):
        row = rows.set_index("predictor")
        for name, colour, shift in ((LLFC, BETWEEN, -0.13), (BASELINE, B, 0.13)):
            _interval(left, row.loc[name, ["within", "low", "high"]], place + shift, colour)
        ends = ["difference", "difference_low", "difference_high"]
        _interval(right, row.loc[BASELINE, ends], place - 0.13, TEXT)
        independent = apart[place].set_index("predictor")
        _interval(right, independent.loc[BASELINE, ends], place + 0.13, A)
    left.set(xlim=(-1.02, 1.02), xlabel="Spearman's ρ with the barrier")
    left.set_yticks(range(len(found)), [*FAMILIES.values(), MEAN])
    left.invert_yaxis()
    left.text(-1, -0.75, "LLFC error", color=BETWEEN)
    left.text(-0.35, -0.75, "baseline", color=B)
    right.set(xlim=(-0.9, 1.45), xlabel="difference")
    right.text(-0.85, -0.75, "all pairs", color=TEXT)
    right.text(0.05, -0.75, "independent pairs", color=A)
    for axes in (left, right):
        axes.axvline(0, linewidth=0.7, color=TEXT)
        axes.axhline(len(own) - 0.5, linewidth=0.7, color=TEXT)
    return figure


def in_short() -> list[str]:
    """The rows of the summary's table: the difference, which way it goes, of independent pairs."""
    return [
        f"| {name} | {apart} | {says} | {alone} |" for name, _, _, apart, _, says, alone in _rows()
    ]


def in_full() -> list[str]:
    """The rows of the study's table: both correlations too, and how many seeds are needed."""
    return [f"| {' | '.join(row[:-1])} |" for row in _rows()]


def _rows() -> Iterator[tuple[str, ...]]:
    """Family, both correlations, difference, seeds needed, which way it goes, independent pairs."""
    for name, trials in zip(FAMILIES.values(), _trials(FAMILIES), strict=True):
        found = _of_all(trials).set_index("predictor")
        row = found.loc[[BASELINE]]
        low, high = row[["difference_low", "difference_high"]].to_numpy()[0]
        says = "more" if low > 0 else "less" if high < 0 else "cannot be told"
        shown = [estimates(found.loc[[column]], "within")[0] for column in (LLFC, BASELINE)]
        seeds = f"{row['difference_seeds_needed'].item():g}"
        alone = _of_all(_independent(trials)).query("predictor == @BASELINE")
        numbers = (*shown, differences(row)[0], seeds, says, differences(alone)[0])
        yield (name, *(re.sub(r"\b0\.", ".", number) for number in numbers))


def _independent(trials: pd.DataFrame) -> pd.DataFrame:
    """The trials of pairs that share no part of their training."""
    return trials[trials[["spawn_epoch", "spawn_step"]].isna().all(axis=1)].copy()


def _trials(sweeps: Mapping[str, str]) -> list[pd.DataFrame]:
    return [pd.read_parquet(RESULTS / f"{sweep}.trials.parquet").copy() for sweep in sweeps]


def _found(own: list[pd.DataFrame]) -> list[pd.DataFrame]:
    """The comparisons within each family, and over them."""
    together = pd.concat(own, ignore_index=True).copy()
    return [*map(_of_all, own), over_families(together, LLFC, BARRIER)]


def _of_all(trials: pd.DataFrame) -> pd.DataFrame:
    return comparisons(trials, LLFC, BARRIER, methods=[RANKS]).query("group == 'all'")


def _interval(axes: Axes, ends: "pd.Series[float]", place: float, colour: str) -> None:
    value, low, high = ends
    axes.plot([low, high], [place, place], color=colour, linewidth=1.5)
    axes.plot(value, place, "o", color=colour, markersize=4)


if __name__ == "__main__":
    print("\n".join(["In short:", *in_short(), "In full:", *in_full()]))
