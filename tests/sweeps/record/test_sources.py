"""Which code made a result: the commit and the hash of all its source files."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sweeps.record import commit, reporting
from tests.helpers.fabricated_runs import runs_of as frames_of
from tests.helpers.fabricated_runs import trial as fabricated


def test_commit_is_known_or_said_to_be_unknown(monkeypatch, tmp_path):
    monkeypatch.setattr(commit, "__file__", str(tmp_path / "commit.py"))
    assert commit.commit() == "unknown"


def test_a_script_that_is_not_as_committed_is_marked(monkeypatch, tmp_path):
    committed = commit.ROOT / "sweeps/width.py"
    copy = tmp_path / "width.py"
    copy.write_bytes(committed.read_bytes())
    assert not commit._is_other(None)
    assert not commit._is_other(committed)
    assert not commit._is_other(copy), "as `ray submit` puts it into the home of the head"
    copy.write_text(copy.read_text().replace("0, 1, 2", "0, 1"))
    assert commit._is_other(copy)
    assert commit._is_other(tmp_path / "mine.py")
    monkeypatch.setattr(commit, "_git", lambda folder, *words: "a" * 40 * (words[0] != "status"))
    for script, expected in ((committed, "a" * 40), (copy, "a" * 40 + "+changes")):
        monkeypatch.setattr(commit.sys.modules["__main__"], "__file__", str(script), raising=False)
        assert commit.commit() == expected


def test_sources_are_named_by_all_their_files(monkeypatch, tmp_path):
    names = set()
    for content in ({"a.py": "1"}, {"a.py": "2"}, {"b.py": "1"}, {"a.py": "1", "c.py": ""}):
        folder = tmp_path / str(len(names)) / "llfc"
        folder.mkdir(parents=True)
        for name, text in {**content, "notes.txt": str(len(names))}.items():
            (folder / name).write_text(text)
        monkeypatch.setattr(commit, "PACKAGES", (str(folder),))
        commit.sources.cache_clear()
        names.add(commit.sources())
    commit.sources.cache_clear()
    assert len(names) == 4


def test_a_page_is_made_again_once_the_sources_are_others():
    """A commit with changes is called the same after further changes."""
    runs = frames_of([fabricated()])
    made_by = {"llfc.commit": "a+changes", "llfc.versions": "{}", "llfc.sources": "1"}
    first = reporting._digest("width", runs, made_by)
    assert reporting._digest("width", runs, dict(made_by)) == first
    for name in made_by:
        assert reporting._digest("width", runs, {**made_by, name: "2"}) != first


@pytest.mark.slow
def test_sources_that_are_unpacked_apart_are_the_same(tmp_path):
    """As Ray does with a driver's packages on the nodes of a cluster."""
    apart = []
    for package in map(Path, commit.PACKAGES):
        apart.append(tmp_path / f"only {package.name}")
        ignored = shutil.ignore_patterns("__pycache__", "*.ipynb")
        shutil.copytree(package, apart[-1] / package.name, ignore=ignored)
    script = "from sweeps.record import commit; print(commit.__file__, commit.sources(), sep='\\n')"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, apart))}
    command = [sys.executable, "-c", script]
    run = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert run.stdout.splitlines() == [f"{apart[1]}/sweeps/record/commit.py", commit.sources()]
