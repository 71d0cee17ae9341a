"""The only writer to MLflow: one run per trial, complete or absent.

A trial's run is FINISHED with everything in it, or FAILED with its reason. A run that is left
RUNNING belongs to a driver that was stopped while it wrote; `Tracker` removes those.
"""

import json
import logging
import os
import socket
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from importlib.metadata import version
from pathlib import Path
from typing import Any

# Before the first import of mlflow: nothing is sent to anybody about its use, and it soon says that
# its server is out of order; who waits for how long is decided by sweeps.run.recorder.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")

from mlflow import MlflowClient
from mlflow.entities import Metric, Run, RunTag

from analysis.runs import schema
from analysis.runs.mlflow import search
from analysis.runs.params import params_of
from analysis.runs.server import check_server, is_server, without_password
from llfc.results import Connection
from llfc.specs import Network, Trial, fingerprint
from sweeps.record.commit import commit, sources
from sweeps.record.flattening import metrics_of, tables_of
from sweeps.record.guide import GUIDE
from sweeps.record.measurement import Measurement
from sweeps.record.network_runs import NetworkRuns
from sweeps.record.one_run import is_abandoned, log_metrics, one_run
from sweeps.record.titles import title_of
from sweeps.record.tracking_store import check_writable, database, named

# Tables being made is no news to a user; what a store refuses is raised, and said in one line.
for _name in ("alembic", "mlflow"):
    logging.getLogger(_name).setLevel(logging.CRITICAL)

VERSIONED = ("llfc", "mlflow", "numpy", "ray", "scipy", "torch", "torchvision")


class Tracker:
    """Writes the runs of one sweep into one MLflow experiment.

    Args:
        uri: MLflow's address.
        experiment: the sweep's name.
        artifacts: folder for the artifacts where the address is a database rather than a server.
        question: what the sweep asks; the experiment's description begins with it.
        search: what is said of the search that asks for the trials; empty for a grid.

    Raises:
        ValueError: if the address cannot be written to.
    """

    def __init__(
        self, uri: str, experiment: str, artifacts: Path, question: str = "", search: str = ""
    ) -> None:
        folder = None if is_server(uri) else (artifacts / experiment).absolute()
        with named(uri):
            # Says now, not after an hour or MLflow's minutes of retries, what cannot be written.
            if folder is not None:
                folder.mkdir(parents=True, exist_ok=True)
                check_writable(folder)
            check_server(uri)
            with database(uri):
                self._client = MlflowClient(tracking_uri=uri)
                self.experiment_id = self._experiment(experiment, folder)
            note = f"{question}\n{GUIDE.format(sweep=experiment)}".strip()
            self._client.set_experiment_tag(self.experiment_id, schema.NOTE, note)
            asked = " ".join(question.partition("\n\n")[0].split())
            self._client.set_experiment_tag(self.experiment_id, schema.QUESTION, asked)
            if search:
                self._client.set_experiment_tag(self.experiment_id, schema.SEARCH, search)
        self._tags = {
            schema.SWEEP_NAME: experiment,
            schema.COMMIT: commit(),
            schema.SOURCES: sources(),
            schema.VERSIONS: json.dumps({name: version(name) for name in VERSIONED}),
            schema.COMMAND: without_password(" ".join(sys.argv)),
            schema.DRIVER: f"{socket.gethostname()}:{os.getpid()}",
        }
        self._uri = uri
        self.networks = NetworkRuns(self._client, self._network_place, self._tags)
        self._artifacts = artifacts

    @property
    def provenance(self) -> dict[str, str]:
        """The tags that say what made a result."""
        return {name: self._tags[name] for name in schema.MADE_BY}

    def _experiment(self, name: str, folder: Path | None) -> str:
        """The id of the experiment `name`, made if need be with its artifacts in `folder`."""
        found = self._client.get_experiment_by_name(name)
        if found is not None and found.lifecycle_stage == "deleted":
            raise ValueError(
                f"MLflow's experiment {name!r} is deleted: restore it (mlflow experiments restore"
                f" --experiment-id {found.experiment_id}), or run this sweep under another --name"
            )
        if found is not None:
            return str(found.experiment_id)
        tags = {schema.EXPERIMENT_KIND: schema.TRAINING}
        place = None if folder is None else folder.as_uri()
        return str(self._client.create_experiment(name, artifact_location=place, tags=tags))

    def finished(self) -> set[str]:
        """Fingerprints of the trials whose runs are complete."""
        runs = self._runs(schema.in_status(schema.FINISHED))
        return {run.data.tags[schema.FINGERPRINT] for run in runs}

    def remove_abandoned(self) -> int:
        """Delete runs that an interrupted driver left incomplete; the number deleted."""
        left = [run for run in self._runs(schema.in_status(schema.RUNNING)) if is_abandoned(run)]
        for run in left:
            self._client.delete_run(run.info.run_id)
        return len(left)

    def log(
        self,
        trial: Trial,
        measurement: Measurement,
    ) -> None:
        """Write the complete run of `trial`; runs of earlier, failed tries are removed.

        Args:
            trial: what was measured.
            measurement: what was found; its tags are the run's, beside this tracker's own.

        Raises:
            ValueError: if the tracking store refuses; nothing of the run is left then.
        """
        check_server(self._uri)
        with named(self._uri):
            with self._run(trial, {**measurement.tags, **self.networks.links(trial)}) as run_id:
                self._log_metrics(run_id, measurement.found)
                self._log_artifacts(run_id, measurement)
            self._keep_one(fingerprint(trial))

    def log_network(self, network: Network, history: Mapping[str, Any]) -> None:
        """Write how `network` was trained; see `NetworkRuns.log`.

        Raises:
            ValueError: if the tracking store refuses; nothing of the run is left then.
        """
        check_server(self._uri)
        with named(self._uri):
            self.networks.log(network, history)

    def _network_place(self) -> str:
        """The id of the experiment of networks, made if need be."""
        folder = None if is_server(self._uri) else (self._artifacts / schema.NETWORKS).absolute()
        return self._experiment(schema.NETWORKS, folder)

    def log_failure(self, trial: Trial, reason: str) -> None:
        """Write a FAILED run that says why `trial` has no result."""
        with named(self._uri):
            self._remove_failures(fingerprint(trial))
            with self._run(trial, {schema.REASON: reason[:5000]}, status=schema.FAILED):
                pass

    def reported(self) -> str:
        """What the report that is attached to the sweep's own run was made from; may be empty."""
        with named(self._uri):
            own = self._runs("", kind=schema.SWEEP)
        return str(own[0].data.tags.get(schema.MADE_FROM, "")) if own else ""

    def log_report(self, report: Path, source: str) -> None:
        """Attach the sweep's report, and the folder of its copies, to the sweep's own run.

        Args:
            report: the page; its copies are in the folder that is called as it is.
            source: what it was made from, as `reported` then says.
        """
        name = schema.report_name(self._tags[schema.SWEEP_NAME])
        tags = {**self._tags, schema.KIND: schema.SWEEP}
        with named(self._uri):
            own = self._runs("", kind=schema.SWEEP)
            run = (
                own[0]
                if own
                else self._client.create_run(self.experiment_id, run_name=name, tags=tags)
            )
            run_id = run.info.run_id
            self._client.log_batch(run_id, tags=[RunTag(*item) for item in tags.items()])
            self._client.log_artifact(run_id, str(report))
            copies = report.with_suffix("")
            if copies.is_dir():
                self._client.log_artifacts(run_id, str(copies), copies.name)
            self._client.set_tag(run_id, schema.MADE_FROM, source)
            self._client.set_terminated(run_id)

    def _run(
        self, trial: Trial, tags: Mapping[str, str], status: str = schema.FINISHED
    ) -> AbstractContextManager[str]:
        given = {schema.NOTE: title_of(trial), **self._tags, **tags, schema.KIND: schema.TRIAL}
        params = params_of(trial)
        return one_run(self._client, self.experiment_id, trial, given, params, status)

    def _log_metrics(self, run_id: str, found: Connection) -> None:
        now = int(time.time() * 1000)
        metrics = [Metric(name, value, now, step) for name, value, step in metrics_of(found)]
        log_metrics(self._client, run_id, metrics)

    def _log_artifacts(self, run_id: str, measurement: Measurement) -> None:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            for part in (schema.TABLES, schema.FIGURES):
                (folder / part).mkdir()
            (folder / schema.CONNECTION).write_text(measurement.text)
            for table, text in tables_of(measurement.found).items():
                (folder / schema.TABLES / f"{table}.csv").write_text(text)
            for figure, picture in (measurement.figures or {}).items():
                (folder / schema.FIGURES / f"{figure}.png").write_bytes(picture)
            self._client.log_artifacts(run_id, name)

    def _runs(self, condition: str, kind: str = schema.TRIAL) -> Sequence[Run]:
        """The sweep's runs that meet `condition`, newest first."""
        conditions = filter(None, (schema.tagged(schema.KIND, kind), condition))
        return list(search(self._client, self.experiment_id, " and ".join(conditions)))

    def _same(self, name: str, status: str) -> Sequence[Run]:
        of_trial = schema.tagged(schema.FINGERPRINT, name)
        return self._runs(f"{of_trial} and {schema.in_status(status)}")

    def _remove_failures(self, name: str) -> None:
        for run in self._same(name, schema.FAILED):
            self._client.delete_run(run.info.run_id)

    def _keep_one(self, name: str) -> None:
        """Of complete runs of one trial, which two drivers may write at once, keep the first.

        Halves go too: a server that went away while this driver wrote could not take them back.
        """
        self._remove_failures(name)
        for run in self._same(name, schema.RUNNING):
            if run.data.tags.get(schema.DRIVER) == self._tags[schema.DRIVER]:
                self._client.delete_run(run.info.run_id)
        runs = sorted(
            self._same(name, schema.FINISHED), key=lambda r: (r.info.start_time, r.info.run_id)
        )
        for run in runs[1:]:
            self._client.delete_run(run.info.run_id)
