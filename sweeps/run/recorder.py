"""Logs results beside the sweep, so that no worker waits for the tracking store."""

import json
import queue
import sys
import threading
from types import TracebackType
from typing import TYPE_CHECKING

from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    stop_after_delay,
    wait_exponential,
)

from llfc.networks.store import Store
from llfc.results import Connection, connection_from_json
from llfc.specs import Trial, fingerprint
from sweeps.record.pictures import draw, forget, kept
from sweeps.run.worker import PROVENANCE, RESULTS

if TYPE_CHECKING:
    from sweeps.record.tracking import Tracker

# Seconds for which the tracking store may refuse before a result is given up until the next run.
PATIENCE = 120.0


class Recorder:
    """A thread that moves results from the store to the tracking store, one at a time.

    Attributes:
        logged: number of runs written.
        failed: reasons by trial of those that could not be logged; their results stay in the
            store, so running the sweep again logs them without measuring them again.
    """

    def __init__(self, tracker: "Tracker", store: Store) -> None:
        self.logged = 0
        self.failed: dict[Trial, str] = {}
        self._tracker = tracker
        self._store = store
        self._queue: queue.SimpleQueue[Trial | None] = queue.SimpleQueue()
        self._patience = PATIENCE
        self._thread = threading.Thread(target=self._work, name="recorder", daemon=True)

    def __enter__(self) -> "Recorder":
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Wait until everything that was handed in is logged."""
        self._queue.put(None)
        self._thread.join()

    def record(self, trial: Trial) -> None:
        """Have the result of `trial`, which is in the store, logged soon."""
        self._queue.put(trial)

    def _work(self) -> None:
        while (trial := self._queue.get()) is not None:
            self._try(trial)
        for trial in list(self.failed):  # the tracking store may be there again by now
            self._try(trial)

    def _try(self, trial: Trial) -> None:
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
            self.failed[trial] = f"measured, but not logged: {error}"
            self._patience = 0.0  # a store that stays away must not hold up every trial in turn
        else:
            self.failed.pop(trial, None)
            self._patience = PATIENCE

    def _say_once(self, state: RetryCallState) -> None:
        if state.attempt_number == 1 and state.outcome is not None:
            reason = state.outcome.exception()
            print(f"warning: {reason}; trying for {PATIENCE:g} seconds", file=sys.stderr)

    def _log(self, trial: Trial) -> None:
        found, tags = self._found(trial)
        pictures = kept(self._store, trial)
        self._tracker.log(trial, found, tags, draw(trial, found) if pictures is None else pictures)
        forget(self._store, trial)
        self.logged += 1

    def _found(self, trial: Trial) -> tuple[Connection, dict[str, str]]:
        """The result of `trial`, and the tags that say where it is from.

        Raises:
            LookupError: if the result is not in the store; one that is not such is set aside.
        """
        name = fingerprint(trial)
        text = self._store.get_text(RESULTS, name)
        try:
            if text is not None:
                return connection_from_json(text), self._tags(name)
        except ValueError as error:
            self._store.set_aside_text(RESULTS, name, str(error))
        raise LookupError("its result is not in the store, run the sweep again")

    def _tags(self, name: str) -> dict[str, str]:
        try:
            tags = json.loads(self._store.get_text(PROVENANCE, name) or "{}")
            return {str(key): str(value) for key, value in tags.items()}
        except (ValueError, AttributeError, RecursionError):
            return {}
