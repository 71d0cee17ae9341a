"""Logs results beside the sweep, so that no worker waits for the tracking store."""

import dataclasses
import queue
import sys
import threading
from typing import TYPE_CHECKING

from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    stop_after_delay,
    wait_exponential,
)

from llfc.networks.history import read_history
from llfc.networks.store import Store
from llfc.specs import Network, Trial, fingerprint
from sweeps.record.measurement import draw, forget_figures, load

if TYPE_CHECKING:
    from sweeps.record.tracking import Tracker

# Seconds for which the tracking store may refuse before a result is given up until the next run.
TRACKING_PATIENCE = 120.0


class Recorder:
    """A thread that moves results from the store to the tracking store, one at a time.

    Attributes:
        logged: number of runs written.
        failed: reasons by trial of those that could not be logged; their results stay in the
            store, so running the sweep again logs them without measuring them again.
    """

    def __init__(self, tracker: "Tracker", store: Store) -> None:
        self.logged = 0
        self.failed: dict[Trial | Network, str] = {}
        self._tracker = tracker
        self._store = store
        self._queue: queue.SimpleQueue[Trial | Network | None] = queue.SimpleQueue()
        self._patience = TRACKING_PATIENCE
        self._thread = threading.Thread(target=self._work, name="recorder", daemon=True)

    def __enter__(self) -> "Recorder":
        self._thread.start()
        return self

    def __exit__(self, *raised: object) -> None:
        """Wait until everything that was handed in is logged."""
        self._queue.put(None)
        self._thread.join()

    def record(self, record: Trial | Network) -> None:
        """Have the result of a trial, or how a network was trained, logged from the store soon."""
        self._queue.put(record)

    def _work(self) -> None:
        while (trial := self._queue.get()) is not None:
            self._try(trial)
        for trial in list(self.failed):  # the tracking store may be there again by now
            self._try(trial)

    def _try(self, trial: Trial | Network) -> None:
        """Log `trial`, with patience; whatever goes wrong, the others must still be logged."""
        retrying = Retrying(
            stop=stop_after_delay(self._patience),
            wait=wait_exponential(multiplier=0.5, max=15),
            retry=retry_if_exception_type(ValueError),
            before_sleep=self._say_once,
            reraise=True,
        )
        try:
            retrying(self._log, trial)
        except Exception as error:
            done = "measured" if isinstance(trial, Trial) else "trained"
            self.failed[trial] = f"{done}, but not logged: {error}"
            self._patience = 0.0  # a store that stays away must not hold up every trial in turn
        else:
            self.failed.pop(trial, None)
            self._patience = TRACKING_PATIENCE

    def _say_once(self, state: RetryCallState) -> None:
        if state.attempt_number == 1 and state.outcome is not None:
            reason = state.outcome.exception()
            print(f"warning: {reason}; retrying for {TRACKING_PATIENCE:g} seconds", file=sys.stderr)

    def _log(self, record: Trial | Network) -> None:
        if isinstance(record, Trial):
            self._log_trial(record)
        else:
            self._tracker.log_network(record, read_history(self._store, fingerprint(record)))

    def _log_trial(self, trial: Trial) -> None:
        for network in (trial.pair.a, trial.pair.b):  # trained before there was this database
            self._log(network)
        measurement = load(self._store, trial)
        if measurement.figures is None:
            figures = draw(trial, measurement.found)
            measurement = dataclasses.replace(measurement, figures=figures)
        self._tracker.log(trial, measurement)
        forget_figures(self._store, trial)
        self.logged += 1
