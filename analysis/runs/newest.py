"""Of several runs of one trial, the one that counts: a finished one, and of these the newest."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from analysis.runs import schema
from analysis.runs.frames import UNFINISHED, frame_of
from analysis.runs.params import PARAMS


@dataclass(frozen=True, kw_only=True)
class LoggedRun:
    """What one run says, as plain values: MLflow's own are many times as large.

    Attributes:
        url: of its page; empty if the store has no pages.
        row: its row of `Runs.trials`; None if it is of another version, or was begun only.
    """

    name: str
    run_id: str
    status: str
    reason: str
    url: str
    start: pd.Timestamp
    artifact: str
    row: Mapping[str, Any] | None


def finished_rows(
    runs: Sequence[LoggedRun], places: Mapping[str, str]
) -> tuple[dict[str, dict[str, Any]], int]:
    """The rows of `Runs.trials` by fingerprint, and how many older runs they leave out.

    Args:
        runs: newest first.
        places: the columns that say where they were read.
    """
    complete = [run for run in runs if run.status == schema.FINISHED and run.row is not None]
    rows: dict[str, dict[str, Any]] = {}
    for run in complete:
        about: dict[str, Any] = {"run_id": run.run_id, "fingerprint": run.name, **places}
        about |= {"url": run.url, "start": run.start}
        rows.setdefault(run.name, {**about, **(run.row or {})})
    return rows, len(complete) - len(rows)


def unfinished_frame(
    runs: Sequence[LoggedRun], finished: Mapping[str, Any], places: Mapping[str, str]
) -> pd.DataFrame:
    """The frame `Runs.unfinished`: the newest run of each trial that has no finished one."""
    rows: dict[str, dict[str, Any]] = {}
    for run in runs:
        if run.status == schema.FINISHED or run.name in finished:
            continue
        names = ("status", "reason", "start", "run_id")
        about = {"fingerprint": run.name, **{name: getattr(run, name) for name in names}}
        params = {name: (run.row or {}).get(name) for name in PARAMS}
        rows.setdefault(run.name, {**about, "attempts": 0, **places, **params})["attempts"] += 1
    return frame_of(rows.values()) if rows else pd.DataFrame(columns=list(UNFINISHED))
