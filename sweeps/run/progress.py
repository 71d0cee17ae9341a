"""What a person sees while a sweep runs: done, running, failed, how long it will take."""

import sys
import time
from collections.abc import Iterable, Sequence
from operator import itemgetter
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.text import Text

from llfc.specs import Trial
from sweeps.record.titles import title_of
from sweeps.run.board import FINISHED, INTERRUPTED, Board
from sweeps.run.plan import Growth, Job, Stage

QUIET_SECONDS = 10.0  # between lines where the output is no terminal
LOOK_SECONDS = 5.0  # between two looks at how far networks in training are


class Progress:
    """Counts the jobs of a sweep and shows the counts: live lines, or a line now and then.

    Args:
        jobs: all that is to be done.
        workers: how many there can be at once.
        board: where other shells read it, and where it is read how far a network in training is.
        growth: what may ask for further jobs.
        at_once: how many networks a worker trains at once.
    """

    def __init__(
        self,
        jobs: Iterable[Job],
        workers: int,
        board: Board | None = None,
        growth: Growth | None = None,
        at_once: int = 1,
    ) -> None:
        self._board, self._growth = board, growth
        self._histories: dict[str, dict[str, Any]] = {}  # of the networks in training
        self._looked = float("-inf")
        self._total = dict.fromkeys(Stage, 0)
        self._cost = dict.fromkeys(Stage, 0.0)  # of what is left
        self._left = dict.fromkeys(Stage, 0)
        self._done = dict.fromkeys(Stage, 0)
        self._running: dict[str, float] = {}  # since when
        self._jobs: dict[str, Job] = {}  # those that are running
        # Seconds and cost of what was done, by stage: what the estimate is made from.
        self._spent = {stage: [0.0, 0.0] for stage in Stage}
        # Barriers of the trials that were measured, with the trial of each.
        self._barriers: list[tuple[float, Trial]] = []
        self._at_once = {Stage.NETWORKS: workers * at_once, Stage.TRIALS: workers}
        self._failed = 0
        self._start = self._last = time.monotonic()
        self.add(jobs)
        console = Console(stderr=True)
        self._live = Live(console=console, refresh_per_second=4) if console.is_terminal else None

    def __enter__(self) -> "Progress":
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._histories = {}
        if self._board is not None:
            self._board.show(
                self.state(), doing=INTERRUPTED if any(self._left.values()) else FINISHED
            )
        self._show(last=True)
        if self._live is not None:
            self._live.stop()

    def add(self, jobs: Iterable[Job]) -> None:
        """Say that there are further jobs."""
        for job in jobs:
            self._total[job.stage] += 1
            self._left[job.stage] += 1
            self._cost[job.stage] += job.cost

    def searching(self) -> Sequence[str]:
        """What of a search is open, a line each."""
        return () if self._growth is None else self._growth.lines()

    def started(self, job: Job) -> None:
        """Say that a worker has `job` in hand."""
        self._running[job.name] = time.monotonic()
        self._jobs[job.name] = job

    def lost(self, job: Job) -> None:
        """Say that the worker that had `job` in hand is gone."""
        self._running.pop(job.name, None)

    def finished(self, job: Job, *, failed: bool, barrier: float | None = None) -> None:
        """Say that `job` is done, or has failed; of a measured trial, its barrier."""
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

    def training(self) -> str:
        """How far every network in training is, a line each; empty where none is known."""
        lines = []
        for name, history in self._histories.items():
            if name in self._running and name in self._jobs:
                now = history["now"]
                lines.append(
                    f"epoch {now['epoch'] + now['step'] / history['steps']:.1f}/{history['of']},"
                    f" loss {now['loss']:.4g}: {title_of(self._jobs[name].record)}"
                )
        return "\n".join(lines)

    def state(self) -> dict[str, Any]:
        """What is shown, as plain values: counts, lines, seconds."""
        return {
            "done": {stage.value: self._done[stage] for stage in Stage},
            "total": {stage.value: self._total[stage] for stage in Stage},
            "running": len(self._running),
            "failed": self._failed,
            "elapsed": time.monotonic() - self._start,
            "left": self._estimate(),
            "training": self.training().splitlines(),
            "searching": list(self.searching()),
        }

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
            f"{name} barrier {barrier:.3g}: {title_of(trial)}"
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
        now = time.monotonic()
        if self._board is not None and now - self._looked >= LOOK_SECONDS:
            self._looked = now
            running = [name for name in self._running if self._stage(name) is Stage.NETWORKS]
            found = {name: self._board.history(name) for name in running}
            # One that another driver left long ago is of an earlier try.
            begun = {name: time.time() - (now - self._running[name]) for name in running}
            self._histories = {n: h for n, h in found.items() if h and h["at"] >= begun[n]}
            self._board.show(self.state())
        self._show()

    def _stage(self, name: str) -> Stage:
        return self._jobs[name].stage

    def _under_way(self) -> tuple[float, float]:
        """Of networks in training: the seconds they took so far, and the cost that these did."""
        seconds = cost = 0.0
        for name, history in self._histories.items():
            if name in self._running and history["of"]:
                record = self._jobs[name].record
                first = getattr(record, "spawn_epoch", None) or 0
                first += (getattr(record, "spawn_step", None) or 0) / history["steps"]
                epochs = history["now"]["epoch"] + history["now"]["step"] / history["steps"]
                seconds += history["at"] - (time.time() - (time.monotonic() - self._running[name]))
                cost += self._jobs[name].cost * (epochs - first) / max(history["of"] - first, 1)
        return seconds, cost

    def _estimate(self) -> str:
        """Time left: of each stage, the cost left at the pace seen so far.

        Trials begin when most networks are trained, so for long only the time of the networks is
        known; a bound is then more use than nothing.
        """
        if not any(self._left.values()):
            return "done"
        left, known = 0.0, not self.searching()
        under_way = {Stage.NETWORKS: self._under_way()}
        for stage in Stage:
            begun, part = under_way.get(stage, (0.0, 0.0))
            cost = self._cost[stage] - part
            seconds, done = self._spent[stage][0] + begun, self._spent[stage][1] + part
            known &= bool(done or not cost)
            left += cost * seconds / done / self._at_once[stage] if done else 0.0
        if not (known or left):
            return "time left not yet known"
        return f"{'about' if known else 'more than'} {_clock(left)} left"

    def _show(self, *, last: bool = False) -> None:
        now = time.monotonic()
        if self._live is not None:
            shown = [self.line(), self.training(), *self.searching(), self.extremes()]
            self._live.update(Text("\n".join(filter(None, shown))))
        elif last or now - self._last >= QUIET_SECONDS:
            self._last = now
            shown = [self.line(), self.training(), *self.searching()]
            print("\n".join(filter(None, shown)), file=sys.stderr, flush=True)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
