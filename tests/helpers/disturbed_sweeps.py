"""A small sweep in a process of its own, to be disturbed and compared with an undisturbed one.

Equal means: the networks are byte for byte those of an undisturbed sweep, and so are the scalars of
every trial; each trial has one run, complete. `undisturbed` and `place` are fixtures in conftest.
"""

import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import psutil
import pytest
from filelock import FileLock

from analysis.runs.mlflow import load_runs

ROOT = Path(__file__).parents[2]
AXES = {"width": [1 / 16], "limit_train": [500], "epochs": [1], "seed": [0, 1]}
OPTIONS = "--width 0.0625 --limit-train 500 --epochs 1 --seed 0 1".split()
NETWORKS = TRIALS = 4
PLAIN = ("-m", "tests.helpers.plain_page")
PATIENCE = 3600  # seconds, for what takes 15 on an idle machine


@dataclass(frozen=True)
class Place:
    """Where one sweep keeps everything."""

    folder: Path
    tracking: str = ""  # MLflow's address, if it is not that of the database here
    database: Path | None = None  # where its database is then

    @property
    def uri(self):
        return self.tracking or f"sqlite:///{self.folder}/mlflow.db"

    def start(self, *options, program=PLAIN, python=sys.executable, **environment):
        """The sweep in a process of its own, in a session of its own as Ctrl-C would find it."""
        command = [python, *program, "--storage", str(self.folder), *OPTIONS, *options]
        if self.tracking:
            command += ["--tracking-uri", self.tracking]
        return subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def finish(self, *options, **how):
        """Run the sweep to its end; what it said."""
        out, err = self.start(*options, **how).communicate(timeout=PATIENCE)
        return out + err

    def interrupted(self):
        """Run the sweep until a network is there, then end it by Ctrl-C, which it says."""
        run = self.start()
        wait_until(run, lambda: self.kept("networks"))
        run.send_signal(signal.SIGINT)
        _, said = run.communicate(timeout=PATIENCE)
        assert run.returncode == 130, said
        assert "interrupted: run the same command again to finish the rest" in said
        assert "Traceback" not in said

    def kept(self, kind):
        """The whole files of a kind in the store, by name."""
        return {
            path.name: path.read_bytes()
            for path in (self.folder / "store" / kind).glob("[!.]*")
            if "damaged" not in path.name
        }

    def runs(self):
        return load_runs(self.uri, "smoke")

    def statuses(self, stage="active"):
        """How many runs of trials there are of each status; deleted ones do not count."""
        query = (
            f"select status, count(*) from runs where lifecycle_stage = '{stage}'"
            " and name not like 'report%' and experiment_id not in"
            " (select experiment_id from experiments where name = 'networks') group by status"
        )
        path = self.database or self.folder / "mlflow.db"
        try:
            with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
                return dict(db.execute(query).fetchall())
        except sqlite3.OperationalError:  # not there yet, or busy
            return {}


def undisturbed_in(folder):
    """A place where the sweep ran to its end: made by one of the processes that run the tests."""
    place, said = Place(folder / "undisturbed"), folder / "said"
    with FileLock(folder / "lock"):
        if not said.exists():
            shutil.rmtree(place.folder, ignore_errors=True)
            output = place.finish(program=("sweeps/smoke.py",))
            assert f"{NETWORKS} networks trained, {TRIALS} trials measured" in output, output
            said.write_text(output)
    return place, said.read_text()


def scalars(place):
    """Every scalar of every trial, but for how long the matching took."""
    frame = place.runs().trials.set_index("fingerprint").sort_index()
    return frame[sorted(set(frame.select_dtypes("number")) - {"matching_seconds"})]


def assert_as_undisturbed(place, undisturbed):
    pd.testing.assert_frame_equal(scalars(place), scalars(undisturbed), check_exact=True)
    assert place.kept("networks") == undisturbed.kept("networks")
    assert place.statuses() == {"FINISHED": TRIALS}


def wait_until(run: subprocess.Popen[str], condition: Callable[[], object]) -> None:
    """Until `condition` holds; the sweep must not end before."""
    end = time.monotonic() + PATIENCE
    while not condition():
        if run.poll() is not None or time.monotonic() > end:
            run.kill()
            pytest.fail(f"ended too early: {run.communicate()}")
        time.sleep(0.02)


def workers_of(run):
    """Ray's processes that do jobs, below the process of the sweep."""
    return workers_below(psutil.Process(run.pid))


def workers_below(process):
    found = []
    for child in process.children(recursive=True):
        try:
            if re.match(r"ray::_Worker\b", " ".join(child.cmdline())):
                found.append(child)
        except psutil.Error:
            continue
    return found
