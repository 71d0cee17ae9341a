"""`llfc connect`: a folder of numbers, figures and a page that needs nothing beside it."""

import csv
import re

import pytest

import llfc
from llfc.results import connection_from_json
from tests.helpers.command_files import CODE, status_of, written

HOW = ("--model", "mine.py:build", "--data", "mine.py:load", "--alphas", "3", "-q")
FILES = ("0.safetensors", "1.safetensors", "2.safetensors")


@pytest.fixture
def models(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return written(tmp_path, 3)


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
def test_a_pair(models, tmp_path):
    assert status_of("connect", *FILES[:2], *HOW, "--out", "pair") == 0
    names = {}
    exec(CODE, names)
    data = names["load"]()
    wanted = llfc.connect(*models[:2], test=data["test"], train=data["train"], alphas=3)
    folder = tmp_path / "pair"
    found = connection_from_json((folder / "connection.json").read_text())
    assert found.barriers == pytest.approx(wanted.barriers, rel=1e-6)
    curve = rows(folder / "curve.csv")
    assert [float(row["test_loss"]) for row in curve] == found.curve["test_loss"].tolist()
    scalars = {row["name"]: float(row["value"]) for row in rows(folder / "scalars.csv")}
    assert scalars["test_loss_chord"] == found.barriers["test_loss_chord"]
    assert len(rows(folder / "layers.csv")) == 3 * len(found.layers)
    page = (folder / "index.html").read_text()
    assert page.count("<svg") == 2
    assert re.findall(r"<(?:script|link|img|iframe)|(?:src|url)\s*[=(]\s*[\"']?http", page) == []
    assert {"curve.svg", "curve.png", "layers.svg", "layers.png"} <= {
        path.name for path in folder.iterdir()
    }


@pytest.mark.slow
def test_several_pairs_without_matplotlib_and_pyarrow(models, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    more = ("--matching", "none", "--measure", "samples", "--correction", "none")
    assert status_of("connect", *FILES, *HOW, *more, "--out", "pairs") == 0
    folders = ["1-0--2-1", "1-0--3-2", "2-1--3-2"]
    place = tmp_path / "pairs"
    assert sorted(path.name for path in place.iterdir() if path.is_dir()) == folders
    assert [row["pair"] for row in rows(place / "pairs.csv")] == folders
    assert all(
        f'href="{name}/index.html"' in (place / "index.html").read_text() for name in folders
    )
    said = "no figures, as matplotlib is not installed: pip install 'llfc[figures]'"
    assert said in capsys.readouterr().out
    assert said.capitalize()[:40] in (place / folders[0] / "index.html").read_text()
    assert {path.suffix for path in (place / folders[0]).iterdir()} == {".json", ".csv", ".html"}
