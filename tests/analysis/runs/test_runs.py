"""What was written to MLflow is read back: typed, complete, and nothing silently dropped."""

import dataclasses
import gc
import math
from pathlib import Path

import pandas as pd
import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from analysis.runs.grid import layout, lines_along
from analysis.runs.mlflow import load_runs, search
from analysis.runs.params import params_of
from llfc.results import CURVE, PROFILE
from llfc.specs import fingerprint
from sweeps.record.measurement import Measurement
from sweeps.record.tracking import Tracker
from tests.helpers.fabricated_runs import connection, grid, runs_of, trial

TRIALS = grid(width=[0.5, 1.0], spawn_epoch=[None, 2], seed=[0, 1])
TAGS = {"llfc.device": "cpu"}


@pytest.fixture(scope="module")
def uri(empty_database, tmp_path_factory):
    """A store for the whole file."""
    return empty_database(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("artifacts")


@pytest.fixture(scope="module")
def width(uri, folder):
    """A sweep with eight finished trials, a failed one and one in flight."""
    tracker = Tracker(uri, "width", folder)
    for one in TRIALS:
        tracker.log(one, Measurement.of(connection(one), TAGS))
    tracker.log_failure(trial(width=4.0), "loss is nan at alpha 0.5")
    tags = {"llfc.kind": "trial", "llfc.fingerprint": "f" * 12}
    MlflowClient(uri).create_run(tracker.experiment_id, run_name="f" * 12, tags=tags)
    return load_runs(uri, "width")


@pytest.fixture
def experiment(uri, folder, request):
    """An experiment of its own for one test."""
    return Tracker(uri, request.node.name, folder)


def by_name(runs):
    return {row["fingerprint"]: row for _, row in runs.trials.iterrows()}


def test_a_row_a_finished_trial(width):
    assert set(width.trials["fingerprint"]) == set(map(fingerprint, TRIALS))
    assert len(width.trials) == len(TRIALS)
    assert width.superseded == width.outdated == 0


def test_parameters_have_their_values_and_types(width):
    rows = by_name(width)
    for one in TRIALS:
        for name, value in params_of(one).items():
            found = rows[fingerprint(one)][name]
            assert found is None if value is None else found == value, name
    kinds = width.trials.dtypes
    assert pd.api.types.is_integer_dtype(kinds["seed"])
    assert pd.api.types.is_float_dtype(kinds["width"])
    assert pd.api.types.is_bool_dtype(kinds["recipe.augment"])
    assert pd.api.types.is_string_dtype(kinds["matching"])


def test_scalars_are_exact(width):
    rows = by_name(width)
    for one in TRIALS:
        for name, value in connection(one).scalars().items():
            assert rows[fingerprint(one)][name] == value, name


def test_provenance_is_there(width):
    row = width.trials.iloc[0]
    assert row["device"] == "cpu"
    assert row["commit"]
    assert row["start"].tzinfo is not None


def test_layers_and_curves_are_exact(width):
    for one in TRIALS:
        found = connection(one)
        curve = width.curves[width.curves["fingerprint"] == fingerprint(one)]
        for name in CURVE:
            assert curve[name].tolist() == found.curve[name].tolist()
        layers = width.layers[width.layers["fingerprint"] == fingerprint(one)]
        assert len(layers) == len(found.layers) * one.alphas
        for index, layer in enumerate(found.layers):
            rows = layers[layers["index"] == index]
            assert set(rows["layer"]) == {layer.name}
            assert set(rows["baseline"]) == {layer.baseline}
            assert rows["alpha"].tolist() == found.curve["alpha"].tolist()
            for name in PROFILE:
                assert rows[name].tolist() == getattr(layer, name).tolist()
    assert (
        width.layers.groupby("fingerprint")["depth"].agg(["min", "max"]).eq([0, 1]).all(axis=None)
    )


def test_failed_and_running_trials_are_seen(width):
    rows = width.unfinished.set_index("fingerprint")
    assert rows.loc[fingerprint(trial(width=4.0)), "reason"] == "loss is nan at alpha 0.5"
    assert rows.loc[fingerprint(trial(width=4.0)), "status"] == "FAILED"
    assert rows.loc["f" * 12, "status"] == "RUNNING"
    assert len(rows) == 2


def test_every_trial_has_a_row_and_a_status(width):
    every = width.every.set_index("fingerprint")
    assert every["status"].value_counts().to_dict() == {"FINISHED": 8, "FAILED": 1, "RUNNING": 1}
    failed = every.loc[fingerprint(trial(width=4.0))]
    assert (failed["width"], failed["spawn_epoch"]) == (4.0, None)
    assert math.isnan(failed["llfc_error_mean"])
    counted = width.status().to_dict("records")
    assert [row["trials"] for row in counted] == [10]
    assert {row["FINISHED"] + row["FAILED"] + row["RUNNING"] for row in counted} == {10}


def copy_run(client, run, **changes):
    """Another finished run with the parameters and tags of `run`."""
    tags = {key: value for key, value in run.data.tags.items() if key.startswith("llfc.")}
    start = run.info.start_time + changes.pop("later", 1000)
    again = client.create_run(run.info.experiment_id, start_time=start, tags=tags | changes)
    for key, value in run.data.params.items():
        client.log_param(again.info.run_id, key, value)
    client.log_metric(again.info.run_id, "llfc_error_mean", 0.5)
    client.set_terminated(again.info.run_id)
    return again.info.run_id


@pytest.mark.parametrize("later", [-5000, 5000])
def test_of_two_finished_runs_of_a_trial_the_newer_is_used(uri, experiment, later):
    client = MlflowClient(uri)
    experiment.log(TRIALS[0], Measurement.of(connection(TRIALS[0]), TAGS))
    (run,) = client.search_runs([experiment.experiment_id])
    copy = copy_run(client, run, later=later)
    runs = load_runs(uri, run.data.tags["llfc.sweep"])
    assert runs.trials["run_id"].tolist() == [copy if later > 0 else run.info.run_id]
    assert runs.superseded == 1


def test_a_failure_that_was_made_good_is_not_unfinished(uri, experiment):
    client = MlflowClient(uri)
    experiment.log(TRIALS[0], Measurement.of(connection(TRIALS[0]), TAGS))
    tags = {"llfc.kind": "trial", "llfc.fingerprint": fingerprint(TRIALS[0])}
    late = client.create_run(experiment.experiment_id, tags=tags)
    client.set_terminated(late.info.run_id, "FAILED")
    name = client.get_experiment(experiment.experiment_id).name
    runs = load_runs(uri, name)
    assert len(runs.trials) == 1
    assert runs.unfinished.empty


def test_attempts_are_counted(uri, experiment):
    client = MlflowClient(uri)
    experiment.log_failure(trial(), "first")
    tags = {"llfc.kind": "trial", "llfc.fingerprint": fingerprint(trial()), "llfc.reason": "last"}
    again = client.create_run(experiment.experiment_id, start_time=2**42, tags=tags)
    client.set_terminated(again.info.run_id, "FAILED")
    runs = load_runs(uri, client.get_experiment(experiment.experiment_id).name)
    (row,) = runs.unfinished.to_dict("records")
    assert (row["attempts"], row["reason"]) == (2, "last")
    assert runs.trials.empty
    assert runs.layers.empty
    assert runs.curves.empty


def test_a_run_of_another_version_is_counted_and_left_out(uri, experiment):
    client = MlflowClient(uri)
    experiment.log(TRIALS[0], Measurement.of(connection(TRIALS[0]), TAGS))
    (run,) = client.search_runs([experiment.experiment_id])
    copy_run(client, run, **{"llfc.fingerprint": "0" * 12})
    runs = load_runs(uri, run.data.tags["llfc.sweep"])
    assert runs.trials["fingerprint"].tolist() == [fingerprint(TRIALS[0])]
    assert runs.outdated == 1


def test_the_sweeps_own_run_is_no_trial(uri, experiment, tmp_path):
    page = tmp_path / "report.html"
    page.write_text("page")
    experiment.log_report(page, "")
    name = MlflowClient(uri).get_experiment(experiment.experiment_id).name
    runs = load_runs(uri, name)
    assert runs.trials.empty
    assert runs.unfinished.empty


def test_all_pages_are_read(uri, width, monkeypatch):
    monkeypatch.setattr("analysis.runs.mlflow.PAGE", 3)
    again = load_runs(uri, "width")
    assert again.trials["run_id"].tolist() == width.trials["run_id"].tolist()


def test_garbage_is_not_looked_for_while_a_page_is_read_and_is_after(uri, experiment):
    seen = []

    class Client(MlflowClient):
        def search_runs(self, *given, **named):
            seen.append(gc.isenabled())
            return super().search_runs(*given, **named)

    assert list(search(Client(uri), experiment.experiment_id, "")) == []
    with pytest.raises(MlflowException):
        list(search(Client(uri), experiment.experiment_id, "no filter"))
    assert seen == [False, False]
    assert gc.isenabled()


def test_a_scalar_that_one_trial_lacks_is_nan(uri, experiment):
    client = MlflowClient(uri)
    experiment.log(TRIALS[0], Measurement.of(connection(TRIALS[0]), TAGS))
    (run,) = client.search_runs([experiment.experiment_id])
    other = trial(seed=9)
    experiment.log(other, Measurement.of(connection(other), TAGS))
    client.log_metric(run.info.run_id, "extra", 1.0)
    rows = by_name(load_runs(uri, run.data.tags["llfc.sweep"]))
    assert rows[fingerprint(TRIALS[0])]["extra"] == 1.0
    assert math.isnan(rows[fingerprint(other)]["extra"])


def test_an_unknown_sweep_is_one_line_that_lists_the_known(uri, width):
    with pytest.raises(
        ValueError, match=r"^unknown sweep of sqlite:.* 'widht': choose from .*width"
    ) as said:
        load_runs(uri, "widht")
    assert "did you mean" in str(said.value)
    assert "\n" not in str(said.value)


def test_a_store_that_is_not_there_is_not_made(tmp_path):
    path = tmp_path / "none.db"
    with pytest.raises(ValueError, match=r"^tracking store sqlite:.* does not exist"):
        load_runs(f"sqlite:///{path}", "width")
    assert not Path(path).exists()


def test_forks_are_on_one_axis_in_steps_if_any_is_at_a_step():
    """A spawn epoch is the step that it is; an older run's too, if one says how many there are."""
    runs = runs_of([*grid(spawn_epoch=[None, 0, 2]), *grid(spawn_epoch=[None], spawn_step=[7, 30])])
    steps = runs.trials.assign(steps_per_epoch=["", "", "", "", "20"])
    placed = dataclasses.replace(runs, trials=steps).trials
    assert placed["spawn_step"].tolist() == [None, 0, 40, 7, 30]
    assert placed["spawn_epoch"].isna().all()
    assert placed["fingerprint"].tolist() == runs.trials["fingerprint"].tolist()
    assert layout(placed, "", "spawn_step").panels == ()
    old = dataclasses.replace(runs, trials=steps.assign(steps_per_epoch="")).trials
    assert old["spawn_epoch"].tolist() == [None, None, 2, None, None]
    (line, part) = lines_along(placed, "spawn_step")[0]
    assert (line, sorted(part["spawn_step"])) == ("matching none", [0, 7, 30, 40])


def test_without_a_step_spawn_epochs_stay():
    runs = runs_of(grid(spawn_epoch=[None, 0, 2]))
    same = dataclasses.replace(runs, trials=runs.trials.assign(steps_per_epoch="20")).trials
    assert same["spawn_epoch"].tolist() == [None, 0, 2]
    assert same["spawn_step"].isna().all()
