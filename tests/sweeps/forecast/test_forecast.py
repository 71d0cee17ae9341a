"""A dry run counts what a sweep would do, beside what it then does, and writes nothing."""

import dataclasses
import os
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from llfc.networks.history import SHARE, History
from llfc.networks.spawning import train_network, untrained
from llfc.networks.store import Store
from llfc.specs import Network, Pair, Trial, fingerprint
from sweeps.cli import run
from sweeps.forecast import calibration
from sweeps.forecast.calibration import _line
from sweeps.forecast.dry_run import _data_sets, _inputs, _kind, _wall
from sweeps.forecast.missing import Planned, missing_of
from sweeps.forecast.table import Row, sum_line, table
from sweeps.grid.options import parse
from sweeps.grid.settings import Settings
from sweeps.record.measurement import RESULTS
from sweeps.run.plan import Job
from sweeps.smoke import SMOKE
from sweeps.transformer import TRANSFORMER
from sweeps.width import WIDTH
from tests.contracts.test_layering import needs
from tests.helpers.trainable_networks import ADAM, DATA, images, network

TINY = "--width 0.03125 --limit-train 40 --limit-test 20 --alphas 3 --epochs 2 --seed 0".split()
TINY += "--measures none --spawn-epoch 1".split()


def pair_trial(spawn_epoch, **others):
    root = network(recipe=ADAM)
    fields = {
        f.name: getattr(root, f.name) for f in dataclasses.fields(Pair) if hasattr(root, f.name)
    }
    return Trial(pair=Pair(**{**fields, "spawn_epoch": spawn_epoch}), **others)


@pytest.fixture
def settings(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return Settings(storage=str(tmp_path / "runs"))


def trained_by(jobs, store):
    """How many epochs are trained, network by network, if the jobs are done."""
    epochs = {}
    for job in jobs:
        if isinstance(job.record, Network):
            told = []
            train_network(
                job.record,
                store,
                DATA,
                keep_epochs=job.keep_epochs,
                on_epoch=lambda epoch, _, told=told: told.append(epoch),
            )
            epochs[job] = len(told)
    return epochs


@pytest.mark.parametrize("before", [(), (3,), (1, 3), (None,), (None, 1)], ids=str)
def test_epochs_and_states_are_those_that_are_then_trained_and_kept(before, settings):
    """Whatever an earlier sweep has left: its roots, their states, or nothing."""
    store = Store(settings.store)
    earlier = missing_of("first", [pair_trial(epoch) for epoch in before], settings, Planned())
    assert trained_by(earlier.jobs, store) == earlier.epochs
    states = len(store.names("states"))
    missing = missing_of("second", [pair_trial(e) for e in (0, 2, 3, None)], settings, Planned())
    assert trained_by(missing.jobs, store) == missing.epochs
    assert len(store.names("states")) - states == sum(missing.states.values())
    again = missing_of("second", [pair_trial(e) for e in (0, 2, 3, None)], settings, Planned())
    assert not again.epochs
    assert len(again.networks_there) == 5


def test_pairs_of_every_share_leave_one_trunk(settings):
    """And one that shares all data is of other networks; each is counted as it is trained."""
    store = Store(settings.store)
    trials = [
        dataclasses.replace(trial, pair=dataclasses.replace(trial.pair, shared_data=share))
        for trial in (pair_trial(2), pair_trial(None))
        for share in (1, 0.5, 0)
    ] + [pair_trial(2)]
    missing = missing_of("x", trials, settings, Planned())
    assert len(missing.epochs) == 1 + 3 + 3 + 2
    assert trained_by(missing.jobs, store) == missing.epochs
    assert len(store.names("states")) == sum(missing.states.values()) == 2
    more = [
        dataclasses.replace(trials[0], pair=dataclasses.replace(trials[0].pair, shared_data=0.2))
    ]
    assert list(missing_of("x", more, settings, Planned()).epochs.values()) == [2]
    planned = Planned()
    missing_of("x", [trials[0]], settings, planned)
    assert list(missing_of("x", more, settings, planned).epochs.values()) == [2]


def test_what_sweeps_share_is_counted_once_and_with_the_first(settings):
    """As if the first had been run: the second lacks what the first does not leave."""
    planned = Planned()
    first, second = [pair_trial(1)], [pair_trial(1), pair_trial(2), pair_trial(None)]
    one, two = (missing_of("x", trials, settings, planned) for trials in (first, second))
    assert one.trials_there == []
    assert two.trials_there == first
    assert trained_by(one.jobs, Store(settings.store)) == one.epochs
    assert trained_by(two.jobs, Store(settings.store)) == two.epochs


def contents(folder):
    return {path: path.stat().st_mtime_ns for path in Path(folder).rglob("*")}


def counts(capsys):
    """The counts in the last row of the table: networks, there, trials, there."""
    (line,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("total"))
    return [int(word) for word in line.split()[1:5]]


def ended(*words):
    with pytest.raises(SystemExit) as stop:
        run([SMOKE], [*TINY, *words, "--dry-run"])
    return stop.value.code


@pytest.mark.slow
def test_a_dry_run_counts_what_is_there_and_writes_nothing(settings, monkeypatch, capsys):
    place = Path(settings.storage).parent
    monkeypatch.chdir(place)
    monkeypatch.setattr("sweeps.forecast.dry_run.MOST", 0.0)
    assert ended("--storage", settings.storage) == 0
    assert counts(capsys) == [2, 0, 2, 0]
    assert contents(place) == {}
    store = Store(settings.store)
    _, _, trials = parse(SMOKE, TINY)
    store.save_network(trials[0].pair.a, {})
    store.put_text(RESULTS, fingerprint(trials[0]), "found")
    store.put_text(RESULTS, fingerprint(trials[1]), "found")
    damaged = place / "runs/store" / RESULTS / f"{fingerprint(trials[1])}.txt"
    os.truncate(damaged, 20)
    before = contents(place)
    assert ended("--storage", settings.storage) == 0
    assert counts(capsys) == [2, 1, 1, 1]  # the root lacks the state that the branch leaves from
    assert contents(place) == before


def test_a_dry_run_downloads_nothing(settings, capsys):
    place = Path(settings.storage).parent
    words = ["--dataset", "cifar10", "--data-root", str(place / "data")]
    assert ended("--storage", settings.storage, *words) == 2
    assert f"error: cifar10 is not in {place / 'data'}, and a dry run" in capsys.readouterr().err
    assert contents(place) == {}


@pytest.mark.slow
def test_a_text_of_ones_own_is_read_and_leaves_no_copy(settings):
    place = Path(settings.storage).parent
    (place / "own.txt").write_text("abcd" * 1000)
    _, _, trials = parse(TRANSFORMER, ["--dataset", f"text:{place}/own.txt", "--limit-test", "1"])
    measured = [dataclasses.replace(trial, limit_measured=1) for trial in trials]
    before = contents(place)
    with _data_sets(measured, settings) as (found, datasets):
        assert [data.num_classes for data in datasets.values()] == [4]
        assert found[0].pair.dataset.startswith("text:own.txt@")
    assert contents(place) == before


@pytest.mark.slow
def test_a_dry_run_knows_nothing_of_ray():
    assert not [name for name in needs("sweeps.forecast.dry_run") if name.split(".")[0] == "ray"]


def test_a_switch_is_on_if_it_is_named_and_a_word_says_the_same():
    for words, expected in (([], False), (["--dry-run"], True), (["--dry-run", "false"], False)):
        assert parse(WIDTH, words)[0].dry_run is expected


def test_trials_that_differ_in_their_dose_alone_are_timed_once():
    """Of a sweep of doses each would be matched anew, several times, only to be timed."""
    doses = [pair_trial(None, misalignment=share) for share in (0, 0.5, 1)]
    doses.append(pair_trial(None, misalignment=0.5, misaligned="layer1"))
    assert len({_kind(trial) for trial in doses}) == 1
    assert _kind(pair_trial(None, matching="weights")) != _kind(doses[0])


def test_seconds_are_extended_by_the_line_through_the_last_two():
    fixed, each = 0.75, 0.25
    sizes = [16, 64, 256]
    times = [9.0, *(fixed + each * size for size in sizes[1:])]  # the first was not yet warm
    assert _line(sizes, times, 10_000) == pytest.approx(fixed + each * 10_000)
    assert _line(sizes, times, 256) == times[-1]
    assert _line([16], [3.0], 16) == 3.0


def test_wall_clock_is_all_of_it_for_one_worker_and_the_longest_way_for_many(settings):
    missing = missing_of("x", [pair_trial(1), pair_trial(None)], settings, Planned())
    seconds = {job: 1.0 + number for number, job in enumerate(missing.jobs)}

    def way(job: Job):
        return seconds[job] + max((way(o) for o in missing.jobs if o.name in job.needs), default=0)

    assert _wall(missing.jobs, seconds, 1, 1) == sum(seconds.values())
    assert _wall(missing.jobs, seconds, 9, 2) == max(map(way, missing.jobs)) / 2
    assert _wall([], {}, 2, 1) == 0


def test_the_last_row_is_the_sum_of_the_others():
    rows = [Row("a", networks=1, training=3600.0, weights=10**6), Row("b", trials=2, results=10**9)]
    lines = table("s", rows, wall=5400, workers=2, running=0)
    assert lines[3].split() == ["total", "1", "0", "2", "0", "1", "0", "1.0", "GB"]
    assert lines[4].startswith("1 core hours, 1:30:00 with the 2 workers")


@pytest.mark.slow
def test_a_study_ends_with_the_sum_of_its_sweeps(settings, monkeypatch, capsys):
    monkeypatch.setattr("sweeps.forecast.dry_run.MOST", 0.0)
    words = [*TINY, "--storage", settings.storage]
    other = dataclasses.replace(SMOKE, name="other")
    with pytest.raises(SystemExit):
        run([SMOKE, other], [*words, "--dry-run"])
    *_, last = capsys.readouterr().out.splitlines()
    # The second lacks what the first leaves, which is all but its own trials' runs.
    assert last.startswith("all 2 sweeps: 2 networks to train, 2 trials to measure, ")


def test_the_sum_of_sweeps_is_that_of_their_rows():
    first, second = Row("a", networks=1, training=3600.0), Row("b", trials=2, measuring=7200.0)
    said = sum_line([[first], [second, first]], wall=60)
    assert (
        said == "all 2 sweeps: 2 networks to train, 2 trials to measure, 4 core hours, 1:00, 0 kB"
    )


@pytest.mark.parametrize(("epochs", "inputs"), [(3, 1000), (100, 5000), (10, 40)])
def test_judging_is_counted_as_it_is_done(epochs, inputs, monkeypatch, tmp_path):
    """Of as many inputs as the history of such a training takes, not as it takes at most."""
    data = images(inputs)
    trained = network(recipe=dataclasses.replace(ADAM, epochs=epochs))
    history = History(trained, Store(tmp_path), data, untrained(trained, data), (0, 0))
    seen = sum(part.count(split) for split, part in history._splits.items())
    expected = epochs * inputs * (1 + SHARE) + 2 * seen / 3
    assert _inputs(trained, data, epochs) == pytest.approx(expected)


def test_what_is_prepared_for_a_new_size_is_no_part_of_the_slope(monkeypatch):
    """A stub of a trial: two seconds once for each number of inputs, and a hundredth per input."""
    now, known = [0.0], set()

    def take(trial, store, dataset, device):
        inputs = trial.limit_measured + dataset.count("test")
        now[0] += (inputs not in known) * 2.0 + 0.5 + inputs * trial.alphas / 1000
        known.add(inputs)

    monkeypatch.setattr(calibration, "run_trial", take)
    monkeypatch.setattr(calibration, "draw", lambda *_: {})
    monkeypatch.setattr(calibration, "_size", lambda *_: 0)
    monkeypatch.setattr(calibration, "_with_first_weights", lambda *_: None)
    monkeypatch.setattr(calibration.Measurement, "of", lambda *_: SimpleNamespace(found=None))
    timed = calibration.Calibration(torch.device("cpu"), 1, budget=0.0)
    monkeypatch.setattr(timed, "clock", lambda: now[0])
    found = timed.trial(pair_trial(None, alphas=5), images(3000))
    assert found.seconds == pytest.approx(0.5 + 3009 * 5 / 1000, rel=2e-3)
    assert found.once == pytest.approx(2.0, rel=0.2)
