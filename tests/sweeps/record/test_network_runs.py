"""Networks in MLflow: one run each, whichever sweeps they are in, linked from their trials."""

import dataclasses

import pytest
from mlflow import MlflowClient

from analysis.runs import schema
from analysis.runs.mlflow import sweep_names
from llfc.networks.history import Epoch
from llfc.specs import fingerprint
from sweeps.record.measurement import Measurement
from sweeps.record.tracking import Tracker
from tests.helpers.fabricated_runs import trial
from tests.sweeps.record.test_tracking import connection

NAN = float("nan")
EPOCHS = [
    Epoch(
        epoch=epoch,
        loss=1 / epoch,
        train_loss=NAN if epoch == 1 else 0.5,
        train_error=0.25,
        test_loss=0.75,
        test_error=0.5,
        judged=1000,
        lr=0.1,
        seconds=float(epoch),
        inputs_per_second=100.0,
    )
    for epoch in (1, 2)
]
HISTORY = {"epochs": [dataclasses.asdict(epoch) for epoch in EPOCHS], "device": "cpu"}


@pytest.fixture
def uri(empty_database, tmp_path):
    return empty_database(tmp_path)


def network_runs(uri):
    client = MlflowClient(uri)
    (place,) = client.search_experiments(filter_string=f"name = '{schema.NETWORKS}'")
    return client, client.search_runs([place.experiment_id])


@pytest.mark.slow
def test_a_network_is_one_run_with_its_epochs_and_its_trials_lead_to_it(uri, tmp_path):
    one = trial()
    for sweep in ("width", "matching"):
        tracker = Tracker(uri, sweep, tmp_path / "artifacts")
        for network in (one.pair.a, one.pair.b, one.pair.a):
            tracker.log_network(network, HISTORY)
        tracker.log(one, Measurement.of(connection(), {}))
        (logged,) = tracker._client.search_runs([tracker.experiment_id])
        client, runs = network_runs(uri)
        ids = {run.data.tags[schema.FINGERPRINT]: run.info.run_id for run in runs}
        assert len(runs) == 2
        assert logged.data.tags[schema.NETWORK_A] == ids[fingerprint(one.pair.a)]
        assert logged.data.tags[schema.NETWORK_B] == ids[fingerprint(one.pair.b)]
        assert f"/runs/{ids[fingerprint(one.pair.a)]})" in logged.data.tags[schema.NOTE]
    loss = client.get_metric_history(ids[fingerprint(one.pair.a)], "loss")
    assert [(metric.step, metric.value) for metric in loss] == [(1, 1.0), (2, 0.5)]
    judged = client.get_metric_history(ids[fingerprint(one.pair.a)], "train_loss")
    assert [(metric.step, metric.value) for metric in judged] == [(2, 0.5)]
    params = client.get_run(ids[fingerprint(one.pair.b)]).data.params
    assert params["member"] == "1"
    assert params["recipe.lr"] == str(one.pair.recipe.lr)
    assert set(sweep_names(uri)) == {"width", "matching"}


def test_of_what_nothing_is_known_nothing_is_written(uri, tmp_path):
    tracker = Tracker(uri, "width", tmp_path / "artifacts")
    tracker.log_network(trial().pair.a, {})
    tracker.log(trial(), Measurement.of(connection(), {}))
    (logged,) = tracker._client.search_runs([tracker.experiment_id])
    assert schema.NETWORK_A not in logged.data.tags


@pytest.mark.slow
def test_a_run_that_a_dead_driver_left_by_half_is_written_again(uri, tmp_path, monkeypatch):
    tracker = Tracker(uri, "width", tmp_path / "artifacts")

    def die(*given):
        raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr("sweeps.record.network_runs.log_metrics", die)
        patch.setattr(MlflowClient, "delete_run", lambda *given: None)
        with pytest.raises(SystemExit):
            tracker.log_network(trial().pair.a, HISTORY)
    _, (half,) = network_runs(uri)
    assert half.info.status == "RUNNING"
    Tracker(uri, "width", tmp_path / "artifacts").log_network(trial().pair.a, HISTORY)
    _, (whole,) = network_runs(uri)
    assert (whole.info.status, whole.info.run_id) == ("FINISHED", whole.info.run_id)
    assert whole.info.run_id != half.info.run_id
