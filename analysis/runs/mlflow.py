"""The one MLflow door for reading: finished trials as typed frames, the others counted.

A trial is used if its run is FINISHED. Of several finished runs of one trial the newest is used.
A run whose parameters do not give back its fingerprint was made by another version of the records
or of the method; its numbers are not comparable, so it is left out and counted as outdated.
"""

import gc
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pandas as pd

# Before the first import of mlflow: nothing is sent to anybody about its use.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

import mlflow.artifacts
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from analysis.runs import schema
from analysis.runs.database import address_of, check_address, fault_of, path_of
from analysis.runs.frames import Runs, frame_of
from analysis.runs.newest import LoggedRun, finished_rows, join_runs, unfinished_frame
from analysis.runs.params import params_of, trial_from_params
from analysis.runs.server import check_server, is_server, without_password
from analysis.runs.stored import read_frames, stored_sweeps
from llfc.names import lookup
from llfc.oneline import first_line
from llfc.results import Connection, connection_from_json
from llfc.specs import fingerprint

# Runs a request; the server's own bound is 50 000, but one reply must fit in memory twice.
PAGE = 1000
# Artifacts fetched at a time from a remote server; a reply is waited for, not computed.
FETCHERS = 16
NO_SWEEPS = ("Default", schema.NETWORKS)


def load_runs(tracking_uri: str, experiment: str) -> Runs:
    """The trials of the sweep that was logged as `experiment`.

    Args:
        tracking_uri: MLflow's address, or a folder of frames; see `analysis.runs.stored`.
        experiment: the sweep's name.

    Raises:
        ValueError: if the store cannot be read, or there is no such experiment in it.
    """
    names = sweep_names(tracking_uri)
    if not names:
        raise ValueError(f"unknown sweep {experiment!r}: {tracking_uri} has no sweeps yet")
    experiment_id = lookup(f"sweep of {tracking_uri}", experiment, names)
    if Path(tracking_uri).is_dir():
        return read_frames(Path(tracking_uri), experiment)
    with _named(tracking_uri):
        found = search(
            MlflowClient(tracking_uri), experiment_id, schema.tagged(schema.KIND, schema.TRIAL)
        )
        said = MlflowClient(tracking_uri).get_experiment(experiment_id).tags
        asked = said.get(schema.SEARCH)
        more = {"search": asked} if asked else {}
        runs = [_read(run, tracking_uri, more) for run in found]
    uris = {run.run_id: run.artifact for run in runs}

    def read(run_ids: Iterable[str]) -> dict[str, Connection]:
        return _read_connections(tracking_uri, {run_id: uris[run_id] for run_id in run_ids})

    places = {"sweep": experiment, "source": without_password(tracking_uri)}
    trials, superseded = finished_rows(runs, places)
    return Runs(
        **places,
        trials=frame_of(trials.values()),
        unfinished=unfinished_frame(runs, trials, places),
        superseded=superseded,
        outdated=sum(run.status == schema.FINISHED and run.row is None for run in runs),
        question=said.get(schema.QUESTION, ""),
        read=read,
    )


def load_sweeps(tracking_uris: Sequence[str], experiments: Sequence[str]) -> Runs:
    """Several sweeps, from several stores, joined; each trial once.

    Raises:
        ValueError: if a store cannot be read, or a sweep is in none of them.
    """
    known = {uri: sweep_names(uri) for uri in dict.fromkeys(tracking_uris)}
    parts = []
    for experiment in dict.fromkeys(experiments):
        found = [uri for uri, names in known.items() if experiment in names]
        # Where it is nowhere, the first store says what it has instead.
        parts += [load_runs(uri, experiment) for uri in found or list(known)[:1]]
    return parts[0] if len(parts) == 1 else join_runs(parts, "+".join(dict.fromkeys(experiments)))


def sweep_names(tracking_uri: str) -> dict[str, str]:
    """The store's sweeps: the ids of their experiments by name; in a folder, of their frames.

    Raises:
        ValueError: if the store cannot be read.
    """
    if Path(tracking_uri).is_dir():
        return {name: name for name in stored_sweeps(Path(tracking_uri))}
    _check_store(tracking_uri)
    with _named(tracking_uri):
        found = MlflowClient(tracking_uri).search_experiments()
    return {e.name: str(e.experiment_id) for e in found if e.name not in NO_SWEEPS}


@contextmanager
def _named(tracking_uri: str) -> Iterator[None]:
    """MLflow's errors as ValueError, in one line that names the store."""
    try:
        yield
    except (MlflowException, SQLAlchemyError) as error:
        raise ValueError(
            f"tracking store {without_password(tracking_uri)} cannot be read: {first_line(error)}"
        ) from error
    except ModuleNotFoundError as error:  # the driver of a database
        raise ValueError(
            f"tracking store {without_password(tracking_uri)} cannot be read: install its driver"
            f" ({first_line(error)})"
        ) from error


def _check_store(tracking_uri: str) -> None:
    _check_path(tracking_uri)
    check_server(tracking_uri)
    # MLflow would make an empty store where there is none, and say that it has no runs.
    # Likewise it would go on to make one that is half made.
    check_address(tracking_uri)
    path = path_of(tracking_uri)
    if path is None:
        return
    if not path.is_file():
        raise ValueError(f"tracking store {tracking_uri} does not exist (no file {path})")
    if fault := fault_of(path):
        raise ValueError(fault)


def _check_path(address: str) -> None:
    """See that what is no address, and no folder of frames, is not taken for MLflow's old files.

    Raises:
        ValueError: it is a file, or nothing.
    """
    if urlsplit(address).scheme or is_server(address):
        return
    path = Path(address)
    if not path.exists():
        raise ValueError(f"tracking store {address} does not exist: no such folder of frames")
    raise ValueError(
        f"tracking store {address} must be a folder of frames or an address, got a file: give"
        f" {path.parent}, or {address_of(path.absolute())} if it is a database"
    )


def search(client: MlflowClient, experiment_id: str, condition: str) -> Iterator[Run]:
    """The runs of an experiment that meet an MLflow filter, newest first."""
    token = None
    while True:
        with _uncollected():
            page = client.search_runs(
                [experiment_id],
                filter_string=condition,
                max_results=PAGE,
                order_by=["attributes.start_time DESC"],
                page_token=token,
            )
        yield from page
        token = page.token
        if not token:
            return


@contextmanager
def _uncollected() -> Iterator[None]:
    """Python looks for no garbage within: among a page's many values that is half the time."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _read(run: Run, tracking_uri: str, more: Mapping[str, str]) -> LoggedRun:
    return LoggedRun(
        name=str(run.data.tags.get(schema.FINGERPRINT, run.info.run_name)),
        run_id=run.info.run_id,
        status=run.info.status,
        reason=run.data.tags.get(schema.REASON, ""),
        url=url_of_run(tracking_uri, run.info.experiment_id, run.info.run_id),
        start=pd.Timestamp(run.info.start_time, unit="ms", tz="UTC"),
        artifact=f"{run.info.artifact_uri}/{schema.CONNECTION}",
        row=_row(run, more),
    )


def url_of_run(tracking_uri: str, experiment_id: str, run_id: str) -> str:
    """The address of a run's page on the server at `tracking_uri`, without a password in it.

    >>> url_of_run("https://me:secret@host/mlflow/", "1", "ab")
    'https://host/mlflow/#/experiments/1/runs/ab'
    >>> url_of_run("sqlite:///runs/mlflow.db", "1", "ab")
    ''
    """
    at = urlsplit(tracking_uri)
    if at.scheme not in ("http", "https"):
        return ""
    host = at.netloc.rpartition("@")[2]
    return f"{at.scheme}://{host}{at.path.rstrip('/')}/#/experiments/{experiment_id}/runs/{run_id}"


def _row(run: Run, more: Mapping[str, str]) -> dict[str, Any] | None:
    """The typed parameters, provenance and scalars of a run, and `more` columns.

    None if it is of another version.
    """
    try:
        trial = trial_from_params(run.data.params)
    except (ValueError, TypeError):
        return None
    if fingerprint(trial) != run.data.tags.get(schema.FINGERPRINT, run.info.run_name):
        return None
    tags = {name: run.data.tags.get(tag, "") for name, tag in schema.PROVENANCE.items()}
    scalars = {name: value for name, value in run.data.metrics.items() if schema.is_scalar(name)}
    steps = {"steps_per_epoch": run.data.tags.get(schema.STEPS, "")}
    return {**tags, **steps, **more, **params_of(trial), **scalars}


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
