"""`make` has a whole .venv of its own folder, whatever became of the one that is there."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# In place of Python: it makes an environment of its own kind, in steps, each of which takes TIME.
PYTHON = """#!/bin/sh
here=$(dirname "$0")
case "$*" in
*"venv --clear"*)
    for last; do :; done
    rm -rf "$last"; mkdir -p "$last/bin"; sleep $TIME
    cp "$0" "$last/bin/python"; sleep $TIME; touch "$last/pip" ;;
*"pip install"*uv==*)
    test -e "$here/../pip" || { echo "No module named pip" >&2; exit 1; }
    sleep $TIME; cp "$0" "$here/uv" ;;
*"pip install"*"-e ."*)
    sleep $TIME; mkdir -p "$here/../lib/llfc-1.dist-info"
    echo '{"url": "file://'"$PWD"'"}' > "$here/../lib/llfc-1.dist-info/direct_url.json"
    echo 'Name: llfc' > "$here/../lib/llfc-1.dist-info/METADATA" ;;
*"pip install"*) sleep $TIME ;;
*) PYTHONPATH="$here/../lib" exec REAL -S "$@" ;;
esac
""".replace("REAL", sys.executable)


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "a b"
    place.mkdir()
    for name in ("Makefile", "pyproject.toml", "requirements.txt"):
        shutil.copy(ROOT / name, place / name)
    (tmp_path / "python").write_text(PYTHON)
    (tmp_path / "python").chmod(0o755)
    return place


def start(folder, seconds):
    return subprocess.Popen(
        ["make", "setup", f"PYTHON={folder.parent}/python"],
        cwd=folder,
        env={**os.environ, "TIME": str(seconds)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def setup(folder):
    """What `make setup` says, and whether it made the environment anew."""
    old = folder / ".venv/old"
    if old.parent.is_dir():
        old.touch()
    out, err = start(folder, 0).communicate(timeout=600)
    assert err == ""
    recorded = json.loads((folder / ".venv/lib/llfc-1.dist-info/direct_url.json").read_text())
    assert recorded["url"] == f"file://{folder}"
    assert (folder / ".venv/.ready").exists()
    return out, not old.exists()


def test_what_is_whole_is_left_as_it_is(folder):
    assert setup(folder)[1]
    out, anew = setup(folder)
    assert not anew
    assert "setting up" not in out
    time.sleep(0.02)
    (folder / "requirements.txt").touch()
    out, anew = setup(folder)
    assert not anew
    assert "setting up" in out


@pytest.mark.parametrize("tool", ["python", "uv"])
@pytest.mark.parametrize("dangling", [False, True])
def test_an_environment_whose_tools_are_gone_is_made_anew(folder, tool, dangling):
    setup(folder)
    path = folder / ".venv/bin" / tool
    path.unlink()
    if dangling:
        path.symlink_to("/nowhere/python3.11")
    assert setup(folder)[1]


def test_a_folder_that_moved_gets_an_environment_of_its_own(folder):
    setup(folder)
    moved = folder.rename(folder.with_name("elsewhere"))
    assert setup(moved)[1]
    assert not setup(moved)[1]


@pytest.mark.parametrize("after", [0.2, 0.45, 0.75, 1.05])
def test_a_make_that_was_killed_leaves_nothing_that_stops_the_next(folder, after):
    run = start(folder, 0.25)
    time.sleep(after)
    os.killpg(run.pid, signal.SIGKILL)
    run.communicate()
    assert not (folder / ".venv/.ready").exists()
    setup(folder)


def test_a_make_that_was_killed_as_it_brought_an_environment_up_to_date(folder):
    setup(folder)
    time.sleep(0.02)
    (folder / "requirements.txt").touch()
    run = start(folder, 5)
    while (folder / ".venv/.ready").exists():
        assert run.poll() is None
        time.sleep(0.02)
    os.killpg(run.pid, signal.SIGKILL)
    run.communicate()
    assert setup(folder)[1]
