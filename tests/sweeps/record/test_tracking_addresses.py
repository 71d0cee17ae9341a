"""Addresses of tracking stores: what cannot be one is refused in one line."""

import sqlite3
from contextlib import closing

import pytest

from analysis import ui
from analysis.runs.database import path_of
from analysis.runs.mlflow import load_runs
from sweeps.grid.settings import Settings
from sweeps.record.tracking import Tracker
from sweeps.run.study import run_sweep
from sweeps.smoke import SMOKE


def test_a_database_that_was_half_made_is_one_line_that_says_what_to_do(tmp_path):
    path = tmp_path / "mlflow.db"
    with closing(sqlite3.connect(path)) as half:
        half.execute("create table _alembic_tmp_runs (run_uuid text)")
        half.execute("create table experiments (experiment_id integer)")
    with pytest.raises(
        ValueError, match=r"mlflow\.db is not a complete MLflow database .*move it away"
    ) as said:
        Tracker(Settings(storage=str(tmp_path)).tracking, "width", tmp_path / "artifacts")
    assert "\n" not in str(said.value)


def test_an_address_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"tracking address sqlite:.* cannot be used") as said:
        Tracker(f"sqlite:///{tmp_path}/mlflow.db", "width", tmp_path / "file")
    assert "\n" not in str(said.value)


def test_a_database_that_cannot_be_made_is_one_line_at_once(tmp_path):
    with pytest.raises(ValueError, match=r"tracking address sqlite:.* cannot be used") as said:
        Tracker(f"sqlite:///{tmp_path}/none/mlflow.db", "width", tmp_path)
    assert "\n" not in str(said.value)


def test_a_deleted_experiment_is_one_line_with_the_ways_out(empty_database, tmp_path):
    uri = empty_database(tmp_path)
    tracker = Tracker(uri, "width", tmp_path)
    tracker._client.delete_experiment(tracker.experiment_id)
    with pytest.raises(
        ValueError, match=r"'width' is deleted: restore it .*--experiment-id 1\)"
    ) as e:
        Tracker(uri, "width", tmp_path)
    assert "\n" not in str(e.value)
    assert Tracker(uri, "wide", tmp_path).experiment_id != tracker.experiment_id
    tracker._client.restore_experiment(tracker.experiment_id)
    assert Tracker(uri, "width", tmp_path).experiment_id == tracker.experiment_id


@pytest.mark.parametrize(
    "address",
    ["x.db?a=b#c", "x.db?a", "x.db?mode=memory&uri=true", "x.db?timeout=1&a=b", "q?x/mlflow.db"],
)
def test_an_address_with_what_sqlite_would_not_heed_is_refused_in_one_line(address, tmp_path):
    after = address.partition("?")[2]
    uri = f"sqlite:///{tmp_path}/{address}"
    for refused in (
        lambda: Tracker(uri, "width", tmp_path),
        lambda: load_runs(uri, "width"),
        lambda: ui.serve(uri, 6543),
        lambda: run_sweep(SMOKE, {}, Settings(storage=f"{tmp_path}/new", tracking_uri=uri)),
    ):
        with pytest.raises(ValueError, match="must end with its file") as e:
            refused()
        assert f"got ?{after} after it" in str(e.value)
        assert "\n" not in str(e.value)
    assert not (tmp_path / "new").exists()
    assert not list(tmp_path.glob("*.db*"))


@pytest.mark.slow
def test_an_address_may_say_how_long_sqlite_waits(tmp_path):
    uri = f"sqlite:///{tmp_path}/mlflow.db?timeout=30"
    Tracker(uri, "width", tmp_path)
    assert path_of(uri).is_file()


@pytest.mark.parametrize("address", ["sqlite://", "sqlite:///:memory:"])
def test_a_database_in_memory_is_refused_in_one_line(address, tmp_path):
    with pytest.raises(
        ValueError, match=r"must name a file, .* give sqlite:////FOLDER/mlflow\.db"
    ) as e:
        Tracker(address, "width", tmp_path)
    assert "\n" not in str(e.value)
