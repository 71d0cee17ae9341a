"""The command line of sweeps: from the arguments to the exit status."""

import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import Timer
from types import FrameType

from llfc.progress.loading import loading
from sweeps.grid.sweep import Sweep

INTERRUPTED = "interrupted: run the same command again to finish the rest"
# Seconds from SIGTERM to the end: Slurm and Kubernetes send SIGKILL 30 s after it.
GRACE = 20.0


def main(sweep: Sweep, arguments: Sequence[str] | None = None) -> None:
    """Run `sweep` as `arguments` change it.

    Exits with 0 if every trial has its run, 1 if some failed, 2 on bad input, 130 on Ctrl-C and
    143 on SIGTERM.
    """
    run([sweep], arguments)


def run(sweeps: Sequence[Sweep], arguments: Sequence[str] | None = None) -> None:
    """Run one sweep after another, each as `arguments` change it; nothing if one is refused.

    Exits as `main`, with the highest status of any.
    """
    sigterm = _Sigterm()
    with sigterm.as_ctrl_c():
        status = _status(sweeps, arguments)
    if status == 130:
        status = sigterm.status
        sigterm.say()
    raise SystemExit(status)


def _status(sweeps: Sequence[Sweep], arguments: Sequence[str] | None) -> int:
    try:
        # Imported inside the try: PyTorch, Ray and MLflow take seconds to load, in which Ctrl-C is
        # caught; and a wrong option is reported without waiting for the latter two.
        with loading("PyTorch", "torch"):
            from sweeps.grid.options import parse

        parsed = [parse(sweep, arguments) for sweep in sweeps]
        if any(settings.dry_run for settings, _, _ in parsed):
            from sweeps.forecast.dry_run import dry_run

            return dry_run(parsed)
        with loading("Ray and MLflow", "ray"):
            from sweeps.run.study import run_sweep

        status = 0
        names = [settings.name or changed.name for settings, changed, _ in parsed]
        # Grids of one name have one report, which is of all of them.
        shown: dict[str, set[str]] = {name: set() for name in names if names.count(name) > 1}
        for name, (settings, changed, trials) in zip(names, parsed, strict=True):
            status = max(status, run_sweep(changed, trials, settings, shown.get(name)))
            if status == 130:
                break
        return status
    except (ValueError, OSError) as error:  # before llfc.oneline is loaded, perhaps
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


class _Sigterm:
    """SIGTERM is Ctrl-C, but the process ends within GRACE seconds: what is done is in the store.

    A queue sends it to a job that must give way, and `timeout`: to Ray's processes too, perhaps,
    without which Ray itself would wait a minute for answers.

    Attributes:
        status: that of a sweep that was interrupted: by Ctrl-C, or by this signal.
    """

    def __init__(self) -> None:
        self.status = 130
        self._said = False

    @contextmanager
    def as_ctrl_c(self) -> Iterator[None]:
        before = signal.signal(signal.SIGTERM, self._stop)
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, before)

    def say(self) -> None:
        """Say once, in a line, that the sweep was interrupted."""
        if not self._said:
            self._said = True
            print(INTERRUPTED, file=sys.stderr, flush=True)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        if self.status == 143:  # `timeout` sends it twice
            return
        self.status = 143
        end = Timer(GRACE, self._end)
        end.daemon = True
        end.start()
        handler = signal.getsignal(signal.SIGINT)  # Tune has its own while it runs
        if not callable(handler):  # a shell has its background jobs ignore Ctrl-C
            raise KeyboardInterrupt
        handler(signal.SIGINT, frame)

    def _end(self) -> None:
        self.say()
        os._exit(self.status)
