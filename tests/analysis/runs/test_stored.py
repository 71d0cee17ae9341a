"""Frames kept as files say what the store says, and nothing is lost on the way."""

import re

import pandas as pd
import pytest

from analysis.__main__ import main
from analysis.page.report import page_of, render
from analysis.page.summary import summary_text
from analysis.runs.mlflow import load_runs, load_sweeps, sweep_names
from analysis.runs.stored import SUPERSEDED, read_frames, write_frames
from llfc.results import TABLES
from tests.helpers.fabricated_runs import grid, runs_of
from tests.helpers.quick_cases import slow_unless

TRIALS = grid(width=[0.5, 1.0], spawn_epoch=[None, 2], matching=["none", "weights"], seed=[0, 1, 2])


@pytest.fixture(scope="module")
def runs():
    return runs_of(TRIALS)


@pytest.fixture
def folder(runs, tmp_path):
    write_frames(runs, tmp_path)
    return tmp_path


@pytest.mark.slow
def test_frames_are_read_back_as_they_were(runs, folder):
    back = load_runs(str(folder), "width")
    pd.testing.assert_frame_equal(
        back.trials.drop(columns="source"), runs.trials.drop(columns="source"), check_dtype=False
    )
    assert [type(v) for v in back.trials["spawn_epoch"]] == [
        type(v) for v in runs.trials["spawn_epoch"]
    ]
    for name in ("layers", "curves"):
        found, expected = (getattr(one, name).astype({"run_id": str}) for one in (back, runs))
        order = ["run_id", "alpha", *(["index"] if name == "layers" else [])]
        pd.testing.assert_frame_equal(
            *(f.sort_values(order, ignore_index=True) for f in (found, expected)),
            check_dtype=False,
            check_categorical=False,
        )
    for name in TABLES:
        assert len(back.table(name)) == len(runs.table(name))
    assert summary_text(back) == summary_text(runs)


def test_what_is_superseded_is_left_out_and_counted(folder):
    path = folder / "width.trials.parquet"
    frame = pd.read_parquet(path)
    matched = frame["matching"] == "weights"
    frame.assign(**{SUPERSEDED: matched.map({True: "by another method", False: ""})}).to_parquet(
        path
    )
    found = read_frames(folder, "width")
    assert set(found.trials["matching"]) == {"none"}
    assert found.outdated == matched.sum()
    assert SUPERSEDED not in found.trials


def test_a_parameter_that_came_later_has_no_value_in_older_frames(folder, monkeypatch):
    monkeypatch.setattr("analysis.page.report.sections_of", lambda findings: [])
    path = folder / "width.trials.parquet"
    pd.read_parquet(path).drop(columns=["limit_measured", "limit_test"]).to_parquet(path)
    found = load_runs(str(folder), "width")
    assert found.trials["limit_measured"].tolist() == [None] * len(found.trials)
    assert render(page_of(found))


@pytest.mark.slow
def test_a_folder_is_given_where_a_store_is(runs, folder, tmp_path, capsys):
    assert sweep_names(str(folder)) == {"width": "width"}
    assert len(load_sweeps([str(folder)], ["width"]).trials) == len(runs.trials)
    again = tmp_path / "again"
    asked = ["--sweep", "width", "--tracking-uri", str(folder)]
    assert main(["frames", *asked, "--out", str(again)]) == 0
    assert capsys.readouterr().out.splitlines()[0] == str(again / "width.trials.parquet")
    assert main(["table", "trials", "--sweep", "width", "--tracking-uri", str(again)]) == 0
    assert main(["table", "trials", "--sweep", "widht", "--tracking-uri", str(again)]) == 2
    assert "did you mean 'width'?" in capsys.readouterr().err


def test_a_frame_that_is_none_is_one_line(folder):
    (folder / "width.layers.parquet").write_bytes(b"nothing of the kind")
    with pytest.raises(ValueError, match=r"frame .*width\.layers\.parquet cannot be read: ") as e:
        _ = load_runs(str(folder), "width").layers
    assert "\n" not in str(e.value)


WANTED = [
    *(("trials", "run_id"), ("trials", "test_loss_chord")),
    *(("curves", "alpha"), ("layers", "coef")),
]


@pytest.mark.parametrize(("name", "column"), slow_unless(WANTED[:2], WANTED))
def test_a_frame_without_a_column_is_one_line(name, column, folder, capsys):
    path = folder / f"width.{name}.parquet"
    pd.read_parquet(path).drop(columns=column).to_parquet(path)
    assert main(["report", "--sweep", "width", "--tracking-uri", str(folder)]) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert f"{path} has no column {column!r}" in said[0]


@pytest.mark.slow
def test_a_run_without_its_curve_is_one_line(runs, folder, capsys):
    path = folder / "width.curves.parquet"
    curves, gone = pd.read_parquet(path), runs.trials["run_id"].iloc[0]
    curves[curves["run_id"] != gone].to_parquet(path)
    assert main(["report", "--sweep", "width", "--tracking-uri", str(folder)]) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert f"{path} has no run {gone!r}" in said[0]


@pytest.mark.parametrize("content", ["foreign", b"no frame", b""])
def test_notebooks_of_a_bad_frame_are_one_line_before_any_runs(content, tmp_path, capsys):
    path = tmp_path / "width.trials.parquet"
    if content == "foreign":
        pd.DataFrame({"a": [1, 2]}).to_parquet(path)
    else:
        path.write_bytes(content)
    assert main(["notebooks", "--tracking-uri", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert f"frame {path} " in said.err
    assert not (tmp_path / "out").exists()


STORES = {
    "a file": r"store \S*notes must be a folder of frames or an address, got a file: give \S+, or",
    "a folder that is not there": r"store \S*none does not exist: no such folder of frames$",
    "a database whose folder is not there": r"store sqlite:\S* does not exist \(no file \S*\)$",
    "a database without its driver": r"\*\*\*@\S* cannot be read: install its driver \(.*psycopg",
    "another kind": r"store ftp://host/x cannot be read: ",
    "an empty folder": r"there is no sweep in \S*: run one first$",
}


@pytest.mark.parametrize("command", ["summary --sweep all", "notebooks"])
@pytest.mark.parametrize("store", STORES)
def test_what_is_no_store_is_one_line(store, command, tmp_path, capsys):
    (tmp_path / "notes").write_text("hello")
    (tmp_path / "empty").mkdir()
    uris = {
        "a file": str(tmp_path / "notes"),
        "a folder that is not there": str(tmp_path / "none"),
        "a database whose folder is not there": f"sqlite:///{tmp_path}/none/mlflow.db",
        "a database without its driver": "postgresql+psycopg://me:secret@127.0.0.1/runs",
        "another kind": "ftp://host/x",
        "an empty folder": str(tmp_path / "empty"),
    }
    assert main([*command.split(), "--tracking-uri", uris[store]]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("python -m analysis: ")
    assert said.err.count("\n") == 1
    assert re.search(STORES[store], said.err.strip()), said.err
    assert "secret" not in said.err
    assert {path.name for path in tmp_path.iterdir()} == {"notes", "empty"}
