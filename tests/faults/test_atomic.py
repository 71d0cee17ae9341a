"""What is made in steps is whole or not there, whenever its maker is killed."""

import functools
import gc
import gzip
import hashlib
import http.server
import os
import subprocess
import sys
import threading
import time
import warnings

import numpy as np
import pytest
from torchvision import datasets

from llfc import atomic as whole
from llfc.atomic import made_whole
from llfc.data.datasets import load_dataset


def test_a_file_and_a_folder_appear_whole(tmp_path):
    with made_whole(tmp_path / "new" / "file") as beside:
        beside.write_text("half")
        assert not (tmp_path / "new/file").exists()
        beside.write_text("whole")
    with made_whole(tmp_path / "folder") as beside:
        beside.mkdir()
        (beside / "part").write_text("1")
    assert (tmp_path / "new/file").read_text() == "whole"
    assert (tmp_path / "folder/part").read_text() == "1"
    with made_whole(tmp_path / "new/file") as beside:
        beside.write_text("newer")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["file"]
    assert (tmp_path / "new/file").read_text() == "newer"


@pytest.mark.parametrize("folder", [False, True])
def test_nothing_is_left_of_what_fails(tmp_path, folder):
    def fail():
        with made_whole(tmp_path / "x") as beside:
            if folder:
                beside.mkdir()
                beside /= "part"
            beside.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_maker_left_goes_at_once_only_if_there_is_no_other(tmp_path):
    code = (
        "import os, runpy, sys; from pathlib import Path\n"
        "with runpy.run_path(sys.argv[2])['made_whole'](Path(sys.argv[1])) as beside:\n"
        "    beside.write_text('half'); Path(f'{beside}-journal').write_text('')\n"
        "    os.kill(os.getpid(), 9)"
    )
    run = subprocess.run([sys.executable, "-c", code, str(tmp_path / "x"), whole.__file__])
    assert run.returncode == -9
    left = sorted(tmp_path.iterdir())
    assert len(left) == 2
    with made_whole(tmp_path / "y", alone=True) as beside:
        beside.write_text("1")
    assert sorted(tmp_path.iterdir())[:2] == left, "another's may still be in the making"
    with made_whole(tmp_path / "x", alone=True) as beside:
        beside.write_text("1")
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["x", "y"]


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *words):
        pass


@pytest.fixture
def published(tmp_path, monkeypatch):
    """The folder of a server that has a small MNIST, and the root that it is downloaded to."""
    site, resources = tmp_path / "site", []
    site.mkdir()
    for prefix in ("train", "t10k"):
        images = bytes([0, 0, 8, 3]) + np.array([3, 28, 28], ">i4").tobytes() + bytes(3 * 784)
        labels = bytes([0, 0, 8, 1]) + np.array([3], ">i4").tobytes() + bytes([7, 1, 9])
        for name, content in (("images-idx3", images), ("labels-idx1", labels)):
            packed = gzip.compress(content)
            (site / f"{prefix}-{name}-ubyte.gz").write_bytes(packed)
            digest = hashlib.md5(packed).hexdigest()
            resources.append((f"{prefix}-{name}-ubyte.gz", digest))
    handler = functools.partial(Quiet, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        monkeypatch.setattr(datasets.MNIST, "mirrors", [f"http://127.0.0.1:{server.server_port}/"])
        monkeypatch.setattr(datasets.MNIST, "resources", resources)
        yield site, tmp_path / "root"
        server.shutdown()
    with warnings.catch_warnings():  # the answers of a failed download, which urllib leaves open
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


def load(root):
    return load_dataset("mnist", cache=root, data_root=root, progress=False)


def test_a_data_set_that_was_half_unpacked_is_fetched_again(published):
    _, root = published
    assert load(root).test_labels.tolist() == [7, 1, 9]
    raw = root / "MNIST/raw"
    half = raw / "t10k-labels-idx1-ubyte"
    half.write_bytes(half.read_bytes()[:9])  # as a process leaves it that is killed as it unpacks
    (raw / "t10k-labels-idx1-ubyte.gz").unlink()
    assert load(root).test_labels.tolist() == [7, 1, 9]
    assert (root / "MNIST.damaged-1/raw" / half.name).stat().st_size == 9


@pytest.mark.slow
def test_a_data_set_that_cannot_be_fetched_whole_is_not_there(published):
    site, root = published
    last = site / "t10k-labels-idx1-ubyte.gz"
    content = last.read_bytes()
    last.unlink()
    with pytest.raises(ValueError, match=r"MNIST is missing .*could not be downloaded") as caught:
        load(root)
    assert "\n" not in str(caught.value)
    assert [path.name for path in root.iterdir()] == [".MNIST.lock"]
    last.write_bytes(content)
    assert load(root).test_labels.tolist() == [7, 1, 9]


@pytest.mark.slow
def test_archives_that_were_put_there_are_enough_without_a_network(published):
    site, root = published
    (root / "MNIST").mkdir(parents=True)
    site.rename(root / "MNIST/raw")
    assert load(root).test_labels.tolist() == [7, 1, 9]


@pytest.mark.slow
def test_a_whole_data_set_is_read_from_a_folder_that_nobody_may_write(published):
    _, root = published
    load(root)
    (root / ".MNIST.lock").unlink(missing_ok=True)
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    time.sleep(0.01)
    assert load(root).test_labels.tolist() == [7, 1, 9]
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before
    assert not os.path.exists(root / ".MNIST.lock")
