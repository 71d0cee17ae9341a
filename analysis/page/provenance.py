"""Where a page's numbers come from, and what they leave out."""

import json
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import pandas as pd

from analysis.answers import answer
from analysis.figures.marks import MOST_POINTS
from analysis.runs import schema
from analysis.runs.columns import label, three_digits
from analysis.runs.frames import Runs
from analysis.runs.grid import AXES, name, show, values
from analysis.runs.schema import BARRIER, LLFC
from llfc.names import counted
from llfc.results import LEFT_OUT_COUNTS

# What the numbers of a page are computed and drawn with.
ANALYSED_WITH = ("llfc", "numpy", "pandas", "scipy", "scikit-learn", "statsmodels", "matplotlib")
# What each kind of entry means for a trial.
LEFT_OUT_WORDS = {
    "probe": "do not probe modules whose output is not one feature per image",
    "group": "have groups of units for which no feature was read for matching",
    "parameter": "do not permute parameters that a symmetry might permute",
    "correction": "do not correct layers that the correction is meant for",
    "definition": "have numbers by convention (zero features; what an error or a sample is)",
}
CHANCE = 0.9  # a network whose error is above this fraction of chance is hardly trained


def nothing(runs: Runs) -> str:
    """The line that a sweep without a finished trial gets."""
    return f"Sweep {runs.sweep} has no finished trial in {runs.source}."


def warnings(runs: Runs) -> list[str]:
    """A line for each kind of run that is not in the numbers."""
    states = runs.unfinished["status"].value_counts().sort_index()
    lines = [
        f"{counted(count, 'trial')} {state}, not in these numbers"
        + (" (in flight or abandoned)." if state == schema.RUNNING else ".")
        for state, count in states.items()
    ]
    if runs.superseded:
        lines.append(
            f"{counted(runs.superseded, 'run')} left out: a newer run of the same trial is used."
        )
    if runs.outdated:
        lines.append(
            f"{counted(runs.outdated, 'run')} left out: made by another version of the method."
        )
    return [
        *lines,
        *_chance_warnings(runs.trials),
        *_left_out_warnings(runs.trials),
        *_code_warnings(runs.trials),
    ]


def _chance_warnings(trials: pd.DataFrame) -> list[str]:
    """A line if networks were hardly trained: between two of them there is no barrier to find."""
    # Runs from before there was a chance column are not judged.
    ends = trials.reindex(columns=[*schema.ENDS_ERROR, schema.CHANCE_ERROR])
    count = int((ends.iloc[:, :2].max(axis=1) > CHANCE * ends[schema.CHANCE_ERROR]).sum())
    if not count:
        return []
    have = "has" if count == 1 else "have"
    return [
        f"{counted(count, 'trial')} {have} an end near chance level (test error above {CHANCE:.0%} "
        "of that of a constant prediction): a low barrier says nothing there."
    ]


def _left_out_warnings(trials: pd.DataFrame) -> list[str]:
    """A line for each kind of thing that results do not rest on; see `llfc.results.LeftOut`."""
    lines = []
    for kind, what in LEFT_OUT_WORDS.items():
        counts = trials.get(LEFT_OUT_COUNTS[kind], pd.Series(dtype=float)).fillna(0)
        if concerned := int((counts > 0).sum()):
            most = int(counts.max())
            lines.append(
                f"{concerned} of {counted(len(trials), 'trial')} {what} (at most {most} in one;"
                f" each with its reason in the run's {schema.TABLES}/{schema.LEFT_OUT_TABLE}.csv)."
            )
    return lines


def _code_warnings(trials: pd.DataFrame) -> list[str]:
    """A line if the numbers come from different code, or from code that no commit has."""
    commits = sorted(trials["commit"].unique())
    lines = []
    if len(commits) > 1:
        names = ", ".join(one[:12] + one[40:] for one in commits)
        lines.append(f"These numbers come from {len(commits)} versions of the code: {names}.")
    edited = int(trials["commit"].str.endswith("+changes").sum())
    if edited:
        lines.append(
            f"{counted(edited, 'trial')} {'was' if edited == 1 else 'were'} run with uncommitted"
            " changes in the code."
        )
    return lines


def unfinished_table(runs: Runs) -> pd.DataFrame:
    """The trials without a finished run, for people."""
    frame = runs.unfinished[["fingerprint", "status", "reason", "start", "attempts"]]
    return frame.assign(start=frame["start"].dt.strftime("%Y-%m-%d %H:%M"))


def trial_table(runs: Runs) -> pd.DataFrame | None:
    """The run of every trial, and `url`, where it is; None if there are more than a page holds."""
    trials = runs.trials
    if len(trials) > MOST_POINTS:
        return None
    axes = [axis for axis in (*AXES, "seed") if len(values(trials, axis)) > 1]
    columns = {name(axis): [show(axis, value) for value in trials[axis]] for axis in axes}
    shown = (BARRIER, LLFC)
    numbers = {label(each, trials): trials[each].map(three_digits) for each in shown}
    return pd.DataFrame(
        {"run": trials["run_id"], "trial": trials["fingerprint"], **columns, **numbers}
        | {"url": trials["url"]}
    )


def provenance(runs: Runs) -> Mapping[str, str]:
    """Data, numbers of networks and seeds, commit, versions, device, and what wrote it."""
    if runs.trials.empty:
        return {"tracking store": runs.source}
    trials = runs.trials
    lines = {
        "data": "; ".join(map(_data, values(trials, "dataset"))),
        "networks": answer.counts(trials),
        "seeds": ", ".join(map(str, values(trials, "seed"))),
        "logged": "{:%Y-%m-%d %H:%M} to {:%Y-%m-%d %H:%M} UTC".format(*_ends(trials["start"])),
        "tracking store": runs.source,
    }
    for column in schema.PROVENANCE:
        lines[column] = "; ".join(map(_plain, sorted(trials[column].unique()))) or "not recorded"
    stores = " ".join(dict.fromkeys(trials["source"]))
    sweeps = " ".join(dict.fromkeys(trials["sweep"]))
    analysed = ", ".join(f"{package} {version(package)}" for package in ANALYSED_WITH)
    return lines | {
        "analysed with": analysed,
        "reproduce with": f"python -m analysis report --sweep {sweeps} --tracking-uri {stores}",
    }


def _ends(column: "pd.Series[Any]") -> tuple[Any, Any]:
    return column.min(), column.max()


def _data(dataset: str) -> str:
    if not dataset.startswith("imagefolder:"):
        return dataset
    return (
        f"{dataset} (decoded image files: if they are JPEG, their pixels are not those of the"
        " original data set, and neither are these numbers)"
    )


def _plain(text: str) -> str:
    """A tag for people: a JSON object as a list of its entries."""
    if not text.startswith("{"):
        return text
    return ", ".join(f"{key} {value}" for key, value in json.loads(text).items())
