"""The recorder: a tracking store that is away for a while costs time, never a result."""

import numpy as np
import pytest

from llfc.networks.store import Store
from llfc.results import BARRIERS, CURVE, Connection
from sweeps.grid.grid import trials_of
from sweeps.record.measurement import FIGURES, Measurement, save
from sweeps.run import recorder
from sweeps.run.recorder import Recorder
from sweeps.smoke import SMOKE

TRIALS = trials_of(SMOKE)[:3]
DRAWN = {"curve": b"\x89PNG\0", "layers": b""}


class Away:
    """A tracker that refuses the first `times` calls."""

    def __init__(self, times):
        self.left, self.calls, self.logged = times, 0, []

    def log(self, trial, measurement):
        self.calls += 1
        if self.left > 0:
            self.left -= 1
            raise ValueError("tracking server must answer")
        assert measurement.figures == DRAWN
        self.logged.append(trial)

    def log_network(self, network, history):
        assert history == {}


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path)
    found = Connection(
        curve=dict.fromkeys(CURVE, np.zeros(1)),
        barriers=dict.fromkeys(BARRIERS, 0.0),
        layers=(),
    )
    for trial in TRIALS:
        save(store, trial, Measurement.of(found, {}, DRAWN))
    return store


def recorded(tracker, store, trials=TRIALS):
    with Recorder(tracker, store) as found:
        for trial in trials:
            found.record(trial)
    return found


def test_everything_is_logged_once_and_in_order(store):
    tracker = Away(0)
    found = recorded(tracker, store)
    assert tracker.logged == TRIALS
    assert (found.logged, found.failed, tracker.calls) == (3, {}, 3)
    assert store.names(FIGURES) == []  # they are in the tracking store now


def test_a_store_that_comes_back_gets_everything_and_the_user_is_told_once(store, capsys):
    tracker = Away(2)
    found = recorded(tracker, store)
    assert sorted(tracker.logged, key=TRIALS.index) == TRIALS
    assert found.failed == {}
    said = capsys.readouterr().err
    assert said == "warning: tracking server must answer; retrying for 120 seconds\n"


def test_a_store_that_stays_away_holds_up_one_trial_and_not_each(store, monkeypatch):
    monkeypatch.setattr(recorder, "TRACKING_PATIENCE", 0.1)
    tracker = Away(1000)
    found = recorded(tracker, store)
    assert found.logged == 0
    assert found.failed == dict.fromkeys(
        TRIALS, "measured, but not logged: tracking server must answer"
    )
    # Twice for the first, once for each other, and all once more in the end.
    assert tracker.calls == 2 + 2 + 3


def test_what_was_given_up_is_tried_again_in_the_end(store, monkeypatch):
    monkeypatch.setattr(recorder, "TRACKING_PATIENCE", 0.1)
    tracker = Away(2)
    found = recorded(tracker, store)
    assert sorted(tracker.logged, key=TRIALS.index) == TRIALS
    assert found.failed == {}


def test_a_result_that_is_gone_is_not_waited_for(tmp_path):
    tracker = Away(0)
    found = recorded(tracker, Store(tmp_path / "empty"), TRIALS[:1])
    assert "not in the store" in found.failed[TRIALS[0]]
    assert tracker.calls == 0
