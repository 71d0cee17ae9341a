"""What is said while a command works: on a terminal what it does now, otherwise a line a step."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.status import Status


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
