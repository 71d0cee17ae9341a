"""Where the store's bytes lie: the same laws for a folder and for a place that fsspec knows."""

import uuid
import warnings

import pytest
import torch

from llfc.networks.files import LocalFiles, RemoteFiles, files_at
from llfc.networks.store import Store, StoreWarning

TENSORS = {"a": torch.arange(6.0).view(2, 3)}


@pytest.fixture(params=["folder", "memory"])
def root(request, tmp_path):
    return tmp_path / "store" if request.param == "folder" else f"memory://{uuid.uuid4().hex}/store"


@pytest.fixture
def files(root):
    return files_at(root)


def test_a_uri_is_remote_and_everything_else_a_folder(tmp_path):
    assert isinstance(files_at(tmp_path), LocalFiles)
    assert isinstance(files_at(f"file://{tmp_path}"), LocalFiles)
    assert isinstance(files_at("memory://x"), RemoteFiles)


def test_what_is_written_is_read(files):
    files.check_writable()
    assert files.names("k") == []
    assert files.read("k/x.txt") is None
    assert not files.exists("k/x.txt")
    files.write("k/x.txt", b"one")
    assert files.read("k/x.txt") == b"one"
    files.write("k/x.txt", b"")
    assert files.read("k/x.txt") == b""
    assert files.names("k") == ["x.txt"]
    assert files.is_folder("k")
    assert not files.is_folder("k/x.txt")


def test_a_mark_tells_one_content_from_the_next(files):
    assert files.mark("k/x") is None
    files.write("k/x", b"one")
    before = files.mark("k/x")
    assert files.mark("k/x") == before
    files.write("k/x", b"another")
    assert files.mark("k/x") != before


def test_a_file_moves_once(files):
    files.write("k/x", b"one")
    files.move("k/x", "k/y")
    assert files.read("k/x") is None
    assert files.read("k/y") == b"one"
    with pytest.raises(FileNotFoundError):
        files.move("k/x", "k/z")


def test_what_is_removed_is_gone(files):
    files.write("k/x", b"one")
    files.remove("k/x")
    assert files.read("k/x") is None
    files.remove("k/x")  # once is enough


def test_a_store_anywhere_sees_damage(root, files):
    store = Store(root)
    store.check_writable()
    store.put_tensors("networks", "n", TENSORS, {"width": 1})
    store.put_text("connections", "c", "{}")
    assert store.names("networks") == ["n"]
    assert torch.equal(Store(root).get_tensors("networks", "n")["a"], TENSORS["a"])
    for path in ("networks/n.safetensors", "connections/c.txt"):
        files.write(path, files.read(path)[:-1])
    with pytest.warns(StoreWarning, match="n.safetensors quarantined as n.safetensors.damaged-1"):
        assert not store.has_tensors("networks", "n")
    with pytest.warns(StoreWarning, match="c.txt quarantined"):
        assert store.get_text("connections", "c") is None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not store.has_tensors("networks", "n")
        store.put_tensors("networks", "n", TENSORS, {"width": 1})
        assert store.has_tensors("networks", "n")


def test_a_place_that_does_not_answer_is_not_taken_for_damage(monkeypatch):
    store = Store("memory://silent/store")
    store.put_text("connections", "c", "{}")

    def silent(*_, **__):
        raise TimeoutError("no answer")

    monkeypatch.setattr(store._files.system, "cat_file", silent)
    with pytest.raises(ValueError, match=r"memory://silent.*/c\.txt cannot be read: no answer"):
        store.get_text("connections", "c")
    monkeypatch.setattr(store._files.system, "pipe_file", silent)
    with pytest.raises(ValueError, match=r"store: memory://.* cannot be written: no answer"):
        store.check_writable()


@pytest.mark.parametrize("uri", ["nowhere://bucket/folder", "s3//bucket://x"])
def test_an_unknown_scheme_is_one_line(uri):
    with pytest.raises(ValueError, match=f"storage {uri} cannot be used: ") as caught:
        Store(uri)
    assert "\n" not in str(caught.value)
