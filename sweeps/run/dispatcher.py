"""Which job is next, and how each one ended: the driver's side of a sweep. No Ray here."""

import math
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sweeps.record.titles import noun_of
from sweeps.run.plan import Growth, Job, Outcome, Queue, Stage
from sweeps.run.pool import WorkerPool
from sweeps.run.progress import Progress

# Seconds without any worker after which the user is told, and why.
SILENCE = 60.0


class Dispatcher:
    """Dispatches the next job that can be done, and records how it ended.

    A job goes by the id of the try that it is dispatched for, as it may be tried again; several
    networks that one worker trains at once go by the same.

    Args:
        jobs: in order of preference.
        progress: where the user sees it.
        on_done: called with each job that was done.
        retries: how often a job is tried again whose worker was lost.
        pool: the workers.
        stop_after: number of jobs that fail for good at which nothing more is dispatched; None for
            any number. Those that were blocked by a failed network are not counted.
        growth: what asks for further jobs as others end; None where all are known.
        at_once: how many networks a worker trains at once, at most.

    Attributes:
        outcome: what became of the jobs so far.
    """

    def __init__(
        self,
        jobs: Sequence[Job],
        progress: Progress,
        on_done: Callable[[Job], None],
        retries: int,
        pool: WorkerPool | None = None,
        stop_after: int | None = None,
        growth: Growth | None = None,
        at_once: int = 1,
    ) -> None:
        self.outcome = Outcome()
        self._queue = Queue(jobs)
        self._progress = progress
        self._on_done = on_done
        self._retries = retries
        self._stop_after = stop_after
        self._growth, self._at_once = growth, at_once
        self._failures = 0
        self._causes: dict[str, str] = {}  # of what is blocked, by what it needs
        self._pool = pool or WorkerPool()
        self._running: dict[str, list[Job]] = {}
        self._workers: dict[str, str] = {}  # ids of the workers that have jobs in hand
        self._lost: Counter[Job] = Counter()
        self._refused = ""
        self._warned: set[str] = set()
        self._silent: float | None = time.monotonic()  # since when no worker has begun a job
        self._begun: float | None = None  # up to when the room for workers is counted

    @property
    def left(self) -> int:
        """The largest number of jobs that are still to be dispatched; 0 if there are no more."""
        return len(self._queue) + (self._growth.most if self._growth else 0)

    @property
    def unfinished(self) -> bool:
        """Whether a job has not ended."""
        return bool(self.left or self._running)

    def dispatch(self, attempt: str) -> Job | None:
        """The next job that can be done now, from now on known as `attempt`; None if none can."""
        job = None if self.outcome.given_up else self._queue.next_job()
        if job is not None:
            self._running[attempt] = [job]
            self._pool.want(len(self._running))
        return job

    def dispatch_beside(self, attempt: str) -> list[Job]:
        """The networks that are to be trained beside the one dispatched as `attempt`.

        They are the next that are ready, as many as leave as many for each free worker. A network
        whose worker was lost more than once is trained alone, as it may be the cause.
        """
        bundle = self._running[attempt]
        if self._at_once > 1 and self._fits(bundle[0]):
            workers = max(1, self._pool.capacity - len(self._running) + 1)
            ready = 1 + self._queue.count_ready(self._fits)
            for _ in range(min(self._at_once, math.ceil(ready / workers)) - 1):
                if (job := self._queue.next_job(self._fits)) is not None:
                    bundle.append(job)
        return bundle[1:]

    def _fits(self, job: Job) -> bool:
        """Whether `job` may be done beside others."""
        return job.stage is Stage.NETWORKS and self._lost[job] < 2

    def tick(self) -> None:
        """Say that time has passed.

        Raises:
            ValueError: if a worker refuses to work where it is.
        """
        if self._refused:
            raise ValueError(self._refused)
        now = time.monotonic()
        if self._begun is not None:
            self.outcome.there += self._pool.capacity * (now - self._begun)
            self._begun = now
        if self._pool.look():
            self._progress.say(f"now there are {self._pool.text}")
            self._pool.want(len(self._running))
        if self._silent is not None and now - self._silent > SILENCE:
            self._silent = None
            reason = self._pool.why_none_starts()
            self._progress.say(f"no worker has started within {SILENCE:g} s: {reason}")
        self._progress.tick()

    def started(self, attempt: str, worker: str) -> None:
        """Say that `worker` has begun what was dispatched as `attempt`."""
        self._silent = None
        self._begun = self._begun or time.monotonic()
        self._workers[attempt] = worker
        for job in self._running[attempt]:
            self._progress.started(job)

    def ended(self, attempt: str, result: Mapping[str, Any] | None, *, lost: bool = False) -> None:
        """Say that what was dispatched as `attempt` has ended.

        Args:
            attempt: as it was dispatched.
            result: what the worker returned (see `sweeps.run.worker.work`); None if nothing came.
            lost: whether its worker was lost before it had ended.
        """
        result = result or {}
        self._refused = self._refused or result.get("refused", "")
        if self._refused:
            return
        jobs = self._running.pop(attempt)
        worker = self._workers.pop(attempt, None)
        self._pool.want(len(self._running))
        if lost:
            who = self._pool.lost(worker)
            jobs = [job for job in reversed(jobs) if not self._is_requeued(job, who)]
        self.outcome.worked += result.get("seconds", 0.0)
        self._warn(result.get("warnings", ()))
        for job, found in zip(jobs, result.get("ended", [{}] * len(jobs)), strict=True):
            reason = found.get("failed", f"its worker was lost {self._lost[job]} times")
            if reason:
                self._fail(job, reason)
            else:
                self._succeed(job, found.get("barrier"))

    def _succeed(self, job: Job, barrier: float | None) -> None:
        self.outcome.done.append(job)
        self._queue.done(job)
        self._progress.finished(job, failed=False, barrier=barrier)
        self._on_done(job)
        self._grow(job, failed=False)

    def _is_requeued(self, job: Job, who: str) -> bool:
        """Whether `job`, which was lost with `who`, is requeued."""
        self._lost[job] += 1
        if self._lost[job] > self._retries:
            return False
        self._progress.lost(job)
        again = f"its job is requeued: {noun_of(job.record)} {job.name}"
        self._progress.say(f"{who} lost, {again}")
        self._queue.requeue(job)
        return True

    def _warn(self, warnings: Sequence[str]) -> None:
        for warning in warnings:
            if warning not in self._warned:  # each network and trial may say the same
                self._progress.say(f"warning: {warning}")
            self._warned.add(warning)

    def _fail(self, job: Job, reason: str) -> None:
        self._failures += 1
        self.outcome.given_up = self._failures == self._stop_after or self.outcome.given_up
        self._queue.failed(job)
        self._causes[job.name] = f"network {job.name} that it needs failed: {reason}"
        self._lose(job, reason)

    def _lose(self, job: Job, reason: str) -> None:
        """Note that `job` has failed for `reason`, and so has what is blocked by that."""
        self.outcome.failed[job] = reason
        self._progress.finished(job, failed=True)
        self._grow(job, failed=True)
        for other, need in list(self._queue.blocked.items()):
            if other not in self.outcome.failed:
                cause = self._causes[other.name] = self._causes[need]
                self._lose(other, cause)

    def _grow(self, job: Job, *, failed: bool) -> None:
        """Add the jobs that are wanted now that `job` has ended."""
        if self._growth is not None:
            self._progress.add(self._queue.add(self._growth.ended(job, failed=failed)))
