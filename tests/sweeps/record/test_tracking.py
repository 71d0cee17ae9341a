"""What tracking writes, analysis reads back, exactly; a run is complete, failed, or not there."""

import dataclasses
import json
import math
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis.runs.mlflow import load_runs
from analysis.runs.params import params_of
from llfc.results import BARRIERS, CURVE, PROFILE, TABLES, Connection, LayerProfile
from llfc.specs import Pair, Recipe, Trial, fingerprint
from sweeps.grid.settings import Settings
from sweeps.record import tracking
from sweeps.record.flattening import metrics_of
from sweeps.record.measurement import Measurement
from sweeps.record.tracking import Tracker
from tests.helpers.fabricated_runs import trial as fabricated

ALPHAS = 5
RECIPE = Recipe(
    epochs=3, batch_size=10, optimizer="sgd", lr=0.1, milestones=(0.5, 0.75), schedule="step"
)


def trial(seed=0):
    made = fabricated(width=0.25, seed=seed, recipe=RECIPE, alphas=ALPHAS)
    return dataclasses.replace(made, probes=("fc1", "fc2"))


def connection(seed=0, layers=2):
    rng = np.random.default_rng(seed)
    profiles = [
        LayerProfile(
            name=f"fc{i}",
            baseline=rng.uniform(),
            baseline_std=rng.uniform(),
            **{column: rng.uniform(size=ALPHAS) for column in PROFILE},
        )
        for i in range(layers)
    ]
    curve = {column: rng.uniform(size=ALPHAS) for column in CURVE}
    return Connection(
        curve=curve | {"alpha": np.linspace(0, 1, ALPHAS)},
        barriers={name: rng.uniform() for name in BARRIERS},
        layers=tuple(profiles),
        summaries={"llfc_error_mean": rng.uniform(), "undefined": math.nan},
        matching={"objective": rng.uniform()},
        tables={
            "similarity": {
                "layer": [f"fc{i}" for i in range(layers)],
                **{name: rng.uniform(size=layers) for name in TABLES["similarity"][1:]},
            },
            "random_direction": {
                "start": ["a", "b"],
                "loss": np.array([0.5, math.nan]),
                "error": rng.uniform(size=2),
            },
        },
    )


@pytest.fixture(scope="module")
def uri(empty_database, tmp_path_factory):
    """A store for the whole file."""
    return empty_database(tmp_path_factory.mktemp("tracking"))


@pytest.fixture
def tracker(uri, tmp_path, request):
    return Tracker(uri, request.node.name[:60], tmp_path / "artifacts")


def runs_of(tracker, view=1):
    return tracker._client.search_runs([tracker.experiment_id], run_view_type=view)


def test_everything_written_is_read_back(uri, tracker, request):
    written = {fingerprint(t): (t, connection(i)) for i, t in enumerate([trial(0), trial(1)])}
    for one, found in written.values():
        tracker.log(one, Measurement.of(found, {"llfc.device": "cpu"}))
    runs = load_runs(uri, request.node.name[:60])
    assert len(runs.trials) == 2
    for _, row in runs.trials.iterrows():
        one, found = written[row["fingerprint"]]
        for name, value in found.scalars().items():
            if not math.isnan(value):
                assert row[name] == value, name
        for name, value in params_of(one).items():
            if value is None:
                assert pd.isna(row[name]), name
            else:
                assert row[name] == value, name
    for (name, alpha), group in runs.layers.groupby(["fingerprint", "alpha"]):
        _, found = written[name]
        i = list(found.curve["alpha"]).index(alpha)
        for column in PROFILE:
            assert list(group[column]) == [getattr(layer, column)[i] for layer in found.layers]
    for name, group in runs.curves.groupby("fingerprint"):
        for column in CURVE:
            assert list(group[column]) == list(written[name][1].curve[column])
    for table in ("similarity", "random_direction"):
        for name, group in runs.table(table).groupby("fingerprint"):
            for column, values in written[name][1].tables[table].items():
                np.testing.assert_array_equal(group[column].to_numpy(), values)
    assert runs.table("logits").empty
    with pytest.raises(ValueError, match=r"unknown table 'logit': choose from .*did you mean"):
        runs.table("logit")


def test_a_folder_with_a_space_and_an_accent_is_read_back(uri, tmp_path):
    name = "read back from an odd folder"
    Tracker(uri, name, tmp_path / "été 100 %").log(trial(), Measurement.of(connection(), {}))
    runs = load_runs(uri, name)
    assert len(runs.layers) == 2 * ALPHAS
    assert runs.only(set()).trials.empty


@pytest.mark.slow
def test_a_database_in_a_folder_of_any_name_is_where_it_should_be(tmp_path):
    folder = tmp_path / "été 100% p%41 h#1 q?mode=ro&x it's a+b"
    uri = Settings(storage=str(folder)).tracking
    Tracker(uri, "width", folder / "artifacts").log(
        trial(), Measurement.of(connection(), {}, {"curve": b"x"})
    )
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]
    assert (folder / "mlflow.db").is_file()
    assert len(load_runs(uri, "width").layers) == 2 * ALPHAS
    (figure,) = folder.glob("artifacts/width/*/artifacts/figures/curve.png")
    assert figure.read_bytes() == b"x"


def test_a_run_has_params_steps_tags_and_artifacts(tracker):
    figures = {"curve": b"a figure", "layers": b"another"}
    tracker.log(trial(), Measurement.of(connection(), {"llfc.device": "cpu"}, figures))
    (run,) = runs_of(tracker)
    assert run.info.status == "FINISHED"
    assert run.info.run_name == run.data.tags["llfc.fingerprint"] == fingerprint(trial())
    assert run.data.params["recipe.milestones"] == "(0.5, 0.75)"
    assert run.data.params["spawn_epoch"] == "None"
    assert "undefined" not in run.data.metrics
    assert {"llfc.commit", "llfc.versions", "llfc.device", "llfc.sweep"} <= run.data.tags.keys()
    assert "torch" in json.loads(run.data.tags["llfc.versions"])
    assert "independent, seed 0, matching none" in run.data.tags["mlflow.note.content"]
    client = tracker._client
    about = client.get_experiment(tracker.experiment_id).tags["mlflow.note.content"]
    assert "report of" in about
    curve = client.get_metric_history(run.info.run_id, "curve/test_loss")
    assert [m.step for m in sorted(curve, key=lambda m: m.step)] == list(range(ALPHAS))
    layers = client.get_metric_history(run.info.run_id, "layer/cos_error")
    assert [m.value for m in sorted(layers, key=lambda m: m.step)] == [
        layer.cos_error[ALPHAS // 2] for layer in connection().layers
    ]
    similar = client.get_metric_history(run.info.run_id, "similarity/cka_ab")
    assert [m.value for m in sorted(similar, key=lambda m: m.step)] == list(
        connection().tables["similarity"]["cka_ab"]
    )
    paths = {
        f.path for d in ("", "tables", "figures") for f in client.list_artifacts(run.info.run_id, d)
    }
    assert paths >= {
        "connection.json",
        "tables/curve.csv",
        "tables/layers.csv",
        "tables/similarity.csv",
        "tables/random_direction.csv",
        "figures/curve.png",
        "figures/layers.png",
    }


def test_the_artifact_is_the_text_that_the_worker_wrote(tracker, tmp_path):
    measurement = Measurement.of(connection(), {})
    text = f" {measurement.text}\n"  # as json.dumps would not write it
    tracker.log(trial(), dataclasses.replace(measurement, text=text))
    (run,) = runs_of(tracker)
    path = tracker._client.download_artifacts(run.info.run_id, "connection.json", str(tmp_path))
    assert Path(path).read_text() == text


@pytest.mark.slow
def test_more_metrics_than_one_call_takes(tracker):
    tracker.log(trial(), Measurement.of(connection(layers=300), {}))
    (run,) = runs_of(tracker)
    history = tracker._client.get_metric_history(run.info.run_id, "layer/cos_error")
    assert len(history) == 300


def test_nothing_is_left_of_a_run_that_could_not_be_written(tracker, monkeypatch):
    def full_disk(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tracking, "tables_of", full_disk)
    with pytest.raises(ValueError, match=r"cannot be used: .*No space left"):
        tracker.log(trial(), Measurement.of(connection(), {}))
    assert runs_of(tracker) == []
    assert tracker.finished() == set()


def test_a_failure_is_a_failed_run_until_the_trial_succeeds(tracker):
    tracker.log_failure(trial(), "ValueError: loss is nan at alpha 0.5")
    tracker.log_failure(trial(), "ValueError: loss is nan at alpha 0.25")
    (run,) = runs_of(tracker)
    assert run.info.status == "FAILED"
    assert run.data.tags["llfc.reason"] == "ValueError: loss is nan at alpha 0.25"
    assert tracker.finished() == set()
    tracker.log(trial(), Measurement.of(connection(), {}))
    (run,) = runs_of(tracker)
    assert run.info.status == "FINISHED"
    assert tracker.finished() == {fingerprint(trial())}


def test_of_two_complete_runs_of_a_trial_one_stays(tracker):
    tracker.log(trial(), Measurement.of(connection(), {}))
    tracker.log(trial(), Measurement.of(connection(), {}))
    assert len(runs_of(tracker)) == 1


def test_what_a_stopped_driver_left_is_removed(tracker):
    client = tracker._client
    dead = {"llfc.kind": "trial", "llfc.driver": f"{tracking.socket.gethostname()}:4194304"}
    client.create_run(tracker.experiment_id, run_name="half", tags=dead)
    alive = dead | {"llfc.driver": f"{tracking.socket.gethostname()}:1"}
    kept = client.create_run(tracker.experiment_id, run_name="other", tags=alive)
    assert tracker.remove_abandoned() == 1
    assert [run.info.run_id for run in runs_of(tracker)] == [kept.info.run_id]


def test_a_half_that_a_server_could_not_take_back_goes_with_the_next_try(tracker):
    client = tracker._client
    tags = {"llfc.kind": "trial", "llfc.fingerprint": fingerprint(trial())}
    own = tags | {"llfc.driver": tracker._tags["llfc.driver"]}
    client.create_run(tracker.experiment_id, run_name="half", tags=own)
    others = tags | {"llfc.driver": "elsewhere:1"}
    kept = client.create_run(tracker.experiment_id, run_name="another driver's", tags=others)
    tracker.log(trial(), Measurement.of(connection(), {}))
    left = {run.info.run_id: run.info.status for run in runs_of(tracker)}
    assert left.pop(kept.info.run_id) == "RUNNING"
    assert list(left.values()) == ["FINISHED"]


def test_a_run_does_not_end_before_it_began_though_the_clock_is_set_back(tracker, monkeypatch):
    clock = time.time

    def set_back(found):
        monkeypatch.setattr(time, "time", lambda: clock() - 3600)
        return metrics_of(found)

    monkeypatch.setattr(tracking, "metrics_of", set_back)
    tracker.log(trial(), Measurement.of(connection(), {}))
    (run,) = runs_of(tracker)
    assert run.info.end_time >= run.info.start_time


def test_the_report_is_in_the_sweeps_own_run_once(tracker, tmp_path):
    page, copies = tmp_path / "report.html", tmp_path / "report"
    got = tmp_path / "got"
    for folder in (copies, got):
        folder.mkdir()
    assert tracker.reported() == ""
    for text in ("first", "second"):
        page.write_text(text)
        (copies / "barrier.csv").write_text(text)
        tracker.log_report(page, f"from {text}")
        assert tracker.reported() == f"from {text}"
    (run,) = runs_of(tracker)
    assert run.data.tags["llfc.kind"] == "sweep"
    local = tracker._client.download_artifacts(run.info.run_id, "report.html", str(got))
    assert Path(local).read_text() == "second"
    local = tracker._client.download_artifacts(run.info.run_id, "report/barrier.csv", str(got))
    assert Path(local).read_text() == "second"


def test_parameters_are_every_field_of_the_trial():
    names = {field.name for record in (Trial, Pair) for field in dataclasses.fields(record)} - {
        "pair",
        "recipe",
    }
    names |= {f"recipe.{field.name}" for field in dataclasses.fields(Recipe)}
    assert params_of(trial()).keys() == names
