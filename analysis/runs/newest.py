"""Of several runs of one trial, the one that counts: a finished one, and of these the newest."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from analysis.runs import schema
from analysis.runs.frames import UNFINISHED, Runs, frame_of, records_of
from analysis.runs.params import PARAMS
from llfc.results import Connection


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


def join_runs(parts: Sequence[Runs], sweep: str = "all") -> Runs:
    """Several sweeps, or one sweep's several stores, as one; each trial once.

    A trial that more than one of them has finished counts once, with its newest run, as its rows
    would otherwise weigh double; the others are counted as superseded.

    Args:
        parts: what was read.
        sweep: what to call them together.

    Raises:
        ValueError: if there are none.
    """
    if not parts:
        raise ValueError("runs to join must be at least one, got none")
    trials, doubles = _newest([part.trials for part in parts])
    unfinished, _ = _newest([part.unfinished for part in parts])
    unfinished = unfinished[~unfinished["fingerprint"].isin(trials["fingerprint"])]
    places = {run_id: part for part in parts for run_id in part.trials["run_id"]}

    def read(run_ids: Iterable[str]) -> dict[str, Connection]:
        wanted = list(run_ids)
        found: dict[str, Connection] = {}
        for part in parts:
            found |= part.read([run_id for run_id in wanted if places[run_id] is part])
        return {run_id: found[run_id] for run_id in wanted}

    return Runs(
        sweep=sweep,
        source=", ".join(dict.fromkeys(part.source for part in parts)),
        trials=trials,
        unfinished=unfinished.reset_index(drop=True),
        superseded=doubles + sum(part.superseded for part in parts),
        outdated=sum(part.outdated for part in parts),
        read=read,
    )


def _newest(frames: Sequence[pd.DataFrame]) -> tuple[pd.DataFrame, int]:
    """The newest row of each trial, and how many rows that leaves out."""
    if all(frame.empty for frame in frames):
        return frames[0], 0
    rows = [row for frame in frames for row in records_of(frame)]
    newest: dict[str, dict[str, Any]] = {}
    for row in sorted(rows, key=lambda row: row["start"], reverse=True):
        newest.setdefault(row["fingerprint"], row)
    return frame_of(newest.values()), len(rows) - len(newest)
