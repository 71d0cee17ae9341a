"""How the networks were trained, and which of them have not converged."""

import pandas as pd

from analysis.answers.tables import filled_columns, two_decimals
from analysis.figures.training import training_figure
from analysis.page.sections.part import Findings, PageTable, Part
from analysis.runs.frames import Runs, records_of
from analysis.runs.grid import show
from analysis.statistics.convergence import FALLING, FAR, LATE, ends, trainings
from llfc.names import counted, readable

TITLE = "Training, and which networks have not converged"


def training_section(findings: Findings) -> Part | None:
    """The training curves of all networks."""
    found = trainings(findings.runs)
    last = ends(found)
    if last.empty:
        return None
    doubtful = last[last["falling"] | last["far"]]
    return Part(
        key="training",
        title=TITLE,
        figure=training_figure(found, set(doubtful["network"])),
        caption=(
            f"{_verdict(last)} Test error of each of the {len(last)} networks of these trials by"
            " epoch, in eval mode on up to 1000 test inputs, at epochs so chosen that this takes"
            " about 2 % of training. Dashed: a network counts as not converged if its error still"
            f" falls after {LATE:.0%} of the epochs, by more than {FALLING:.0%} of itself and two"
            f" standard errors, or ends more than {FAR:g} times as high as the best of its family"
            " on the same data, or on as much of them."
            f"{_meanings(findings.runs)}"
        ),
        tables=[_table(last)],
    )


def _meanings(runs: Runs) -> str:
    """What the error is where a data set is not for classification, a sentence each.

    A plug-in's task is what is measured, not what networks were trained for.
    """
    said: dict[str, str] = {}
    for row in records_of(runs.trials):
        if "@" not in str(row.get("task")):
            for left in runs.connections[str(row["run_id"])].left_out:
                if (left.kind, left.name) == ("definition", "error"):
                    said[readable(str(row["dataset"]))] = left.reason
    return "".join(f" Error on {dataset}: {reason}." for dataset, reason in said.items())


def _verdict(last: pd.DataFrame) -> str:
    """What is to be known of the ends, in a sentence.

    >>> _verdict(pd.DataFrame({"falling": [True, False], "far": [False, False]}))
    'Of 2 networks, 1 still gets better at the end, and 0 end far above the best of their family.'
    """
    falling, far = int(last["falling"].sum()), int(last["far"].sum())
    if not falling + far:
        return (
            "Every network has converged, as far as this can be told; one that has learned nothing"
            " looks so too."
        )
    gets, end = "gets" if falling == 1 else "get", "ends" if far == 1 else "end"
    return (
        f"Of {counted(len(last), 'network')}, {falling} still {gets} better at the end, and {far}"
        f" {end} far above the best of their family."
    )


def _table(last: pd.DataFrame) -> PageTable:
    groups = last.groupby(["family", "dataset", "part", "width"], sort=False)
    table = [
        {
            "networks": ", ".join(
                filter(None, (f"{family} × {show('width', width)}", str(dataset), str(part)))
            ),
            "count": len(rows),
            "epochs": int(rows["epoch"].max()),
            "train loss": two_decimals(rows["train_loss"].mean()),
            "train error": two_decimals(rows["train_error"].mean()),
            "test error": two_decimals(rows["test_error"].mean()),
            "highest": two_decimals(rows["test_error"].max()),
            "still falling": int(rows["falling"].sum()),
            "far above": int(rows["far"].sum()),
        }
        for (family, dataset, part, width), rows in groups
    ]
    frame = pd.DataFrame(table).astype(str)
    caption = (
        "Means over networks at their last epoch, of up to 1000 inputs of either split; the highest"
        " test error; and how many networks have not converged, by either rule."
    )
    return PageTable(
        key="training", frame=filled_columns(dict(frame)), caption=caption, numbers=last
    )
