"""A worker does nothing where it does not see the storage that the driver writes."""

import os
import uuid
from pathlib import Path

import pytest

from llfc.networks.files import LocalFiles, RemoteFiles
from llfc.networks.store import Store
from sweeps.run import storage
from sweeps.run.storage import MARKS, marked, unseen


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
