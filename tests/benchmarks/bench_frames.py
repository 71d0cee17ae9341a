"""How long a store's runs take to become frames and a page, and where the time goes.

One run is logged by the tracker; the others are copies of its rows in the database, with a cell of
the grid, a name and a height of numbers of their own, and copies of its artifact. In seconds:

- search: MLflow's own paged query of all runs, Python looking for garbage meanwhile;
- trials: `load_runs`, which keeps it from that during the same query;
- connections: every trial's artifact, read and parsed;
- layers, curves: their frames, the artifacts being read;
- report: the page with all statistics, and its copies, from those frames; `peak` is the largest
  memory of the process, in MB.

Run: python tests/benchmarks/bench_frames.py [--runs N] [--layers N]
"""

import argparse
import dataclasses
import resource
import shutil
import sqlite3
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from mlflow import MlflowClient

from analysis.page.report import page_of, write_report
from analysis.runs.mlflow import PAGE, load_runs
from llfc.matching.matchers import MATCHERS
from llfc.specs import Trial, fingerprint
from sweeps.record.measurement import Measurement
from sweeps.record.tracking import Tracker
from tests.helpers.fabricated_runs import connection, trial

TABLES = ("runs", "params", "tags", "metrics", "latest_metrics")


def copy_run(db: sqlite3.Connection, artifact: Path, run_id: str, new_id: str, of: Trial) -> None:
    """Another run in the database with the rows of `run_id`, as if it were the trial `of`."""
    for table in TABLES:
        columns = [row[1] for row in db.execute(f"PRAGMA table_info({table})")]
        values = ", ".join("?" if column == "run_uuid" else column for column in columns)
        db.execute(
            f"INSERT INTO {table} ({', '.join(columns)}) SELECT {values} FROM {table}"
            " WHERE run_uuid = ?",
            (new_id, run_id),
        )
    where = "WHERE run_uuid = ? AND key ="
    changed = {name: getattr(of.pair, name) for name in ("seed", "width", "spawn_epoch")}
    for name, value in {**changed, "matching": of.matching}.items():
        db.execute(f"UPDATE params SET value = ? {where} '{name}'", (str(value), new_id))
    height = 0.5 + np.random.default_rng(int(new_id, 16)).random()
    db.execute("UPDATE latest_metrics SET value = value * ? WHERE run_uuid = ?", (height, new_id))
    db.execute(f"UPDATE tags SET value = ? {where} 'llfc.fingerprint'", (fingerprint(of), new_id))
    folder = artifact.parents[2] / new_id / "artifacts"
    folder.mkdir(parents=True)
    shutil.copy(artifact, folder)
    db.execute("UPDATE runs SET artifact_uri = ? WHERE run_uuid = ?", (folder.as_uri(), new_id))


def cell(number: int) -> dict[str, Any]:
    """What distinguishes the trial `number` of a grid of 10 000: 5 seeds, then 20 widths, ..."""
    number, seed = divmod(number, 5)
    number, width = divmod(number, 20)
    number, epoch = divmod(number, 20)
    pair = {"seed": seed, "width": 1.0 + width, "spawn_epoch": epoch or None}
    return {"pair": dataclasses.replace(trial().pair, **pair), "matching": list(MATCHERS)[number]}


def fill(folder: Path, runs: int, layers: int) -> str:
    """The address of a new store in `folder` with so many runs of so many layers."""
    uri = f"sqlite:///{folder}/mlflow.db"
    tracker = Tracker(uri, "width", folder)
    names = [f"layer.{index}" for index in range(layers)]
    tracker.log(trial(), Measurement.of(connection(trial(), names), {"llfc.device": "cpu"}))
    (run,) = MlflowClient(uri).search_runs([tracker.experiment_id])
    artifact = Path(run.info.artifact_uri.removeprefix("file://")) / "connection.json"
    with sqlite3.connect(folder / "mlflow.db") as db:
        for number in range(1, runs):
            of = dataclasses.replace(trial(), **cell(number))
            copy_run(db, artifact, run.info.run_id, f"{number:032x}", of)
    return uri


def search(uri: str) -> int:
    """All runs as MLflow gives them, a page at a time; how many."""
    client, token, count = MlflowClient(uri), None, 0
    ids = [client.get_experiment_by_name("width").experiment_id]
    while True:
        page = client.search_runs(ids, max_results=PAGE, page_token=token)
        count, token = count + len(page), page.token
        if not token:
            return count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--layers", type=int, default=20)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        uri = fill(Path(name), options.runs, options.layers)
        search(uri)  # the first use of a store checks its tables
        began = time.perf_counter()
        assert search(uri) == options.runs
        times = {"search": time.perf_counter() - began}
        began = time.perf_counter()
        found = load_runs(uri, "width")
        times["trials"] = time.perf_counter() - began
        for part in ("connections", "layers", "curves"):
            began = time.perf_counter()
            rows = len(getattr(found, part))
            times[f"{part} ({rows})"] = time.perf_counter() - began
        assert len(found.trials) == options.runs
        began = time.perf_counter()
        write_report(page_of(found), Path(name) / "page.html")
        times["report"] = time.perf_counter() - began
    for step, seconds in times.items():
        print(f"{step:24} {seconds:6.1f} s")
    total = sum(times.values()) - times["search"] - times["report"]
    print(f"{'all frames':24} {total:6.1f} s, {options.runs} runs")
    print(f"{'peak':24} {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:6.0f} MB")


if __name__ == "__main__":
    main()
