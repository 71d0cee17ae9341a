"""The one MLflow door for reading: finished trials as typed frames, the others counted.

A trial is used if its run is FINISHED. Of several finished runs of one trial the newest is used.
A run whose parameters do not give back its fingerprint was made by another version of the records
or of the method; its numbers are not comparable, so it is left out and counted as outdated.
"""

import os
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pandas as pd

# Before the first import of mlflow: nothing is sent to anybody about its use.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

import mlflow.artifacts
from mlflow import MlflowClient
from mlflow.entities import Run

from analysis.params import NULLABLE, params_of, trial_from_params
from analysis.server import check_server, shown
from llfc.names import lookup
from llfc.results import CURVE, PROFILE, TABLES, Connection, connection_from_json
from llfc.specs import fingerprint

DEFAULT_URI = "sqlite:///runs/mlflow.db"
ARTIFACT = "connection.json"
# Tags of a run that tell where its numbers come from, as columns of `Runs.trials`.
PROVENANCE = ("commit", "device", "versions", "command")
# Runs a request; the server's own bound is 50 000, but one reply must fit in memory twice.
PAGE = 1000
# Artifacts fetched at a time from a remote server; a reply is waited for, not computed.
FETCHERS = 16

Reader = Callable[[Iterable[str]], Mapping[str, Connection]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Runs:
    """What one sweep has found so far.

    Attributes:
        sweep: the sweep's name.
        source: where it was read, for people.
        trials: a row a finished trial: run_id, fingerprint, start, the provenance tags, every
            parameter under its name and with its type (None is None, not NaN), every scalar under
            its name.
        unfinished: a row a trial that was begun and has no finished run: fingerprint, status
            (FAILED; RUNNING is in flight or abandoned), reason, start, run_id, attempts.
        superseded: finished runs left out because a newer one of the same trial is there.
        outdated: runs left out because their parameters do not give back their fingerprint.
        read: gives the connections of runs by run id; called once, when `layers` or `curves` is
            first asked for.
    """

    sweep: str
    source: str
    trials: pd.DataFrame
    unfinished: pd.DataFrame
    superseded: int = 0
    outdated: int = 0
    read: Reader

    def only(self, fingerprints: Collection[str]) -> "Runs":
        """These runs without those of other trials, as another grid in the same place has."""
        kept = (
            frame[frame["fingerprint"].isin(fingerprints)]
            for frame in (self.trials, self.unfinished)
        )
        trials, unfinished = (frame.reset_index(drop=True) for frame in kept)
        return replace(self, trials=trials, unfinished=unfinished)

    @cached_property
    def connections(self) -> Mapping[str, Connection]:
        """What each trial found, by run id."""
        return self.read(self.trials["run_id"])

    @cached_property
    def layers(self) -> pd.DataFrame:
        """A row a (trial, layer, alpha): the columns of PROFILE, the layer's baselines.

        `index` counts a trial's layers from 0 and `depth` runs from 0, its first, to 1, its last.
        Each row has its trial's run_id and fingerprint.
        """
        return self._stack(_layer_frames(found) for found in self.connections.values())

    @cached_property
    def curves(self) -> pd.DataFrame:
        """A row a (trial, alpha): the columns of CURVE."""
        return self._stack(
            pd.DataFrame({name: found.curve[name] for name in CURVE})
            for found in self.connections.values()
        )

    def table(self, name: str) -> pd.DataFrame:
        """A row a (trial, row of the table): the columns of `llfc.results.TABLES[name]`.

        Trials that did not measure it have no rows.

        Raises:
            ValueError: if there is no such table.
        """
        lookup("table", name, TABLES)
        return self._stack(
            pd.DataFrame(dict(found.tables.get(name, {column: [] for column in TABLES[name]})))
            for found in self.connections.values()
        )

    def _stack(self, frames: Iterable[pd.DataFrame]) -> pd.DataFrame:
        """A frame a connection, as one, with what names the trials in front."""
        names = dict(zip(self.trials["run_id"], self.trials["fingerprint"], strict=True))
        index = ["run_id", "fingerprint"]
        parts = dict(zip(((r, names[r]) for r in self.connections), frames, strict=True))
        if not parts:
            return pd.DataFrame(columns=index)
        return pd.concat(parts, names=index).reset_index(index).reset_index(drop=True)


def load_runs(tracking_uri: str, experiment: str) -> Runs:
    """The trials of the sweep that was logged as `experiment`.

    Raises:
        ValueError: if there is no store, or no such experiment in it.
    """
    _check_store(tracking_uri)
    client = MlflowClient(tracking_uri)
    found = client.get_experiment_by_name(experiment)
    if found is None:
        known = {e.name: e for e in client.search_experiments() if e.name != "Default"}
        if not known:
            raise ValueError(f"unknown sweep {experiment!r}: {tracking_uri} has none yet")
        found = lookup(f"sweep of {tracking_uri}", experiment, known)
    runs = list(_search(client, found.experiment_id))
    uris = {run.info.run_id: f"{run.info.artifact_uri}/{ARTIFACT}" for run in runs}

    def read(run_ids: Iterable[str]) -> dict[str, Connection]:
        return _read_connections(tracking_uri, {run_id: uris[run_id] for run_id in run_ids})

    return _sort_out(experiment, shown(tracking_uri), runs, read)


def _check_store(tracking_uri: str) -> None:
    check_server(tracking_uri)
    # MLflow would make an empty store where there is none, and say that it has no runs.
    path = tracking_uri.removeprefix("sqlite:///")
    if path != tracking_uri and not Path(path).is_file():
        raise ValueError(f"tracking store must exist, got {tracking_uri} (no file {path})")


def _search(client: MlflowClient, experiment_id: str) -> Iterable[Run]:
    token = None
    while True:
        page = client.search_runs(
            [experiment_id],
            filter_string="tags.`llfc.kind` = 'trial'",
            max_results=PAGE,
            order_by=["attributes.start_time DESC"],
            page_token=token,
        )
        yield from page
        token = page.token
        if not token:
            return


def _sort_out(sweep: str, source: str, runs: list[Run], read: Reader) -> Runs:
    """`runs`, newest first, as frames."""
    current = {run.info.run_id: row for run in runs if (row := _row(run)) is not None}
    finished: dict[str, dict[str, Any]] = {}
    superseded = 0
    for run in runs:
        if run.info.status == "FINISHED" and run.info.run_id in current:
            superseded += _name(run) in finished
            finished.setdefault(_name(run), current[run.info.run_id])
    others: dict[str, dict[str, Any]] = {}
    for run in runs:
        if run.info.status != "FINISHED" and _name(run) not in finished:
            others.setdefault(_name(run), _unfinished_row(run))["attempts"] += 1
    return Runs(
        sweep=sweep,
        source=source,
        trials=frame_of(finished.values()),
        unfinished=pd.DataFrame(others.values(), columns=list(UNFINISHED)),
        superseded=superseded,
        outdated=sum(r.info.status == "FINISHED" and r.info.run_id not in current for r in runs),
        read=read,
    )


UNFINISHED = ("fingerprint", "status", "reason", "start", "run_id", "attempts")


def _unfinished_row(run: Run) -> dict[str, Any]:
    return {
        "fingerprint": _name(run),
        "status": run.info.status,
        "reason": run.data.tags.get("llfc.reason", ""),
        "start": _start(run),
        "run_id": run.info.run_id,
        "attempts": 0,
    }


def _row(run: Run) -> dict[str, Any] | None:
    """A finished run as a row of `trials`; None if it is of another version."""
    try:
        trial = trial_from_params(run.data.params)
    except (ValueError, TypeError):
        return None
    if fingerprint(trial) != _name(run):
        return None
    tags = {name: run.data.tags.get(f"llfc.{name}", "") for name in PROVENANCE}
    scalars = {name: value for name, value in run.data.metrics.items() if "/" not in name}
    about = {"run_id": run.info.run_id, "fingerprint": _name(run), "start": _start(run)}
    return {**about, **tags, **params_of(trial), **scalars}


def _name(run: Run) -> str:
    return str(run.data.tags.get("llfc.fingerprint", run.info.run_name))


def _start(run: Run) -> pd.Timestamp:
    return pd.Timestamp(run.info.start_time, unit="ms", tz="UTC")


def frame_of(rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """A frame of trials; a parameter that may be None keeps Python's values, so None is None."""
    rows = list(rows)
    if not rows:
        return pd.DataFrame(columns=["run_id", "fingerprint", "start", *PROVENANCE])
    names = dict.fromkeys(name for row in rows for name in row)
    columns = {
        name: pd.Series([row.get(name) for row in rows], dtype=object if name in NULLABLE else None)
        for name in names
    }
    return pd.DataFrame(columns)


def _layer_frames(found: Connection) -> pd.DataFrame:
    """The rows of one trial's layers."""
    alpha, last = found.curve["alpha"], max(len(found.layers) - 1, 1)
    frames = [
        pd.DataFrame(
            {
                "layer": layer.name,
                "index": index,
                "depth": index / last,
                "alpha": alpha,
                **{name: getattr(layer, name) for name in PROFILE},
                "baseline": layer.baseline,
                "baseline_std": layer.baseline_std,
            }
        )
        for index, layer in enumerate(found.layers)
    ]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame({"alpha": []})


def _read_connections(tracking_uri: str, uris: Mapping[str, str]) -> dict[str, Connection]:
    def read(uri: str) -> Connection:
        path = Path(unquote(urlsplit(uri).path) if uri.startswith("file:") else uri)
        if not path.is_absolute():  # on a server, or in a bucket: only MLflow knows the way
            path = Path(
                mlflow.artifacts.download_artifacts(artifact_uri=uri, tracking_uri=tracking_uri)
            )
        return connection_from_json(path.read_text())

    with ThreadPoolExecutor(FETCHERS) as pool:
        return dict(zip(uris, pool.map(read, uris.values()), strict=True))
