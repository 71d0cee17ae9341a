"""Nothing lost: whatever dies while a sweep runs, the same command ends with what it would have.

Every fault is provoked for real, and `tests/helpers/disturbed_sweeps.py` compares what is left of
it. The exhaustive ones take a sweep or two each: `pytest -m exhaustive tests/faults`.
"""

import os
import shutil
import signal
import sqlite3
import sys
import time
from contextlib import closing

import psutil
import pytest

from llfc.names import counted
from tests.helpers.disturbed_sweeps import (
    NETWORKS,
    PATIENCE,
    TRIALS,
    assert_as_undisturbed,
    wait_until,
    workers_of,
)

pytestmark = pytest.mark.slow


def trained_in(place):
    """When each network was trained."""
    return {p: p.stat().st_mtime_ns for p in place.folder.glob("store/networks/[!.]*")}


def killed(place, moments):
    """The networks that sweeps have left which were killed at `moments`; each is trained once."""
    trained = {}
    for moment in moments:
        run = place.start()
        wait_until(run, moment)
        below = workers_of(run)
        run.kill()
        run.communicate()
        _, alive = psutil.wait_procs(below, timeout=PATIENCE)
        assert not alive, "workers end with the driver"
        times = trained_in(place)
        assert times.items() >= trained.items(), "a network was trained twice"
        trained = times
    return trained


def assert_finished(place, undisturbed, trained):
    said = place.finish()
    assert "Traceback" not in said
    assert_as_undisturbed(place, undisturbed)
    assert f"{counted(NETWORKS - len(trained), 'network')} trained" in said


def test_a_driver_killed_while_it_logs(place, undisturbed):
    assert_finished(place, undisturbed, killed(place, [lambda: "RUNNING" in place.statuses()]))


@pytest.mark.exhaustive
def test_ctrl_c_and_a_driver_killed_in_each_stage(place, undisturbed):
    moments = [
        lambda: place.kept("networks"),
        lambda: place.kept("connections"),
        lambda: "RUNNING" in place.statuses(),
    ]
    place.interrupted()
    kept = trained_in(place)
    trained = killed(place, moments)
    assert trained.items() >= kept.items(), "a network was trained twice"
    assert_finished(place, undisturbed, trained)


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
    assert "a worker on node " in err
    assert " lost, its job is requeued: " in err
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
@pytest.mark.parametrize("send", [os.kill, os.killpg], ids=["driver", "group"])
def test_sigterm(place, undisturbed, send):
    """To the driver alone, and to Ray's processes too, as `timeout` sends it."""
    run = place.start()
    wait_until(run, lambda: place.kept("networks"))
    below = workers_of(run)
    send(run.pid, signal.SIGTERM)
    _, err = run.communicate(timeout=PATIENCE)
    assert run.returncode == 143
    said = [line for line in err.splitlines() if line and not line.startswith("networks ")]
    assert said == ["interrupted: run the same command again to finish the rest"]
    _, alive = psutil.wait_procs(below, timeout=PATIENCE)
    assert not alive, "workers end with the driver"
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
    assert said.count("quarantined as") == len(harmed), said
    assert "Traceback" not in said
    assert_as_undisturbed(place, undisturbed)


@pytest.mark.exhaustive
def test_a_python_in_a_folder_with_a_space(place, undisturbed, tmp_path_factory):
    """Ray starts workers by a shell."""
    environment = tmp_path_factory.mktemp("a folder") / "an environment"
    environment.symlink_to(sys.prefix)
    said = place.finish(python=str(environment / "bin/python"))
    assert "no worker has started" not in said
    assert_as_undisturbed(place, undisturbed)
