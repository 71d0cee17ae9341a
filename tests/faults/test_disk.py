"""Nothing lost when the disk under MLflow is full, for a while or until the sweep's end.

Every sweep here finds its results measured, and has only to log them.
"""

import os
import shutil
import subprocess
import time
from contextlib import contextmanager

import pytest

from tests.helpers.disturbed_sweeps import (
    PATIENCE,
    TRIALS,
    Place,
    assert_as_undisturbed,
    wait_until,
)

pytestmark = [pytest.mark.slow, pytest.mark.exhaustive]

TOLD = "; retrying for 120 seconds"


def measured(folder, undisturbed, **tracking):
    """A place where everything is measured and nothing is logged."""
    shutil.copytree(undisturbed.folder / "store", folder / "store")
    return Place(folder, **tracking)


def assert_finished(run, place, undisturbed, *, told):
    """It ended well, and its user was told `told` times of the trouble, a line each."""
    out, err = run.communicate(timeout=PATIENCE)
    assert run.returncode == 0, err
    assert "0 networks trained, 0 trials measured" in out
    assert err.count(TOLD) == told, err
    assert len(err.splitlines()) - err.count(" elapsed ") == told, err
    assert_as_undisturbed(place, undisturbed)


@contextmanager
def small_disk(folder, size):
    """A file system of its own at `folder`, as large as `size` says, such as 8m."""
    if os.geteuid():
        pytest.skip("only root can mount")
    folder.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("nothing can be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder):
    """A file that takes all the room that there is."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while file.write(bytes(4096)):
                pass
        except OSError:
            return filler


def test_a_full_disk_under_the_database(tmp_path, undisturbed):
    with small_disk(tmp_path / "disk", "8m") as disk:
        database = disk / "mlflow.db"
        uri = f"sqlite:///{database}"
        place = measured(tmp_path, undisturbed, tracking=uri, database=database)
        run = place.start()
        wait_until(run, lambda: "RUNNING" in place.statuses())
        filler = fill(disk)
        time.sleep(15)
        filler.unlink()
        assert_finished(run, place, undisturbed, told=1)


def test_a_full_disk_under_the_artifacts_that_stays_full(tmp_path, undisturbed):
    with small_disk(tmp_path / "artifacts", "8m") as disk:
        place = measured(tmp_path, undisturbed)
        filler = fill(disk)
        run = place.start()
        out, err = run.communicate(timeout=PATIENCE)
        assert run.returncode == 1, err
        assert err.count("measured, but not logged: ") == TRIALS
        assert err.count("No space left on device") > TRIALS
        assert "Traceback" not in out + err
        assert set(place.statuses()) <= {"FAILED"}
        filler.unlink()
        assert_finished(place.start(), place, undisturbed, told=0)
