"""Steps: on a terminal what is done now, and when it is done, a line that says how long it took."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.status import Status

Report = Callable[[str], None]


@dataclass
class Progress:
    """Says on standard error what is being done, and when it is done how long it took.

    Attributes:
        quiet: whether nothing is said.
        seconds: how long each step took.
    """

    quiet: bool = False
    seconds: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._console = Console(stderr=True, highlight=False, quiet=self.quiet)
        self._status: Status | None = None
        self._step = ""

    @contextmanager
    def step(self, what: str) -> Iterator[None]:
        """While it is entered, `what` is being done."""
        began, self._step = time.perf_counter(), what
        self._status = self._console.status(what) if self._console.is_terminal else None
        if self._status is not None:
            self._status.start()
        try:
            yield
            self.seconds[what] = time.perf_counter() - began
        finally:
            if self._status is not None:
                self._status.stop()
                self._status = None
        self.say(f"{what}: {self.seconds[what]:.1f} s")

    def report(self, detail: str) -> None:
        """Say a detail of the present step, on a terminal."""
        if self._status is not None:
            self._status.update(f"{self._step}: {detail}")

    def say(self, line: str) -> None:
        """Say one line."""
        self._console.print(line, markup=False, soft_wrap=True)


def progress_of(wanted: bool | Progress | None) -> Progress:
    """What says how far a long call is: None for a terminal or a notebook alone.

    Raises:
        ValueError: if it is no such thing.
    """
    if isinstance(wanted, Progress):
        return wanted
    if wanted is None:
        console = Console(stderr=True)
        wanted = console.is_terminal or console.is_jupyter
    if not isinstance(wanted, bool):
        raise ValueError(f"progress must be True, False or None, got {wanted!r}")
    return Progress(quiet=not wanted)
