"""Trainings that end by SIGKILL at a given instant: `python -m tests.helpers.killed_trainings`.

Arguments: a folder, then instants; each training has the folder below it that is called as its
instant, and a process of its own.
"""

import math
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from llfc.networks import checkpoints, spawning
from llfc.networks.checkpoints import RUNNING, Checkpoints
from llfc.networks.spawning import train_network
from llfc.networks.store import Store
from tests.helpers.trainable_networks import DATA, network

NETWORK = network()
STATES = 6  # the one at whose writing it dies, of one after every step, four of which are an epoch


def killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def at_call(number: int, of: type, name: str, dies: Callable[..., object]) -> None:
    """Have the method `name` die by `dies`, which gets its arguments, when called so often."""
    method, calls = getattr(of, name), [0]

    def counted(self, *arguments):
        path = self if isinstance(self, Path) else None
        calls[0] += path is None or (RUNNING in path.parts and path.suffix == ".tmp")
        if calls[0] == number:
            dies(self, *arguments)
        return method(self, *arguments)

    setattr(of, name, counted)


def half_written(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content[: len(content) // 2])
    killed()


def renamed(path: Path, to: Path) -> None:
    os.rename(path, to)
    killed()


# Where it dies, and how many states are then kept.
INSTANTS: dict[str, tuple[Callable[[], None], int]] = {
    "within a step": (
        lambda: at_call(STATES, Checkpoints, "after_step", lambda *_: killed()),
        STATES - 1,
    ),
    "before a state": (
        lambda: at_call(STATES, Checkpoints, "keep", lambda *_: killed()),
        STATES - 1,
    ),
    "in the temporary file": (
        lambda: at_call(STATES, Path, "write_bytes", half_written),
        STATES - 1,
    ),
    "before the rename": (
        lambda: at_call(STATES, Path, "replace", lambda *_: killed()),
        STATES - 1,
    ),
    "after the rename": (lambda: at_call(STATES, Path, "replace", renamed), STATES),
    "in the first temporary file": (lambda: at_call(1, Path, "write_bytes", half_written), 0),
    "at the end": (
        lambda: at_call(1, spawning._Training, "forget", lambda *_: killed()),
        4 * 4,
    ),
}


def main(folder: str, *instants: str) -> None:
    checkpoints.SHARE = math.inf
    for instant in instants:
        child = os.fork()
        if not child:
            INSTANTS[instant][0]()
            train_network(NETWORK, Store(f"{folder}/{instant}"), DATA, checkpoint_seconds=0)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL, instant


if __name__ == "__main__":
    main(*sys.argv[1:])
