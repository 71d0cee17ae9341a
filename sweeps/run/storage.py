"""Whether a node sees the storage that the driver writes: a file there that both look at.

A folder that is not mounted on a node can be made there all the same, and would take in vain what
is trained there.
"""

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

from llfc.networks.store import Store

MARKS = "drivers"  # the store's room for the files by which workers know the storage
STORAGE_PATIENCE = 10.0  # seconds for a file of the driver's to appear on another machine


@contextmanager
def marked(store: str) -> Iterator[str]:
    """While it lasts, a file in `store` that says whose it is; its name.

    Raises:
        ValueError: if `store` cannot be written.
    """
    place, name = Store(store), f"{socket.gethostname()}-{os.getpid()}-{time.time_ns()}"
    place.put_text(MARKS, name, f"the driver of a sweep on {socket.gethostname()}")
    try:
        yield name
    finally:
        place.remove(MARKS, name)


def unseen(store: str, mark: str, node: str) -> str:
    """Why nothing may be done on this `node`, in a line; empty if it sees `mark` in `store`."""
    end = time.monotonic() + STORAGE_PATIENCE
    while True:
        try:
            if Store(store).has_text(MARKS, mark):
                return ""
            reason = "a file that the driver has just written is missing"
        except ValueError as error:
            reason = str(error)
        if time.monotonic() >= end:
            return (
                f"node {node} cannot access the driver's storage {store} ({reason}):"
                " mount it there at the same path, or leave out that node"
            )
        time.sleep(0.5)
