"""Nothing lost: whatever dies while a sweep runs, the same command ends with what it would have.

Every fault is provoked for real. Then the networks are byte for byte those of an undisturbed sweep,
and so are the scalars of every trial; each trial has one run, complete. The exhaustive ones take a
sweep or two each: `pytest -m exhaustive tests/test_faults.py`.
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

from analysis.runs import load_runs

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
OPTIONS = "--width 0.0625 --limit-train 500 --epochs 1 --seed 0 1".split()
NETWORKS = TRIALS = 4
PATIENCE = 240  # seconds, for what takes 15 on an idle machine


@dataclass(frozen=True)
class Place:
    """Where one sweep keeps everything."""

    folder: Path

    @property
    def uri(self):
        return f"sqlite:///{self.folder}/mlflow.db"

    def start(self):
        """The sweep in a process of its own, in a session of its own as Ctrl-C would find it."""
        command = [sys.executable, "sweeps/smoke.py", "--storage", str(self.folder), *OPTIONS]
        return subprocess.Popen(
            command,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def finish(self):
        """Run the sweep to its end; what it said."""
        out, err = self.start().communicate(timeout=PATIENCE)
        return out + err

    def kept(self, kind):
        """The whole files of a kind in the store, by name."""
        return {
            path.name: path.read_bytes()
            for path in (self.folder / "store" / kind).glob("[!.]*")
            if "damaged" not in path.name
        }

    def runs(self):
        return load_runs(self.uri, "smoke")

    def statuses(self):
        """How many runs of trials there are of each status; deleted ones do not count."""
        query = (
            "select status, count(*) from runs where lifecycle_stage = 'active'"
            " and name not like 'report%' group by status"
        )
        try:
            with closing(sqlite3.connect(f"file:{self.folder}/mlflow.db?mode=ro", uri=True)) as db:
                return dict(db.execute(query).fetchall())
        except sqlite3.OperationalError:  # not there yet, or busy
            return {}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    place = Place(tmp_path_factory.mktemp("undisturbed"))
    said = place.finish()
    assert f"{NETWORKS} networks trained, {TRIALS} trials measured" in said
    return place


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


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
    found = []
    for process in psutil.Process(run.pid).children(recursive=True):
        try:
            if re.match(r"ray::\w*(Func|lambda|work|Trainable)", " ".join(process.cmdline())):
                found.append(process)
        except psutil.Error:
            continue
    return found


def test_a_driver_killed_in_each_stage_and_while_it_logs(place, undisturbed):
    moments = [
        lambda: place.kept("networks"),
        lambda: place.kept("connections"),
        lambda: "RUNNING" in place.statuses(),
    ]
    trained = {}
    for moment in moments:
        run = place.start()
        wait_until(run, moment)
        below = workers_of(run)
        run.kill()
        run.communicate()
        _, alive = psutil.wait_procs(below, timeout=30)
        assert not alive, "workers end with the driver"
        times = {p: p.stat().st_mtime_ns for p in place.folder.glob("store/networks/[!.]*")}
        assert times.items() >= trained.items(), "a network was trained twice"
        trained = times
    said = place.finish()
    assert "Traceback" not in said
    assert_as_undisturbed(place, undisturbed)
    assert f"{NETWORKS - len(trained)} networks trained" in said


@pytest.mark.exhaustive
def test_a_killed_worker_is_replaced(place, undisturbed):
    run = place.start()
    wait_until(run, lambda: place.kept("networks"))
    victims = workers_of(run)
    assert victims
    for worker in victims:
        worker.kill()
    out, err = run.communicate(timeout=PATIENCE)
    assert run.returncode == 0, err
    assert "Traceback" not in err
    assert_as_undisturbed(place, undisturbed)
    assert f"{NETWORKS} networks trained, {TRIALS} trials measured" in out


@pytest.mark.exhaustive
def test_two_drivers_at_once(place, undisturbed):
    both = [place.start(), place.start()]
    said = [run.communicate(timeout=PATIENCE) for run in both]
    assert [run.returncode for run in both] == [0, 0], said
    assert_as_undisturbed(place, undisturbed)


@pytest.mark.exhaustive
def test_a_database_locked_by_another_process(place, undisturbed):
    run = place.start()
    wait_until(run, lambda: place.kept("networks"))
    with closing(sqlite3.connect(place.folder / "mlflow.db", timeout=60)) as other:
        other.execute("begin exclusive")
        wait_until(run, lambda: len(place.kept("connections")) == TRIALS)
        time.sleep(8)  # longer than sqlite waits by itself
        logged = other.execute("select count(*) from runs where status = 'FINISHED'").fetchone()
        assert logged[0] < TRIALS, "nothing was held up"
        other.rollback()
    _, err = run.communicate(timeout=PATIENCE)
    assert run.returncode == 0, err
    assert_as_undisturbed(place, undisturbed)


@pytest.mark.exhaustive
def test_ctrl_c_twice(place, undisturbed):
    run = place.start()
    wait_until(run, lambda: place.kept("networks"))
    run.send_signal(signal.SIGINT)
    time.sleep(0.3)
    run.send_signal(signal.SIGINT)
    _, err = run.communicate(timeout=PATIENCE)
    assert run.returncode == 130
    assert err.count("interrupted: run the same command again to finish the rest") == 1
    assert "Traceback" not in err
    place.finish()
    assert_as_undisturbed(place, undisturbed)


@pytest.mark.exhaustive
@pytest.mark.parametrize("harm", ["emptied", "flipped", "a folder", "a pipe"])
def test_a_store_harmed_between_two_runs(place, undisturbed, harm):
    """A network and every result; nothing was logged before."""
    shutil.copytree(undisturbed.folder / "store", place.folder / "store")
    store = place.folder / "store"
    harmed = [sorted(store.glob("networks/[!.]*"))[0], *store.glob("connections/[!.]*")]
    for path in harmed:
        content = path.read_bytes()
        if harm == "emptied":
            path.write_bytes(b"")
        elif harm == "flipped":
            path.write_bytes(content[:-9] + bytes([content[-9] ^ 1]) + content[-8:])
        elif harm == "a folder":
            path.unlink()
            path.mkdir()
        else:
            path.unlink()
            os.mkfifo(path)
    said = place.finish()
    assert said.count("set aside as") == len(harmed), said
    assert "Traceback" not in said
    assert_as_undisturbed(place, undisturbed)
