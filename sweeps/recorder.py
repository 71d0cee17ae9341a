"""Logs results beside the sweep, so that no worker waits for the tracking store."""

import json
import queue
import threading
from types import TracebackType
from typing import TYPE_CHECKING

from llfc.networks.store import Store
from llfc.results import connection_from_json
from llfc.specs import Trial, fingerprint
from sweeps.worker import PROVENANCE, RESULTS

if TYPE_CHECKING:
    from sweeps.tracking import Tracker


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
            try:
                self._log(trial)
            except Exception as error:
                # Whatever the tracking store did, the other results must still be logged.
                self.failed[trial] = f"measured, but not logged: {error}"

    def _log(self, trial: Trial) -> None:
        tags = json.loads(self._store.get_text(PROVENANCE, fingerprint(trial)) or "{}")
        text = self._store.get_text(RESULTS, fingerprint(trial))
        if text is None:
            raise ValueError("its result is not in the store, run the sweep again")
        self._tracker.log(trial, connection_from_json(text), tags)
        self.logged += 1
