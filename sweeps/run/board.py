"""What a running sweep writes into its store for other shells to read, and what they ask of it.

One text per sweep says how far it is; another, if it is there, asks it to stop. Both work wherever
the storage can be accessed, from another node of a cluster as well.
"""

import json
import os
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from llfc.networks.history import read_history
from llfc.networks.store import Store

STATUS, CANCEL = "status", "cancel"  # the store's rooms
WRITTEN = 10.0  # seconds between two writings
LOST = 60.0  # seconds without a sign of life after which a driver elsewhere counts as gone
RUNNING, FINISHED, INTERRUPTED = "running", "finished", "interrupted"


class Board:
    """The status of one sweep, as its driver writes it.

    Args:
        store: where all of the sweep is.
        sweep: its name.
    """

    def __init__(self, store: Store, sweep: str) -> None:
        self._store, self._sweep = store, sweep
        self._written = float("-inf")
        self._looked = time.monotonic()
        store.remove(CANCEL, sweep)  # an earlier driver's

    def history(self, network: str) -> dict[str, Any]:
        """Where the training of the network with this fingerprint stands; {} if not known."""
        with suppress(ValueError):  # a store that does not answer now
            return read_history(self._store, network)
        return {}

    def show(self, state: Mapping[str, Any], *, doing: str = RUNNING) -> None:
        """Write `state`, plain values, every WRITTEN seconds; at once if no longer running."""
        now = time.monotonic()
        if doing == RUNNING and now - self._written < WRITTEN:
            return
        self._written = now
        content = {
            **state,
            "sweep": self._sweep,
            "doing": doing,
            "at": time.time(),
            "host": socket.gethostname(),
            "process": os.getpid(),
        }
        with suppress(ValueError):  # a full disk does not end a sweep
            self._store.put_text(STATUS, self._sweep, json.dumps(content))

    def cancelled(self) -> bool:
        """Whether somebody has asked this sweep to stop; looked for every other second."""
        now = time.monotonic()
        if now - self._looked < 2.0:
            return False
        self._looked = now
        with suppress(ValueError):
            return self._store.has_text(CANCEL, self._sweep)
        return False


def statuses(store: Store) -> list[dict[str, Any]]:
    """What every sweep of `store` last wrote, by name; `doing` is `gone` if its driver is dead."""
    found = []
    for name in store.names(STATUS):
        with suppress(ValueError):
            status = json.loads(store.get_text(STATUS, name) or "{}")
            if status:
                found.append({**status, "doing": _doing(status)})
    return found


def cancel(store: Store, sweep: str) -> None:
    """Ask the driver of `sweep` to stop, which it does as at Ctrl-C."""
    store.put_text(CANCEL, sweep, "")


def _doing(status: Mapping[str, Any]) -> str:
    if status["doing"] != RUNNING:
        return str(status["doing"])
    if status["host"] == socket.gethostname():
        return RUNNING if _is_alive(int(status["process"])) else "gone"
    return RUNNING if time.time() - status["at"] < LOST else "gone"


def _is_alive(process: int) -> bool:
    with suppress(ProcessLookupError):
        try:
            os.kill(process, 0)
        except PermissionError:
            pass
        return True
    return False
