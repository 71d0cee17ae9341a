"""What a person sees while a sweep runs: done, running, failed, how long it will take."""

import sys
import time
from collections.abc import Iterable
from operator import itemgetter

from rich.console import Console
from rich.live import Live
from rich.text import Text

from llfc.specs import Trial
from sweeps.record.titles import title_of
from sweeps.run.plan import Job, Stage

QUIET_SECONDS = 10.0  # between lines where the output is no terminal


class Progress:
    """Counts the jobs of a sweep and shows the counts: live lines, or a line now and then."""

    def __init__(self, jobs: Iterable[Job], workers: int) -> None:
        self._total = dict.fromkeys(Stage, 0)
        self._cost = dict.fromkeys(Stage, 0.0)  # of what is left
        for job in jobs:
            self._total[job.stage] += 1
            self._cost[job.stage] += job.cost
        self._left = dict(self._total)
        self._done = dict.fromkeys(Stage, 0)
        self._running: dict[str, float] = {}
        # Seconds and cost of what was done, by stage: what the estimate is made from.
        self._spent = {stage: [0.0, 0.0] for stage in Stage}
        # Barriers of the trials that were measured, in nats, with the trial of each.
        self._barriers: list[tuple[float, Trial]] = []
        self._workers = workers
        self._failed = 0
        self._start = self._last = time.monotonic()
        console = Console(stderr=True)
        self._live = Live(console=console, refresh_per_second=4) if console.is_terminal else None

    def __enter__(self) -> "Progress":
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._show(last=True)
        if self._live is not None:
            self._live.stop()

    def started(self, job: Job) -> None:
        """Say that a worker has `job` in hand."""
        self._running[job.name] = time.monotonic()

    def lost(self, job: Job) -> None:
        """Say that the worker that had `job` in hand is gone."""
        self._running.pop(job.name, None)

    def finished(self, job: Job, *, failed: bool, barrier: float | None = None) -> None:
        """Say that `job` is done, or has failed; of a measured trial, its barrier in nats."""
        begun = self._running.pop(job.name, None)
        self._left[job.stage] -= 1
        # Zero at the end, whatever rounding leaves of the differences.
        self._cost[job.stage] = self._left[job.stage] and self._cost[job.stage] - job.cost
        self._failed += failed
        if begun is not None and not failed:
            self._spent[job.stage][0] += time.monotonic() - begun
            self._spent[job.stage][1] += job.cost
            self._done[job.stage] += 1
        if barrier is not None and isinstance(job.record, Trial):
            self._barriers.append((barrier, job.record))

    def line(self) -> str:
        """The state of the sweep in one line."""
        counts = [f"{stage} {self._done[stage]}/{self._total[stage]}" for stage in Stage]
        counts += [f"running {len(self._running)}", f"failed {self._failed}"]
        elapsed = _clock(time.monotonic() - self._start)
        return " · ".join([*counts, f"{elapsed} elapsed", self._estimate()])

    def extremes(self) -> str:
        """The lowest and the highest barrier so far, a line each; empty before there is one."""
        if not self._barriers:
            return ""
        ends = {"lowest": min, "highest": max}
        found = {name: end(self._barriers, key=itemgetter(0)) for name, end in ends.items()}
        return "\n".join(
            f"{name} barrier {barrier:.3g} nats: {title_of(trial)}"
            for name, (barrier, trial) in found.items()
        )

    def say(self, text: str) -> None:
        """Print `text` above the state."""
        if self._live is not None:
            self._live.console.print(text, markup=False, highlight=False)
        else:
            print(text, file=sys.stderr, flush=True)

    def tick(self) -> None:
        """Show the state again if it is time to."""
        self._show()

    def _estimate(self) -> str:
        """Time left: of each stage, the cost left at the pace seen so far.

        Trials begin when most networks are trained, so for long only the time of the networks is
        known; a bound is then more use than nothing.
        """
        if not any(self._left.values()):
            return "done"
        left, known = 0.0, True
        for stage in Stage:
            cost = self._cost[stage]
            seconds, done = self._spent[stage]
            known &= bool(done or not cost)
            left += cost * seconds / done if done else 0.0
        if not (known or left):
            return "time left not yet known"
        return f"{'about' if known else 'more than'} {_clock(left / self._workers)} left"

    def _show(self, *, last: bool = False) -> None:
        now = time.monotonic()
        if self._live is not None:
            self._live.update(Text("\n".join(filter(None, [self.line(), self.extremes()]))))
        elif last or now - self._last >= QUIET_SECONDS:
            self._last = now
            print(self.line(), file=sys.stderr, flush=True)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
