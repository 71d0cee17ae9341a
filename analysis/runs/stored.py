"""Sweeps as files: the frames of a study, kept beside its text, and read back as its store is.

A folder has, for each sweep, `<sweep>.trials.parquet`, `.layers.parquet` and `.curves.parquet`,
with one row per trial, (trial, layer, alpha) and (trial, alpha); and `.<table>.parquet` for what
measures found beside. Where an address of a tracking store is asked for, such a folder can be
given.
"""

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.runs.files import write_frame
from analysis.runs.frames import UNFINISHED, Runs, frame_of
from analysis.runs.params import ADDED, NULLABLE, PARAMS, typed
from llfc.oneline import first_line
from llfc.results import BARRIERS, CURVE, LEFT_OUT_COUNTS, PROFILE, TABLES, Connection, LayerProfile

TRIALS = ".trials.parquet"
# A column of kept trials: why a number of theirs no longer stands; empty if all do.
SUPERSEDED = "superseded"
# Columns without which a frame is none.
REQUIRED: Mapping[str, tuple[str, ...]] = {
    "trials": ("run_id", "fingerprint", *BARRIERS),
    "curves": ("run_id", *CURVE),
    "layers": ("run_id", "index", "layer", "alpha", *PROFILE),
    **{name: ("run_id", *columns) for name, columns in TABLES.items()},
}


def stored_sweeps(folder: Path) -> list[str]:
    """The sweeps whose frames are in `folder`."""
    return sorted(path.name.removesuffix(TRIALS) for path in folder.glob(f"*{TRIALS}"))


def write_frames(runs: Runs, folder: Path) -> list[Path]:
    """Write the frames of `runs` into `folder`; the files written."""
    about = ["run_id", "fingerprint"]
    frames = {"trials": runs.trials, "layers": runs.layers, "curves": runs.curves}
    tables = {name: runs.table(name) for name in TABLES}
    frames |= {name: table for name, table in tables.items() if len(table.drop(columns=about))}
    return [
        write_frame(frame, folder / f"{runs.sweep}.{name}.parquet")
        for name, frame in frames.items()
        if len(frame) or name == "trials"
    ]


def read_frames(folder: Path, sweep: str) -> Runs:
    """The trials of `sweep` whose frames are in `folder`.

    Those with a reason in the column SUPERSEDED are left out, and counted as outdated.

    Raises:
        ValueError: if a frame is not there, is none, or lacks a column; from the frames that are
            read later, too, and if they lack a run.
    """
    trials = _read(folder, sweep, "trials")
    old = pd.Series(trials.get(SUPERSEDED, "")).reindex(trials.index).fillna("") != ""
    kept = trials[~old].drop(columns=SUPERSEDED, errors="ignore")
    records = [_typed(row) | {"source": str(folder)} for row in kept.to_dict("records")]

    def read(run_ids: Iterable[str]) -> dict[str, Connection]:
        wanted = set(run_ids)
        rows = {row["run_id"]: row for row in records if row["run_id"] in wanted}
        names = ["layers", "curves", *TABLES]
        parts = {name: _by_run(folder, sweep, name) for name in names}
        if lost := sorted(rows.keys() - parts["curves"].keys()):
            path = folder / f"{sweep}.curves.parquet"
            raise ValueError(f"frame {path} has no run {lost[0]!r}: export the sweep again")
        return {run_id: _connection(run_id, row, parts) for run_id, row in rows.items()}

    return Runs(
        sweep=sweep,
        source=str(folder),
        trials=frame_of(records),
        unfinished=pd.DataFrame(columns=list(UNFINISHED)),
        outdated=int(old.sum()),
        read=read,
    )


def _read(folder: Path, sweep: str, name: str) -> pd.DataFrame:
    path = folder / f"{sweep}.{name}.parquet"
    try:
        frame = pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise ValueError(f"frame {path} cannot be read: {first_line(error)}") from None
    missing = [column for column in REQUIRED[name] if column not in frame]
    if missing:
        raise ValueError(f"frame {path} has no column {missing[0]!r}: export the sweep again")
    return frame


def _by_run(folder: Path, sweep: str, name: str) -> Mapping[str, pd.DataFrame]:
    """The rows of each run; none where there is no such frame, as of a measure not taken."""
    if name in TABLES and not (folder / f"{sweep}.{name}.parquet").exists():
        return {}
    return {
        str(run): rows for run, rows in _read(folder, sweep, name).groupby("run_id", observed=True)
    }


def _typed(row: Mapping[Any, Any]) -> dict[str, Any]:
    """A row whose parameters have their own types again: None is None, a tuple a tuple."""
    plain = {
        str(name): value.tolist() if isinstance(value, np.ndarray) else value
        for name, value in row.items()
    }
    # A parameter that came later has no column: its default, or no value.
    return plain | {
        name: typed(name, plain.get(name, ADDED.get(name)))
        for name in PARAMS
        if name in (*plain, *NULLABLE, *ADDED)
    }


def _connection(
    run_id: str, row: Mapping[str, Any], parts: Mapping[str, Mapping[str, pd.DataFrame]]
) -> Connection:
    layers = parts["layers"].get(run_id, pd.DataFrame({"index": []}))
    known = {*BARRIERS, *PARAMS, *LEFT_OUT_COUNTS.values()}
    scalars = {
        name: float(value)
        for name, value in row.items()
        if name not in known and isinstance(value, float | int)
    }
    return Connection(
        curve={name: parts["curves"][run_id][name].to_numpy(dtype=float) for name in CURVE},
        barriers={name: float(row[name]) for name in BARRIERS},
        layers=tuple(_profile(rows) for _, rows in layers.groupby("index")),
        summaries=scalars,
        tables={
            name: {column: _values(parts[name][run_id][column]) for column in columns}
            for name, columns in TABLES.items()
            if run_id in parts[name]
        },
    )


def _profile(rows: pd.DataFrame) -> LayerProfile:
    """One layer's profile: one value per alpha of each column of PROFILE, of others the first."""
    fields = [field.name for field in dataclasses.fields(LayerProfile)]
    named = rows.rename(columns={"layer": "name"})
    values = {name: _values(named[name]) for name in fields if name in named}
    return LayerProfile(**{n: v if n in PROFILE else v[0] for n, v in values.items()})


def _values(column: "pd.Series[Any]") -> Any:
    if pd.api.types.is_numeric_dtype(column):
        return column.to_numpy(dtype=float)
    return column.astype(str).tolist()
