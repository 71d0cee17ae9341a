"""Nothing lost when nodes come and go; each node is a raylet of its own on this machine."""

import shutil
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pandas as pd
import psutil
import pytest
from ray.cluster_utils import Cluster

from tests.helpers.disturbed_sweeps import (
    NETWORKS,
    PATIENCE,
    ROOT,
    TRIALS,
    assert_as_undisturbed,
    wait_until,
    workers_of,
)

pytestmark = [pytest.mark.slow, pytest.mark.exhaustive]

DONE = f"{NETWORKS} networks trained, {TRIALS} trials measured"


@pytest.fixture
def cluster():
    """A cluster with one node, the head, that holds one worker."""
    cluster = started()
    yield cluster
    cluster.shutdown()


def started():
    return Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})


def test_a_node_that_leaves_and_one_that_joins(cluster, place, undisturbed):
    leaving = cluster.add_node(num_cpus=1)
    run = place.start("--address", cluster.address)
    wait_until(run, lambda: place.kept("networks"))
    cluster.remove_node(leaving, allow_graceful=False)
    cluster.add_node(num_cpus=1)
    out, err = run.communicate(timeout=PATIENCE)
    assert run.returncode == 0, err
    assert DONE in out
    assert out.splitlines()[1] == "2 nodes, 2 workers, 0 GPUs"
    assert "now there are " in err
    (line,) = [line for line in err.splitlines() if " lost, its job is requeued: " in line]
    assert line.startswith(f"node {socket.gethostname()} (")
    assert "Traceback" not in err
    assert_as_undisturbed(place, undisturbed)


def test_jobs_shorter_than_a_workers_start_are_done_by_all_workers(tmp_path):
    command = [sys.executable, "-m", "tests.helpers.short_jobs", str(tmp_path), "60"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE)
    assert run.returncode == 0, run.stderr
    busy, *counts = map(float, run.stdout.splitlines()[-1].split()[1:])
    assert len(counts) == 2, "one of two nodes did all"
    assert min(counts) > 0.4 * sum(counts)
    assert busy > 0.7


def test_a_head_that_is_killed(place, undisturbed):
    cluster = started()
    run = place.start("--address", cluster.address)
    wait_until(run, lambda: place.kept("networks"))
    cluster.head_node.kill_all_processes(check_alive=False, allow_graceful=False)
    _, err = run.communicate(timeout=PATIENCE)
    cluster.shutdown()
    assert run.returncode == 1
    (line,) = [line for line in err.splitlines() if "error" in line]
    assert line.startswith("error: the head of Ray at ")
    assert line.endswith("run the same command again to finish the rest")
    assert "Traceback" not in err
    again = started()
    said = place.finish("--address", again.address)
    again.shutdown()
    assert "Traceback" not in said
    assert DONE not in said, "what was done was done again"
    assert_as_undisturbed(place, undisturbed)


def test_a_worker_that_asks_for_a_gpu_waits_for_a_node_with_one(cluster, place, undisturbed):
    shutil.copytree(undisturbed.folder / "store", place.folder / "store")
    for path in place.folder.glob("store/connections/*"):
        path.unlink()
    options = ("--gpus-per-trial", "0.5", "--node-timeout", "300", "--address", cluster.address)
    run = place.start(*options)
    heard = []
    reader = threading.Thread(target=lambda: heard.extend(iter(run.stderr.readline, "")))
    reader.start()
    wait_until(run, lambda: heard)
    assert heard[0].startswith(
        "waiting up to 300 s: a worker must fit on one node: it asks for 1 CPU"
    )
    assert "0.5 GPU" in heard[0]
    assert not place.kept("connections")
    cluster.add_node(num_cpus=1, num_gpus=1)  # Ray takes our word for it; the worker finds none
    assert run.wait(PATIENCE) == 0, heard
    reader.join()
    run.stdout.close()
    run.stderr.close()
    assert_as_undisturbed(place, undisturbed)


def test_a_worker_that_the_system_ends_for_its_memory(place, undisturbed):
    """Workers that are there may take hardly any more memory, those that follow what they like."""
    group = Path("/sys/fs/cgroup/memory/llfc-test")
    try:
        group.mkdir(exist_ok=True)
    except OSError:
        pytest.skip("no control groups (version 1) of memory can be made here")
    run = place.start()
    wait_until(run, lambda: place.kept("networks"))
    victims = workers_of(run)
    (group / "memory.limit_in_bytes").write_text(str(16 * 2**20))
    for victim in victims:
        (group / "cgroup.procs").write_text(str(victim.pid))
    psutil.wait_procs(victims, timeout=120)
    out, err = run.communicate(timeout=PATIENCE)
    kills = (group / "memory.oom_control").read_text()
    group.rmdir()
    assert run.returncode == 0, err
    assert "oom_kill 0" not in kills, kills
    assert DONE in out
    assert "Traceback" not in err
    assert_as_undisturbed(place, undisturbed)


def test_a_clock_that_jumps(cluster, place, undisturbed):
    """An hour on, then two back, as the driver sees it.

    Under libfaketime Ray itself does not start (EINVAL), and says so once more when it is left.
    """
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    if not found:
        pytest.skip("libfaketime is not installed")
    offset = place.folder.with_suffix(".offset")
    offset.write_text("+0")
    run = place.start(
        "--address",
        cluster.address,
        LD_PRELOAD=str(found[0]),
        FAKETIME_TIMESTAMP_FILE=str(offset),
        FAKETIME_NO_CACHE="1",
        FAKETIME_DONT_FAKE_MONOTONIC="1",
    )
    wait_until(run, lambda: place.kept("networks"))
    offset.write_text("+1h")
    wait_until(run, lambda: place.kept("connections"))
    offset.write_text("-1h")
    _, err = run.communicate(timeout=PATIENCE)
    assert run.returncode == 0, err
    assert_as_undisturbed(place, undisturbed)
    away = pd.Timestamp.now("UTC") - place.runs().trials["start"]
    assert (away > pd.Timedelta(minutes=50)).any(), "the clock did not jump"
