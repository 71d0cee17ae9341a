"""Every table from the shell, on screen and as a file; what cannot be done is one line and 2."""

import dataclasses
import functools
import os
import shutil
import subprocess
import sys

import pandas as pd
import pytest
from nbclient.exceptions import CellExecutionError

from analysis.__main__ import main
from analysis.answers.exports import EXPORTS, SAID, TableOptions, export
from analysis.narrowing import narrowed
from analysis.runs.files import write_frame
from analysis.runs.frames import Runs
from analysis.runs.mlflow import load_runs, load_sweeps
from analysis.statistics.summaries import with_summaries
from llfc.results import TABLES
from sweeps.record.measurement import Measurement
from sweeps.record.tracking import Tracker
from tests.helpers.fabricated_runs import connection, grid, runs_of, trial
from tests.helpers.quick_cases import slow_unless

WIDTH = grid(width=[0.25, 0.5, 1.0, 2.0], seed=[0, 1, 2])
FAMILIES = [
    *grid(architecture=["mlp", "vgg11"], width=[0.5, 1.0], seed=[0, 1, 2]),
    *grid(seed=[0, 1, 2], matching=["weights"]),
]


@pytest.fixture(scope="module")
def uri(empty_database, tmp_path_factory):
    folder = tmp_path_factory.mktemp("shell")
    address = empty_database(folder)
    for name, trials in {"width": WIDTH, "architecture": FAMILIES}.items():
        tracker = Tracker(address, name, folder)
        for one in trials:
            tracker.log(one, Measurement.of(connection(one), {"llfc.device": "cpu"}))
    tracker.log_failure(trial(width=4.0), "loss is nan at alpha 0.5")
    return address


@pytest.fixture(scope="module")
def both(uri):
    return load_sweeps([uri], ["width", "architecture"])


@pytest.mark.slow
def test_sweeps_of_a_store_are_joined(uri, both):
    assert both.sweep == "width+architecture"
    shared = set(WIDTH) & set(FAMILIES)
    assert shared
    assert len(both.trials) == len({*WIDTH, *FAMILIES})
    assert both.superseded == len(shared)
    assert load_sweeps([uri], ["width"]).sweep == load_runs(uri, "width").sweep


@pytest.mark.slow
def test_a_sweep_is_looked_for_in_every_store(uri, tmp_path):
    shutil.copy(uri.removeprefix("sqlite:///"), tmp_path / "mlflow.db")
    other = f"sqlite:///{tmp_path}/mlflow.db"
    tracker = Tracker(other, "width", tmp_path)
    tracker.log(trial(seed=9), Measurement.of(connection(trial(seed=9)), {}))
    runs = load_sweeps([uri, other], ["width", "architecture"])
    assert runs.trials["source"].nunique() == 2
    assert set(runs.trials["seed"]) == {0, 1, 2, 9}
    with pytest.raises(ValueError, match=r"^unknown sweep of sqlite:.* 'widht'.* mean 'width'\?$"):
        load_sweeps([uri, other], ["widht"])


NAMES = sorted(EXPORTS)
# Of every pair of columns by every method; the former are in `test_associations.py` too.
DEAR = {"associations", "correlations"}
every_table = pytest.mark.parametrize(
    "name", slow_unless({*NAMES[::3]} - DEAR, NAMES, {"associations"})
)


@pytest.fixture(scope="module")
def made(both: Runs):
    """Each table, made once, and the options that it read."""

    class Watched(TableOptions):
        def __getattribute__(self, field):
            read.add(field)
            return super().__getattribute__(field)

    read = set()
    options = Watched(x="width", threshold=0.45)

    @functools.cache
    def make(name):
        read.clear()
        return export(both, name, options), frozenset(read)

    return make


@every_table
def test_every_table_is_written_and_read_back(made, name, tmp_path):
    frame, _ = made(name)
    if name not in TABLES:
        assert len(frame)
    by_csv = pd.read_csv(write_frame(frame, tmp_path / "new" / "table.csv"), keep_default_na=False)
    by_parquet = pd.read_parquet(write_frame(frame, tmp_path / "table.parquet"))
    assert list(by_csv) == list(by_parquet) == list(frame)
    assert len(by_csv) == len(by_parquet) == len(frame)
    for column in frame.select_dtypes("float"):
        pd.testing.assert_series_equal(by_parquet[column], frame[column])


@every_table
def test_a_table_reads_the_options_that_it_takes_and_no_others(made, name):
    _, read = made(name)
    fields = {field.name for field in dataclasses.fields(TableOptions)}
    # What is asked for is checked whatever the table.
    assert read & fields - {"barrier", "error"} == set(EXPORTS[name].takes) - {"barrier", "error"}
    assert set(EXPORTS[name].takes) <= read


BARRED = [name for name in NAMES if "barrier" in EXPORTS[name].takes]


@pytest.mark.parametrize("name", slow_unless({"matched", "onsets"}, BARRED, {"correlations"}))
def test_a_summary_of_the_layers_may_stand_for_the_barrier(both, name):
    half = with_summaries(both)["llfc_ratio_max"].median()
    names = {"barrier": "llfc_ratio_max", "error": "llfc_error_last"}
    options = TableOptions(x="width", threshold=half, **names)
    assert len(export(both, name, options))


def test_a_csv_has_no_tuples(tmp_path):
    pairs = [("one/last@1", "two/last@2"), ("one/last@1", "a@b@3"), None]
    frame = pd.DataFrame(
        {"checkpoints": pairs, "probes": [("fc1", "fc2"), (), None], "mean": [0.5, 1.0, 2.0]}
    )
    back = pd.read_csv(write_frame(frame, tmp_path / "t.csv"), keep_default_na=False)
    assert list(back) == ["checkpoint_a", "checkpoint_b", "probes", "mean"]
    assert back["checkpoint_a"].tolist() == ["one/last", "one/last", ""]
    assert back["checkpoint_b"].tolist() == ["two/last", "a@b", ""]
    assert back["probes"].tolist() == ["fc1 fc2", "", ""]
    assert back["mean"].tolist() == [0.5, 1.0, 2.0]


def test_a_table_on_screen_and_what_it_leaves_out(uri, capsys):
    assert main(["table", "status", "--sweep", "architecture", "--tracking-uri", uri]) == 0
    said = capsys.readouterr()
    assert "FAILED" in said.out
    assert said.err.splitlines()[0] == "1 trial FAILED, not in these numbers."


@pytest.mark.slow
def test_a_reader_may_stop_reading():
    command = [sys.executable, "-m", "analysis", "table", "trials", "--sweep", "study-mlp"]
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as closed:
        ended = subprocess.run(
            [*command, "--tracking-uri", "docs/results"], stdout=closed, stderr=subprocess.PIPE
        )
    assert (ended.returncode, ended.stderr) == (0, b"")


@pytest.mark.slow
def test_a_table_is_as_its_options_say(uri, capsys, tmp_path):
    path = tmp_path / "cells.csv"
    asked = ["--by", "width", "architecture,width", "--barrier", "train_loss_mean"]
    asked += ["--error", "llfc_ratio_max", "--permutations", "99", "--out", str(path)]
    command = ["table", "correlations", "--sweep", "width", "architecture", "--tracking-uri", uri]
    assert main([*command, *asked]) == 0
    frame = pd.read_csv(path)
    assert capsys.readouterr().out == f"{len(frame)} rows: {path}\n"
    assert "width 0.25" in set(frame["group"])
    assert "architecture vgg11, width 0.5" in set(frame["group"])
    assert frame["p_permuted"].notna().any()


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (["table", "trails", "--sweep", "width"], "unknown table 'trails': .* mean 'trials'?"),
        (["table", "trials", "--sweep", "widht"], "unknown sweep of .* mean 'width'?"),
        (["table", "trials", "--sweep", "width", "--out", "a.txt"], "file must end in .csv or"),
        (["table", "trials", "--sweep", "width", "--out", "no/a.csv"], "no/a.csv: there is no "),
        (["table", "roc", "--sweep", "width", "--barrier", "loss"], "unknown column 'loss': .*"),
        (["table", "onsets", "--sweep", "architecture"], "architecture must be a numeric axis.*"),
        (["table", "layer-predictions", "--sweep", "width"], "architecture must have at least 2"),
        (
            ["table", "roc", "--by", "architecture", "--sweep", "width"],
            "table roc has no option --by: it has --barrier, --error, --threshold",
        ),
        (
            ["table", "trials", "--permutations", "0", "--sweep", "width"],
            "table trials has no option --permutations: it has none of these options",
        ),
        (["table", "partial", "--sweep", "width", "--given", "w"], "covariate must be a column"),
        (["table", "correlations", "--sweep", "width", "--by", "colour"], "by must be axes.*"),
        (["summary", "--sweep", "width", "--x", "colour"], "x must be an axis .*"),
        (["summary", "--sweep", "width", "--where", "seed"], "--where must be AXIS=VALUE, got 's"),
        (["summary", "--sweep", "width", "--where", "colour=1"], "unknown axis 'colour': choose"),
        (
            ["summary", "--sweep", "width", "--where", "width=3"],
            "no trial is left by --where width=3: width is 0.25, 0.5, 1, 2",
        ),
        (["table", "status", "--sweep", "width", "--columns", "status"], "unknown column 'stat"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(uri, asked, said, capsys):
    assert main([*asked, "--tracking-uri", uri]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    assert pd.Series([printed.err]).str.contains(said, regex=True).item() or said in printed.err


@pytest.mark.parametrize("asked", [[], ["table"], ["table", "trials"], ["trails"]])
def test_a_command_that_is_not_whole_is_one_line_too(asked, capsys):
    with pytest.raises(SystemExit) as left:
        main(asked)
    assert left.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_sweep_without_a_finished_trial_has_a_status_and_no_table():
    runs = runs_of([], failed=[trial()])
    assert len(export(runs, "every")) == 1
    with pytest.raises(
        ValueError, match=r"^table trials needs a finished trial, but width has none$"
    ):
        export(runs, "trials")


def test_a_notebook_that_fails_does_not_stop_the_others(monkeypatch, capsys):
    def execute(notebook, out):
        if notebook.stem == "correlations":
            raise CellExecutionError("", "ValueError", "too few")
        return out / notebook.name

    monkeypatch.setattr("analysis.__main__.sweep_names", lambda uri: {"width": "1"})
    monkeypatch.setattr("analysis.__main__.load_sweeps", lambda *given: None)
    monkeypatch.setattr("analysis.__main__.execute", execute)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///none.db")
    assert main(["notebooks", "--out", "made"]) == 2
    said = capsys.readouterr()
    assert "made/layers.ipynb" in said.out
    assert "made/width.ipynb" in said.out
    assert said.err.splitlines() == [
        "python -m analysis: notebook correlations.ipynb failed: ValueError: too few"
    ]


def test_a_table_of_some_trials_and_some_columns(uri, capsys, tmp_path):
    path = tmp_path / "trials.csv"
    command = ["table", "trials", "--sweep", "width", "--tracking-uri", uri, "--out", str(path)]
    where = ["--where", "width=0.25", "width=2", "seed=1", "spawn_epoch=none"]
    assert main([*command, *where, "--columns", "seed", "width"]) == 0
    frame = pd.read_csv(path)
    assert list(frame.columns) == ["seed", "width"]
    assert sorted(frame.values.tolist()) == [[1, 0.25], [1, 2.0]]


def test_trials_are_found_by_what_pages_show_and_by_what_is_typed():
    own = "mine:match@0123456789abcdef:rounds=2"
    trials = grid(width=[0.25, 1.0], seed=[0, 1], matching=["none", own], spawn_epoch=[0, None])
    runs, other = runs_of(trials, failed=[trial(width=4.0)]), runs_of(grid(width=[2.0]), "other")
    counts = {
        ("matching=none",): 8, (f"matching={own}",): 8, ("matching=mine:match:rounds=2",): 8,
        ("width=1.0", "seed=0"): 4, ("width=1", "width=0.25"): 16,
        ("spawn_epoch=independent",): 8, ("spawn_epoch=none",): 8, ("spawn_epoch=0",): 8,
    }  # fmt: skip
    for where, count in counts.items():
        assert [len(left.trials) for left in narrowed([runs], where)] == [count], where
    (left,) = narrowed([runs, other], ["width=2"])
    assert left.sweep == "other"
    (left,) = narrowed([runs], ["width=4"])
    assert (len(left.trials), len(left.unfinished)) == (0, 1)
    assert narrowed([runs, other], []) == [runs, other]


def test_help_says_what_each_table_is(capsys):
    assert SAID.keys() == EXPORTS.keys()
    with pytest.raises(SystemExit):
        main(["table", "--help"])
    said = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert {f"{name} {what}" for name, what in SAID.items()} <= set(said)
