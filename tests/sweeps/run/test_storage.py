"""A worker does nothing where it does not see the storage that the driver writes."""

import contextlib
import os
import uuid
from pathlib import Path

import pytest

from llfc.networks.files import LocalFiles, RemoteFiles
from llfc.networks.store import Store
from sweeps.grid.settings import Settings
from sweeps.run import launch, storage
from sweeps.run.plan import Job
from sweeps.run.pool import WorkerPool
from sweeps.run.storage import MARKS, marked, unseen
from tests.helpers.fabricated_runs import trial


@pytest.fixture(params=["folder", "file", "memory"])
def place(request, tmp_path):
    return {
        "folder": str(tmp_path / "shared % #?"),
        "file": f"file://{tmp_path}/shared",
        "memory": f"memory://{uuid.uuid4().hex}/shared",
    }[request.param]


@pytest.fixture(autouse=True)
def _hasty(monkeypatch):
    monkeypatch.setattr(storage, "STORAGE_PATIENCE", 0.0)


def test_a_storage_is_seen_while_its_driver_is_there(place):
    with marked(place) as mark, marked(place) as other:
        assert mark != other
        assert unseen(place, mark, "w2") == unseen(place, other, "w2") == ""
    assert Store(place).names(MARKS) == []
    assert unseen(place, mark, "w2")


def test_a_node_with_a_folder_of_its_own_at_that_path_refuses_by_name(place, tmp_path):
    with marked(place) as mark:
        elsewhere = str(tmp_path / "elsewhere")
        for _ in ("without a folder", "with one"):
            said = unseen(elsewhere, mark, "w2 (10.0.0.3)")
            assert said.startswith(
                f"node w2 (10.0.0.3) cannot access the driver's storage {elsewhere} "
            )
            assert "mount it there" in said
            assert "\n" not in said
            assert not (tmp_path / "elsewhere/networks").exists()
            Store(elsewhere).put_text("networks", "old", "trained there in vain")
            (tmp_path / "elsewhere/networks/old.txt").unlink()
            (tmp_path / "elsewhere/networks").rmdir()


def test_a_storage_that_does_not_answer_is_the_reason(monkeypatch, tmp_path):
    def silent(*_):
        raise OSError("no answer")

    for files, where in ((LocalFiles, tmp_path), (RemoteFiles, "memory://x")):
        monkeypatch.setattr(files, "exists", silent)
        assert "no answer" in unseen(str(where), "mark", "w2")


def test_a_node_that_cannot_read_a_file_leaves_it_to_the_others(monkeypatch, tmp_path):
    with marked(str(tmp_path)) as mark:
        with monkeypatch.context() as broken:
            broken.setattr(Path, "read_bytes", lambda path: os.stat("/nowhere/" * 1000))
            unseen(str(tmp_path), mark, "w2")
        assert unseen(str(tmp_path), mark, "w3") == ""


def test_a_storage_that_appears_late_is_waited_for(monkeypatch, tmp_path):
    monkeypatch.setattr(storage, "STORAGE_PATIENCE", 60.0)
    late = str(tmp_path / "late")
    monkeypatch.setattr(
        storage.time, "sleep", lambda _: Store(late).put_text(MARKS, "mark", "here")
    )
    assert unseen(late, "mark", "w2") == ""


class Pool(WorkerPool):
    """Workers that are nowhere."""

    def __init__(self, share):
        self.name = "registry"


def test_a_worker_that_refuses_leaves_none_of_tunes_notes(tmp_path, monkeypatch):
    """In place of Tune: the notes that it takes, and a worker that does not see the storage."""

    def tune_run(worker, *, search_alg, callbacks, storage_path, name, **_):
        notes = Path(storage_path) / name / "experiment_state.json"
        notes.parent.mkdir(parents=True)
        notes.write_text("{}")
        seen.append(notes)
        search_alg.suggest("1")
        search_alg.on_trial_complete("1", {"refused": "node w2 cannot access the storage"})
        callbacks[0].on_step_end(1, [])

    seen = []
    monkeypatch.setattr(launch.tune, "run", tune_run)
    monkeypatch.setattr(launch, "RayPool", Pool)
    monkeypatch.setattr(launch, "nodes", list)
    monkeypatch.setattr(launch, "share_of", lambda *_: {"CPU": 1.0, "GPU": 0.0})
    monkeypatch.setattr(launch, "watched", contextlib.nullcontext)
    settings = Settings(storage=str(tmp_path))
    jobs = [Job(record=trial(), needs=frozenset(), cost=1.0)]
    with pytest.raises(ValueError, match=r"^node w2 cannot access the storage$"):
        launch.run_jobs(
            jobs, settings, sweep="width", workers=1, provenance={}, on_done=lambda job: None
        )
    (notes,) = seen
    assert not notes.parent.exists()
    assert notes.is_relative_to(tmp_path)
