"""The store: what is put in comes out, damage is seen and quarantined, nothing is half-written."""

import dataclasses
import errno
import os
import time
import warnings
from pathlib import Path

import pytest
import torch

from llfc.networks.files import LocalFiles
from llfc.networks.store import Store, StoreWarning
from llfc.specs import Network, Recipe, fingerprint

NET = Network(
    architecture="mlp",
    width=1,
    norm="none",
    dataset="made",
    limit_train=None,
    seed=0,
    recipe=Recipe(epochs=1, batch_size=1, optimizer="sgd", lr=0.1),
)
WEIGHTS = {
    "a.weight": torch.arange(6.0).view(2, 3),
    "b.half": torch.tensor([1.5, -2.0], dtype=torch.bfloat16),
    "c.count": torch.tensor(7),
    "d.empty": torch.empty(0, 3),
}


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def file_of(store, kind="networks"):
    (path,) = (path for path in (store.root / kind).iterdir() if "damaged" not in path.name)
    return path


def leftovers(store):
    return [path for path in store.root.rglob("*") if path.suffix == ".tmp"]


def test_what_is_put_in_comes_out(store):
    assert not store.has(NET)
    assert store.load_weights(NET) is None
    store.save_network(NET, WEIGHTS)
    assert store.has(NET)
    found = store.load_weights(NET)
    assert found.keys() == WEIGHTS.keys()
    for name, tensor in WEIGHTS.items():
        assert found[name].dtype == tensor.dtype
        assert found[name].shape == tensor.shape
        assert torch.equal(found[name], tensor)
    assert store.names("networks") == [fingerprint(NET)]
    assert not leftovers(store)


def test_any_memory_layout_is_kept_as_its_values(store):
    image = torch.arange(2 * 3 * 4 * 5.0).view(2, 3, 4, 5)
    tensors = {"last": image.to(memory_format=torch.channels_last), "slice": image[:, 1, ::2]}
    store.put_tensors("states", "x", tensors, {})
    found = store.get_tensors("states", "x")
    assert all(torch.equal(found[name], tensor) for name, tensor in tensors.items())


def test_equal_networks_are_equal_files(tmp_path):
    stores = [Store(tmp_path / str(i)) for i in range(12)]
    for each in stores:
        each.save_network(NET, WEIGHTS)
    assert len({file_of(each).read_bytes() for each in stores}) == 1


@pytest.mark.parametrize("text", ["", "one line", "two\nlines\n", "ünïcode \0", "a" * 100_000])
def test_texts_come_out_as_they_were(store, text):
    assert store.get_text("connections", "x") is None
    store.put_text("connections", "x", text)
    assert store.get_text("connections", "x") == text
    store.put_text("connections", "x", "newer")
    assert store.get_text("connections", "x") == "newer"


@pytest.mark.parametrize("files", [{}, {"curve": bytes(range(256)), "layers": b""}])
def test_files_come_out_as_they_were(store, files):
    assert store.get_files("pictures", "x") is None
    store.put_files("pictures", "x", files)
    assert store.get_files("pictures", "x") == files
    assert store.names("pictures") == ["x"]
    store.put_tensors("pictures", "x", {"curve": torch.zeros(2)}, {})
    assert store.get_files("pictures", "x") is None
    store.remove("pictures", "x")
    assert store.names("pictures") == []


def test_another_record_is_another_network(store):
    store.save_network(NET, WEIGHTS)
    assert not store.has(dataclasses.replace(NET, seed=1))


def _cut(path):
    path.write_bytes(path.read_bytes()[:-1])


def _empty(path):
    path.write_bytes(b"")


def _flip(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))


def _longer(path):
    path.write_bytes(path.read_bytes() + b"\0")


def _noise(path):
    path.write_bytes(bytes(range(256)) * 8)


def _huge_header(path):
    path.write_bytes((2**62).to_bytes(8, "little") + b"{}")


def _folder(path):
    path.unlink()
    path.mkdir()


def _renamed_tensor(path):
    path.write_bytes(path.read_bytes().replace(b"a.weight", b"z.weight"))


def _reshaped(path):
    path.write_bytes(path.read_bytes().replace(b"[2,3]", b"[3,2]"))


def _other_record(path):
    path.write_bytes(path.read_bytes().replace(b"none", b"nome"))


def _pipe(path):
    path.unlink()
    os.mkfifo(path)


HARM = [_cut, _empty, _flip, _longer, _noise, _huge_header, _folder, _pipe]
TENSOR_HARM = [_renamed_tensor, _reshaped, _other_record]


@pytest.mark.parametrize("harm", HARM + TENSOR_HARM)
def test_a_damaged_network_is_quarantined_and_absent(store, harm):
    store.save_network(NET, WEIGHTS)
    path = file_of(store)
    before = path.read_bytes()
    harm(path)
    assert not path.is_file() or path.read_bytes() != before
    with pytest.warns(StoreWarning, match=path.name):
        assert not store.has(NET)
    assert path.with_name(f"{path.name}.damaged-1").exists()
    assert not path.exists()
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # it is told once
        assert store.load_weights(NET) is None
        store.save_network(NET, WEIGHTS)
        assert store.has(NET)
        assert store.names("networks") == [fingerprint(NET)]


@pytest.mark.parametrize("harm", HARM)
def test_a_damaged_text_is_quarantined_and_absent(store, harm):
    store.put_text("connections", "x", "{}")
    path = file_of(store, "connections")
    harm(path)
    with pytest.warns(StoreWarning, match="quarantined as"):
        assert store.get_text("connections", "x") is None
    store.put_text("connections", "x", "{}")
    assert store.get_text("connections", "x") == "{}"


def test_damage_after_a_first_look_is_seen(store):
    store.save_network(NET, WEIGHTS)
    assert store.has(NET)
    _flip(file_of(store))
    with pytest.warns(StoreWarning):
        assert not store.has(NET)


def test_damaged_files_do_not_replace_one_another(store):
    for _ in range(3):
        store.save_network(NET, WEIGHTS)
        _cut(file_of(store))
        with pytest.warns(StoreWarning):
            assert not store.has(NET)
    aside = sorted(path.name[-9:] for path in (store.root / "networks").iterdir())
    assert aside == ["damaged-1", "damaged-2", "damaged-3"]


def test_an_unreadable_file_is_quarantined(store, monkeypatch):
    store.put_text("connections", "x", "{}")

    def refuse(path):
        raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.warns(StoreWarning, match="Input/output error"):
        assert store.get_text("connections", "x") is None


def test_a_folder_in_the_place_of_a_file_is_quarantined_when_written(store):
    path = store.root / "connections" / "x.txt"
    path.mkdir(parents=True)
    (path / "inner").write_text("")
    with pytest.warns(StoreWarning, match="it is a folder"):
        store.put_text("connections", "x", "{}")
    assert store.get_text("connections", "x") == "{}"


def test_a_store_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    store = Store(tmp_path / "file")
    assert not store.has(NET)
    for put in (
        lambda: store.save_network(NET, WEIGHTS),
        lambda: store.put_text("connections", "x", "{}"),
    ):
        with pytest.raises(ValueError, match=r"store: .*file.* cannot be written: ") as caught:
            put()
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_is_one_line_and_leaves_what_was_there(store, monkeypatch, call):
    store.put_text("connections", "x", "older")

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(*{"fsync": (os, "fsync"), "replace": (Path, "replace")}[call], full)
    with pytest.raises(ValueError, match=r"x\.txt cannot be written: No space left on device$"):
        store.put_text("connections", "x", "newer")
    assert store.get_text("connections", "x") == "older"
    assert not leftovers(store)


def test_an_interrupted_write_leaves_nothing(store, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        store.save_network(NET, WEIGHTS)
    assert not leftovers(store)
    assert not store.has(NET)


def test_temporary_files_of_killed_processes_go_after_a_day(store):
    store.put_text("connections", "x", "{}")
    folder = store.root / "connections"
    old, fresh = folder / ".y.txt.0.tmp", folder / ".z.txt.0.tmp"
    for path in (old, fresh):
        path.write_text("half")
    day_ago = time.time() - 25 * 3600
    os.utime(old, (day_ago, day_ago))
    store.put_text("connections", "w", "{}")
    assert not old.exists()
    assert fresh.exists()
    assert store.names("connections") == ["w", "x"]


def test_a_folder_that_cannot_be_read_is_said(store, monkeypatch):
    def refuse(self, folder):
        raise PermissionError(13, "Permission denied", str(self.root / folder))

    monkeypatch.setattr(LocalFiles, "names", refuse)
    with pytest.raises(ValueError, match=r"^store: .*status cannot be accessed: Perm.*$"):
        store.names("status")
