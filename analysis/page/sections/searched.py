"""Where does the onset of each seed lie, as a search has bracketed it?"""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from analysis.answers.answer import SCOPE
from analysis.answers.onset import with_unfinished
from analysis.answers.searched import (
    Asked,
    asked_of,
    onset_text,
    seed_brackets,
    seed_estimates,
    shown,
)
from analysis.answers.tables import filled_columns
from analysis.figures.statistics import forest_figure
from analysis.page.sections.part import Findings, PageTable, Part, basis
from analysis.runs.columns import phrase
from analysis.runs.grid import lines_along, name
from analysis.runs.schema import INSTABILITY

ALL = "all seeds"


def bracket_section(findings: Findings) -> Part | None:
    """The bracket of each seed, and the estimate over seeds below them."""
    trials, unfinished = findings.runs.trials, findings.runs.unfinished
    asked = asked_of(trials)
    if asked is None or not lines_along(with_unfinished(trials, unfinished), asked.axis):
        return None
    brackets = seed_brackets(trials, asked, unfinished)
    together = seed_estimates(trials, asked, unfinished)
    numbers = pd.concat(
        [
            brackets.assign(label=[f"seed {seed}" for seed in brackets["seed"]]),
            together.rename(columns={"onset": "value"}).assign(label=ALL),
        ],
        ignore_index=True,
    )
    return Part(
        key="brackets",
        title=f"From which {name(asked.axis)} on each seed is stable",
        figure=_drawn(numbers, trials[asked.axis].astype(float), asked),
        caption=(
            f"Stable: {phrase(INSTABILITY)} below {100 * asked.threshold:g} %. A line is the"
            " bracket of a seed, from the last place that is not stable to the first from which on"
            f" all that were measured are, bisected to {asked.resolution:g}; the point is where the"
            " barrier crosses the threshold on the straight line between two of them. Places whose"
            " barrier is within 1.96 standard errors (of the test set as a sample) of the threshold"
            f" belong to neither side. {_throughout(asked)} A seed whose bracket has no end on one"
            f" side is drawn to the end of the search. {OVER} {basis(trials)}"
        ),
        tables=[_table(numbers, asked)],
    )


def _throughout(asked: Asked) -> str:
    """What is known of larger values than the bracket's."""
    beyond = (
        f" Once a bracket was closed, {asked.recheck} further places above it were measured, in the"
        " middles of the widest gaps."
        if asked.recheck
        else ""
    )
    return (
        f"What is stable is taken to stay so at larger values.{beyond} Where a pair is unstable"
        " again is seen at the places that were measured only; the bracket is that of the last"
        " crossing among them."
    )


def _drawn(numbers: pd.DataFrame, places: "pd.Series[float]", asked: Asked) -> Figure:
    ends = {"low": (-np.inf, places.min()), "high": (np.inf, places.max())}
    rows = numbers.assign(panel=numbers["group"].replace("", "onset"), series="")
    censored = rows["label"] != ALL
    for end, (infinite, value) in ends.items():
        rows[end] = rows[end].where(~(censored & (rows[end] == infinite)), value)
    rows["value"] = rows["value"].clip(places.min(), places.max())
    return forest_figure(rows, name(asked.axis), zero=None)


def _table(numbers: pd.DataFrame, asked: Asked) -> PageTable:
    seeds = numbers["label"] != ALL
    cells = {
        "group": numbers["group"],
        "seed": numbers["label"],
        "onset (bracket, or interval)": [
            _cell(*ends) for ends in numbers[["value", "low", "high"]].to_numpy(dtype=float)
        ],
        "trials": [
            f"{count:g}" if own else "" for count, own in zip(numbers["trials"], seeds, strict=True)
        ],
        "note": [_note(row) for _, row in numbers.iterrows()],
    }
    caption = (
        f"Onset along {name(asked.axis)}: of each seed the crossing with its bracket, and over all"
        f" of them. {OVER}"
    )
    return PageTable(key="brackets", frame=filled_columns(cells), caption=caption, numbers=numbers)


def _cell(value: float, low: float, high: float) -> str:
    """A seed's onset; an infinite end is none."""
    value, low, high = (end if np.isfinite(end) else np.nan for end in (value, low, high))
    return onset_text(value, low, high, shown)


def _note(row: "pd.Series[Any]") -> str:
    if row["label"] == ALL:
        return str(row["note"])
    said = []
    if row["low"] == -np.inf:
        said.append("stable from the start" if row["value"] == -np.inf else "no lower end")
    if row["high"] == np.inf:
        said.append("not stable at the end" if row["value"] == np.inf else "no upper end")
    if row["wide"]:
        said.append("wider than the resolution: too near the threshold for this test set")
    if row["again"]:
        said.append(f"unstable again at {', '.join(map(shown, row['again']))}")
    elif not row["monotone"]:
        said.append("stable at a value and not at a larger one, within the test set's error")
    return "; ".join(said)


OVER = (
    "The interval over seeds runs from the lower end of the 95 % interval (Student's t) of the"
    " lower ends of the brackets to the upper end of that of the upper ends. No censored seed is"
    " modelled: a seed whose bracket lacks an end leaves the interval without that end, and all"
    " seeds without a mean, while the other end rests on all of them. On an axis that begins at 0 a"
    " lower end that is missing is 0, and a seed that is stable from there on has its onset at 0."
    f" {SCOPE}"
)
