"""A training that is killed goes on from its last state, in whatever process, and loses no more."""

import math
import shutil
import subprocess
import sys
import threading
import time
from contextlib import nullcontext, suppress

import pandas as pd
import psutil
import pytest
from ray.cluster_utils import Cluster

from llfc.networks import checkpoints
from llfc.networks.checkpoints import RUNNING
from llfc.networks.history import epochs_of, read_history
from llfc.networks.spawning import forget_finished, train_network
from llfc.networks.store import Store, StoreWarning
from llfc.specs import fingerprint
from tests.faults.test_disk import small_disk
from tests.helpers.disturbed_sweeps import ROOT, Place, scalars, wait_until, workers_below
from tests.helpers.killed_trainings import INSTANTS, NETWORK
from tests.helpers.trainable_networks import DATA, same

NO_SPACE = r"^store: \S+ cannot be written: No space left on device"
STEPS = 4  # of an epoch, of which there are as many


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """A folder with what each killed training has left, below it."""
    folder = tmp_path_factory.mktemp("killed")
    command = [sys.executable, "-m", "tests.helpers.killed_trainings", str(folder), *INSTANTS]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return folder


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    store = Store(tmp_path_factory.mktemp("whole"))
    train_network(NETWORK, store, DATA)
    return store.load_weights(NETWORK)


def epochs(store):
    return epochs_of(read_history(store, fingerprint(NETWORK)))


@pytest.mark.slow
@pytest.mark.parametrize("instant", INSTANTS)
def test_a_killed_training_goes_on_elsewhere(killed, whole, tmp_path, instant, monkeypatch):
    """Here: a process that shares nothing with the killed one but the storage."""
    shutil.copytree(killed / instant, tmp_path / "store")
    store, running = Store(tmp_path / "store"), tmp_path / "store" / RUNNING
    steps, before = INSTANTS[instant][1], epochs(store)
    assert len(store.names(RUNNING)) == (steps > 0)
    assert len(list(running.iterdir())) <= 2, "more than a state, and one that was being written"
    assert len(before) >= steps // STEPS, "an epoch before the state is in no history"
    taken = []
    monkeypatch.setattr(
        "llfc.networks.checkpoints.Checkpoints.after_step", lambda *at: taken.append(at)
    )
    train_network(NETWORK, store, DATA)
    forget_finished([NETWORK], store)  # as the next sweep does
    assert len(taken) == STEPS * STEPS - steps, "steps before the state were taken again"
    assert same(store.load_weights(NETWORK), whole)
    assert list(running.iterdir()) == []
    found = epochs(store)
    assert [one.epoch for one in found] == [1, 2, 3, 4]
    assert found[: steps // STEPS] == before[: steps // STEPS]


@pytest.mark.parametrize("kib", [44, 16, 8])
def test_a_disk_that_is_too_small(tmp_path, whole, kib, monkeypatch):
    """For two states at once, for one, for the network itself, which ends it with one line."""
    monkeypatch.setattr(checkpoints, "SHARE", math.inf)
    ends = nullcontext() if kib > 8 else pytest.raises(ValueError, match=NO_SPACE)
    with small_disk(tmp_path / "disk", f"{kib}k") as disk:
        store = Store(disk)
        with pytest.warns(StoreWarning) as caught, ends:
            train_network(NETWORK, store, DATA, checkpoint_seconds=0)
        assert same(store.load_weights(NETWORK) or {}, whole if kib > 8 else {})
        assert [path for path in disk.rglob("*") if path.suffix == ".tmp"] == []
    (said,) = {str(one.message) for one in caught}
    assert said.startswith("no state is kept of a network in training: store: ")
    assert said.endswith("No space left on device")


RESNET = "--architecture resnet20 --width 0.25 --limit-train 3000 --epochs 3 --seed 0".split()
RESNET += "--matching none --measures none --alphas 3 --limit-test 500 --limit-measured 500".split()


class Disk:
    """Looks, all the time, at how many files lie in the folder of states, and of what size."""

    def __init__(self, folder):
        self.folder, self.seen, self.ended = folder, [], threading.Event()
        self.thread = threading.Thread(target=self.look, daemon=True)

    def look(self):
        begun = time.monotonic()
        while not self.ended.wait(0.05):
            sizes = []
            for path in self.folder.glob("*"):
                with suppress(FileNotFoundError):
                    sizes.append(path.stat().st_size)
            self.seen.append((round(time.monotonic() - begun, 1), len(sizes), sum(sizes)))

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *raised):
        self.ended.set()
        self.thread.join()


def written(place):
    """When each state was written."""
    return {
        path.name: path.stat().st_mtime_ns
        for path in (place.folder / "store" / RUNNING).glob("[!.]*.safetensors")
    }


def histories(place):
    store = Store(place.folder / "store")
    return {name: epochs_of(read_history(store, name)) for name in store.names("histories")}


@pytest.mark.slow
@pytest.mark.exhaustive
def test_two_resnets_killed_three_times(tmp_path):
    """With a worker, with a node, with the driver; what was trained before a kill stays so."""
    place, whole = Place(tmp_path / "killed"), Place(tmp_path / "whole")
    said = whole.finish(*RESNET, "--checkpoint-seconds", "inf")
    assert "2 networks trained, 1 trial measured" in said, said
    cluster = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False}
    )
    leaving = cluster.add_node(num_cpus=1)
    options = [*RESNET, "--checkpoint-seconds", "0"]
    run = place.start(*options, "--address", cluster.address)
    seen, before = {}, []

    def gone_on():
        """A state was written since the last kill."""
        return set(written(place).items()) - set(seen.items())

    with Disk(place.folder / "store" / RUNNING) as disk:
        for kill in ("worker", "node", "driver"):
            wait_until(run, gone_on)
            before.append(histories(place))
            if kill == "worker":
                workers_below(psutil.Process())[0].kill()
            elif kill == "node":
                cluster.remove_node(leaving, allow_graceful=False)
                cluster.add_node(num_cpus=1)
            else:
                run.kill()
                said = run.communicate()[1]
            seen = written(place)
        assert said.count(" lost, its job is requeued: ") == 2, said
        last = place.finish(*options, "--address", cluster.address)
    cluster.shutdown()
    assert "Traceback" not in said + last
    pd.testing.assert_frame_equal(scalars(place), scalars(whole), check_exact=True)
    assert place.kept("networks") == whole.kept("networks")
    found = histories(place)
    for earlier in before:  # which tell seconds: nothing was trained again
        for name, rows in earlier.items():
            assert found[name][: len(rows)] == rows
    assert [len(rows) for rows in found.values()] == [3, 3]
    assert written(place) == {}
    # Two networks, each once more while it is written, which two kills may leave.
    assert max(count for _, count, _ in disk.seen) <= 2 * 2 + 2
    most = max(size for *_, size in disk.seen)
    print(f"\nstates took up to {most} bytes; seconds, files, bytes:")
    print(*disk.seen[:: max(1, len(disk.seen) // 30)])
    for one in (place, whole):
        print(scalars(one).filter(regex="^test_loss|^test_error|llfc_error_mean").T.to_string())
