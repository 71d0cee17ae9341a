"""Whole sweeps, through Ray and MLflow, on real data, as a user runs them."""

import json
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from mlflow import MlflowClient

from analysis.runs.mlflow import load_runs
from llfc.data.datasets import load_dataset
from llfc.networks.store import Store
from llfc.results import connection_from_json, connection_to_json
from llfc.specs import fingerprint
from llfc.trial import run_trial
from sweeps.cli import main
from sweeps.grid.grid import trials_of
from sweeps.record.measurement import Measurement
from sweeps.record.reporting import report
from sweeps.record.tracking import Tracker
from sweeps.smoke import SMOKE
from tests.helpers.disturbed_sweeps import (
    AXES,
    NETWORKS,
    OPTIONS,
    PATIENCE,
    PLAIN,
    TRIALS,
)
from tests.helpers.fabricated_runs import connection
from tests.helpers.fabricated_runs import trial as fabricated

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
ONE = {**AXES, "seed": [0]}  # one pair of the two


def sweep(storage, *options):
    """`python sweeps/smoke.py` with a small grid and a plain page, in a process of its own."""
    return subprocess.run(
        [sys.executable, *PLAIN, "--storage", str(storage), *OPTIONS, *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )


def ended(storage, *options):
    """The exit status of the same in this process: quicker, for what needs no worker."""
    with pytest.raises(SystemExit) as stop:
        main(SMOKE, ["--storage", str(storage), *OPTIONS, *options])
    return stop.value.code


@pytest.fixture(autouse=True)
def no_sections(monkeypatch):
    """Of a page that is made in this process: each takes seconds, and `done` has all."""
    monkeypatch.setattr("analysis.page.report.sections_of", lambda findings: [])


def runs_in(storage):
    return load_runs(f"sqlite:///{storage}/mlflow.db", "smoke")


@pytest.fixture
def storage(undisturbed, tmp_path, empty_database):
    """A copy of the finished sweep's store; nothing is logged yet."""
    empty_database(tmp_path)
    shutil.copytree(undisturbed.folder / "store", tmp_path / "store")
    return tmp_path


@pytest.fixture
def copy(undisturbed, tmp_path):
    """A copy of all that the finished sweep left."""
    return shutil.copytree(undisturbed.folder, tmp_path / "copy")


def test_every_trial_has_one_complete_run_and_the_report_is_there(done):
    place, said = done
    storage, runs = place.folder, place.runs()
    assert sorted(runs.trials["fingerprint"]) == sorted(
        fingerprint(trial) for trial in trials_of(SMOKE.replace(AXES))
    )
    assert len(runs.unfinished) == 0
    assert f"{NETWORKS} networks trained, {TRIALS} trials measured" in said
    assert (storage / "reports/smoke.html").stat().st_size > 10_000
    assert (storage / "reports/smoke/summary.txt").read_text() in said
    assert not list((storage / "ray").iterdir())


def test_a_worker_finds_what_this_process_finds(undisturbed):
    storage = undisturbed.folder
    store = Store(storage / "store")
    for trial in trials_of(SMOKE.replace(ONE)):
        dataset = load_dataset(
            trial.pair.dataset,
            data_root=None,
            limit_train=trial.pair.limit_train,
            cache=storage / "data",
            progress=False,
        )
        here = run_trial(trial, store, dataset)
        there = connection_from_json(store.get_text("connections", fingerprint(trial)))
        assert without_times(here) == without_times(there)


def without_times(found):
    plain = json.loads(connection_to_json(found))
    return {**plain, "matching": {k: v for k, v in plain["matching"].items() if k != "seconds"}}


def test_the_same_command_again_repeats_nothing(copy, capsys):
    folders = (copy / "store", copy / "reports")

    def times():
        return {path: path.stat().st_mtime_ns for at in folders for path in at.rglob("*")}

    before = times()
    assert ended(copy) == 0
    said = capsys.readouterr().out
    assert "0 networks trained, 0 trials measured" in said
    assert (copy / "reports/smoke/summary.txt").read_text() in said
    assert before == times()
    assert len(runs_in(copy).trials) == TRIALS


def test_the_report_is_written_anew_only_if_it_would_say_something_else(
    empty_database, tmp_path, capsys
):
    """As a sweep does at its end, which `test_the_same_command_again...` is of."""
    page, text = tmp_path / "reports/smoke.html", tmp_path / "reports/smoke/summary.txt"
    uri = empty_database(tmp_path)
    tracker = Tracker(uri, "smoke", tmp_path / "artifacts")
    trials = [fabricated(seed=seed) for seed in (0, 1)]

    def log(trial):
        tracker.log(trial, Measurement.of(connection(trial), {}))

    def written():
        report(SMOKE, runs_in(tmp_path), tracker, tmp_path / "reports")
        assert text.read_text() in capsys.readouterr().out
        return page.stat().st_mtime_ns

    for trial in trials:
        log(trial)
    first = written()
    assert written() == first
    page.unlink()
    second = written()
    assert second > first
    runs = runs_in(tmp_path).trials.set_index("fingerprint")
    MlflowClient(uri).delete_run(runs.loc[fingerprint(trials[0]), "run_id"])
    log(trials[0])  # once more, as another run
    assert len(runs_in(tmp_path).trials) == 2
    assert written() > second


def test_another_question_has_a_name_and_a_report_of_its_own(copy, capsys):
    page = (copy / "reports/smoke.html").read_bytes()
    assert ended(copy, "--name", "half", "--matching", "none") == 0
    assert capsys.readouterr().out.startswith("half: ")
    assert (copy / "reports/smoke.html").read_bytes() == page
    assert (copy / "reports/half.html").is_file()
    half = load_runs(f"sqlite:///{copy}/mlflow.db", "half")
    assert list(half.trials["matching"]) == ["none"] * 2


def test_measured_but_not_logged_is_logged_without_measuring(storage, capsys):
    assert ended(storage) == 0
    assert "0 networks trained, 0 trials measured" in capsys.readouterr().out
    assert len(runs_in(storage).trials) == TRIALS


def test_neither_a_damaged_network_nor_a_failing_trial_stops_another(storage):
    """The network is quarantined and trained again; the trial is named; each job is done once.

    Tune is given two jobs at a time.
    """
    network = trials_of(SMOKE.replace(ONE))[0].pair.a
    path = storage / "store/networks" / f"{fingerprint(network)}.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    shutil.rmtree(storage / "store/connections")
    said = sweep(storage, "--seed", "0", "--lr", "0.001", "1e30", "--two-at-once")
    assert said.returncode == 1
    assert "1 network trained, 2 trials measured" in said.stdout
    assert f"{path.name}.damaged-1" in said.stderr
    assert path.read_bytes() == whole
    failed = [line for line in said.stderr.splitlines() if line.startswith("failed:")]
    trials = trials_of(SMOKE.replace({**ONE, "lr": [1e30]}))
    for trial in trials:
        assert any(fingerprint(trial) in line and "loss" in line for line in failed)
    assert "run the same command again" in said.stderr
    assert "Traceback" not in said.stderr
    runs = runs_in(storage)
    assert len(runs.trials) == 2
    assert sorted(runs.unfinished["fingerprint"]) == sorted(map(fingerprint, trials))
    assert not list((storage / "ray").iterdir())


def test_a_storage_that_cannot_be_written_is_one_line(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert ended(tmp_path / "file") == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert said.count("\n") == 1
    assert str(tmp_path / "file") in said
    assert (tmp_path / "file").read_text() == ""


def test_a_probe_that_is_not_there_is_one_line_before_anything_is_trained(
    tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr("sweeps.run.study.start", lambda settings: 2)  # Ray, for no work at all
    assert ended(tmp_path, "--probes", "hiden1") == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "hiden1" in said
    assert not (tmp_path / "store/networks").exists()


def test_an_absent_data_set_is_one_line_that_names_the_folder(tmp_path, capsys):
    assert ended(tmp_path / "runs", "--dataset", f"imagefolder:{tmp_path}/none") == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f"{tmp_path}/none" in said
    assert not (tmp_path / "runs/store").exists()


@pytest.mark.exhaustive  # workers wait for long seconds; `test_storage.py` is of its parts
def test_a_node_that_does_not_see_the_storage_is_named_before_anything_is_trained(tmp_path):
    """Such is `memory://`: the worker, in a process of its own, has another one."""
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    said = sweep("memory://a/b", "--tracking-uri", uri)
    assert said.returncode == 2
    assert "4 networks to train\n1 node, " in said.stdout
    (line,) = [line for line in said.stderr.splitlines() if "elapsed" not in line]
    assert line.startswith(f"error: node {socket.gethostname()} (")
    assert "cannot access the driver's storage memory://a/b/store" in line
