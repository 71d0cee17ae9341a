"""Plug-ins: what of their code counts, that what counts is what runs, and errors in one line."""

import json
import os
import re
import shutil
import sys
from textwrap import dedent

import pytest

from llfc.names import readable
from llfc.plugins import code_of, function_of, is_own, learn, registry, resolve
from llfc.plugins.sources import Source

MAIN = """
import json
import llfc
import helper
import pkg.deep
from pkg import beside


def build(width):
    from late import LATE

    return width, helper.HELP, pkg.deep.DEEP, beside.BESIDE, LATE
"""
FILES = {
    "mynet.py": MAIN,
    "helper.py": "HELP = 1\n",
    "pkg/__init__.py": "",
    "pkg/deep.py": "from .beside import BESIDE\n\nDEEP = BESIDE + 1\n",
    "pkg/beside.py": "BESIDE = 1\n",
    "late.py": "LATE = 3\n",
    "train.py": "import mynet\n",
}
COVERED = [name for name in FILES if name != "train.py"]


def write(folder, files):
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text))
    return folder


@pytest.fixture
def project(tmp_path):
    return write(tmp_path / "mine", FILES)


def named(folder, function="build", file="mynet.py", kind="architecture"):
    return resolve(kind, f"{folder / file}:{function}")


def refusal(folder, text, function="build", kind="architecture"):
    write(folder, {"mynet.py": text})
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        named(folder, function, kind=kind)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# What counts


def test_the_code_is_what_is_imported_by_statement_from_beside(project):
    name = named(project)
    assert sorted(json.loads(code_of(name))["files"]) == sorted(COVERED)
    assert re.fullmatch(r"mynet:build@[0-9a-f]{16}", name)
    assert readable(name) == "mynet:build"
    assert function_of("architecture", name)(width=7) == (7, 1, 2, 1, 3)


@pytest.mark.parametrize("changed", FILES)
def test_a_change_of_any_of_its_files_is_another_plugin_and_of_others_is_not(project, changed):
    before = named(project)
    with (project / changed).open("a") as file:
        file.write("# a remark\n")
    assert (named(project) != before) == (changed in COVERED)


def test_where_it_lies_does_not_count(project, tmp_path, monkeypatch):
    moved = shutil.copytree(project, tmp_path / "else where" / "moved")
    assert named(moved) == named(project)
    monkeypatch.chdir(moved)
    assert resolve("architecture", "mynet.py:build") == named(project)
    assert resolve("architecture", "mynet:build") == named(project)


def test_functions_of_one_file_share_its_digits(tmp_path):
    write(tmp_path, {"both.py": "def one(): ...\ndef two(): ...\n"})
    one, two = (named(tmp_path, f, "both.py") for f in ("one", "two"))
    assert one.split("@")[1] == two.split("@")[1]
    assert one != two


# What counts is what runs


def test_an_edit_makes_a_new_function_and_leaves_the_old_one(project):
    before = named(project)
    write(project, {"helper.py": "HELP = 10\n", "late.py": "LATE = 30\n"})
    after = named(project)
    assert function_of("architecture", after)(width=7) == (7, 10, 2, 1, 30)
    # `late` is imported only as the function runs.
    assert function_of("architecture", before)(width=7) == (7, 1, 2, 1, 3)


def test_files_of_one_name_are_told_apart(tmp_path):
    text = "import helper\ndef build(): return helper.HELP\n"
    names = [
        named(write(tmp_path / str(n), {"mynet.py": text, "helper.py": f"HELP = {n}"}))
        for n in range(2)
    ]
    assert [function_of("architecture", name)() for name in names] == [0, 1]
    assert "helper" not in sys.modules
    assert "mynet" not in sys.modules


def forget(monkeypatch):
    """As in another process: nothing is known."""
    monkeypatch.setattr(registry, "_known", {})
    registry._function.cache_clear()


def test_the_code_as_text_is_enough_elsewhere(project, monkeypatch):
    name = named(project)
    text = code_of(name)
    shutil.rmtree(project)
    forget(monkeypatch)
    with pytest.raises(ValueError, match="its code is not known here"):
        function_of("architecture", name)
    learn(name, text)
    assert function_of("architecture", name)(width=7) == (7, 1, 2, 1, 3)


def test_other_code_under_its_name_is_never_run(project, monkeypatch):
    name = named(project)
    content = json.loads(code_of(name))
    content["files"]["helper.py"] = "import os; os.environ['LLFC_HIT'] = '1'"
    forget(monkeypatch)
    with pytest.raises(ValueError, match="is damaged: its digest is"):
        learn(name, json.dumps(content, sort_keys=True))
    with pytest.raises(ValueError, match="its code is not known here"):
        function_of("architecture", name)
    assert "LLFC_HIT" not in os.environ


def test_paths_are_no_part_of_the_code():
    files = {"a.py": "x = 1"}
    here, there = (Source(module="a", files=files, paths={"a.py": p}) for p in ("/here", "/there"))
    assert here == there
    assert here.digest == there.digest
    assert "here" not in here.to_text()
    assert Source.from_text(here.to_text()) == here


def test_classes_of_a_plugin_show_their_source(tmp_path):
    """Which torch reads of the modules that it compiles."""
    import inspect

    write(tmp_path, {"mynet.py": "class Net:\n    size = 3\n"})
    assert inspect.getsource(function_of("architecture", named(tmp_path, "Net"))) == (
        "class Net:\n    size = 3\n"
    )


# Installed packages


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A place of installed packages, with one that has an entry point."""
    place = write(
        tmp_path / "site-packages",
        {
            "installed/__init__.py": "",
            "installed/nets.py": "from installed.parts import PART\ndef build(): return PART\n",
            "installed/parts.py": "PART = 5\n",
            "installed-1.0.dist-info/METADATA": (
                "Metadata-Version: 2.1\nName: installed\nVersion: 1.0\n"
            ),
            "installed-1.0.dist-info/top_level.txt": "installed\n",
            "installed-1.0.dist-info/entry_points.txt": (
                "[llfc.architectures]\ntheirs = installed.nets:build\n"
            ),
        },
    )
    monkeypatch.syspath_prepend(place)
    registry._entry_points.cache_clear()
    yield place
    registry._entry_points.cache_clear()
    for name in [name for name in sys.modules if name.startswith("installed")]:
        del sys.modules[name]


def test_an_entry_point_is_a_name(site):
    name = resolve("architecture", "theirs")
    assert readable(name) == "installed.nets:build"
    assert name == resolve("architecture", "installed.nets:build")
    assert function_of("architecture", name)() == 5
    assert is_own("architecture", "theirs", ["mlp"])
    with pytest.raises(ValueError, match=r"choose from mlp, theirs; did you mean 'theirs'"):
        is_own("architecture", "their", ["mlp"])


def test_the_files_of_an_installed_package_count_and_must_be_alike_everywhere(site, monkeypatch):
    name = resolve("architecture", "theirs")
    text = code_of(name)
    forget(monkeypatch)
    learn(name, text)
    forget(monkeypatch)
    write(site, {"installed/parts.py": "PART = 6\n"})
    with pytest.raises(ValueError, match="is another version here: install the same one"):
        learn(name, text)
    assert resolve("architecture", "theirs") != name


@pytest.mark.slow
def test_of_a_package_that_is_only_imported_the_version_counts(site, tmp_path):
    write(tmp_path, {"mynet.py": "import torch, installed\ndef build(): ...\n"})
    before = named(tmp_path)
    content = json.loads(code_of(before))
    assert list(content["files"]) == ["mynet.py"]
    assert content["versions"] == ["installed==1.0"]
    metadata = site / "installed-1.0.dist-info" / "METADATA"
    metadata.write_text(metadata.read_text().replace("1.0", "1.1"))
    assert named(tmp_path) != before


# Errors


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("def build(:\n", r"architecture .*mynet.py:build: .*mynet.py, line 1: invalid syntax"),
        ("import helper\n", "no function 'build' in mynet"),
        ("build = 3\n", "'build' is no function in mynet"),
        ("def other(): ...\n", "no function 'build' in mynet; there is other"),
        (
            "x = 1\ny = 1 / 0\ndef build(): ...\n",
            r"architecture mynet:build raised ZeroDivisionError: division by zero"
            r" \(mynet.py, line 2\)",
        ),
        ("import nowhere_at_all\n", "raised ModuleNotFoundError: No module named 'nowhere_at_all'"),
        ("import sys; sys.exit('bye')\n", "raised SystemExit: bye"),
        ("x = '\0'\n", "source code string cannot contain null bytes"),
    ],
)
def test_code_that_cannot_be_used(tmp_path, text, said):
    write(tmp_path, {"helper.py": ""})
    assert re.search(said, refusal(tmp_path, text)), refusal(tmp_path, text)


def test_code_that_would_not_count_is_refused(tmp_path, monkeypatch):
    write(tmp_path, {"hidden.py": "x = 1\n"})
    monkeypatch.syspath_prepend(tmp_path)
    text = "import importlib\nhidden = importlib.import_module('hidden')\ndef build(): ...\n"
    said = refusal(tmp_path, text)
    assert said == (
        "architecture mynet:build must import hidden by an import statement, so that its code"
        " counts too"
    )
    sys.modules.pop("hidden", None)


def test_what_names_nothing(tmp_path):
    with pytest.raises(ValueError, match="cannot be read: No such file"):
        named(tmp_path, file="gone.py")
    with pytest.raises(ValueError, match="there is no module 'nowhere_at_all'"):
        resolve("architecture", "nowhere_at_all:build")
    for name in ("mynet.py", "mynet.py:"):
        with pytest.raises(ValueError, match=r"names no function: give mynet.py:FUNCTION"):
            resolve("architecture", name)
