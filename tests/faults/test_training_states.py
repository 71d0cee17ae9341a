"""A training that is killed goes on from its last state, in whatever process, and loses no more."""

import math
import shutil
import subprocess
import sys
from contextlib import nullcontext

import pytest

from llfc.networks import checkpoints
from llfc.networks.checkpoints import RUNNING
from llfc.networks.history import epochs_of, read_history
from llfc.networks.spawning import forget_finished, train_network
from llfc.networks.store import Store, StoreWarning
from llfc.specs import fingerprint
from tests.faults.test_disk import small_disk
from tests.helpers.disturbed_sweeps import ROOT
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
