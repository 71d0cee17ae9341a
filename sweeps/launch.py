"""The door to Ray Tune: train the networks, then measure the trials.

Ray Tune gives each job to a worker as soon as what it needs is there. A worker leaves what it
made in the store under its fingerprint, so whatever stops a sweep, the same command goes on.
"""

import logging
import os
import shutil
import signal
import socket
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.tune.search import Searcher

from sweeps.engine import nodes, watched
from sweeps.plan import Job, Queue
from sweeps.progress import Progress
from sweeps.resources import share_of
from sweeps.settings import Settings
from sweeps.worker import work

# Jobs that are handed to Tune ahead of a free worker; with none ahead, a worker that becomes free
# is ended, and its successor spends seconds on imports.
AHEAD = 2
# Jobs of one run of Tune, which keeps all that it was given, some 60 kB each, and goes through them
# again and again: with 17 000 it gave out half as many a second as with 3000, and its workers were
# ended for want of a next job.
AT_ONCE = 2000
# Tries more of a job whose worker or node was lost; a job's own error is not tried again. Not left
# to Tune: of a worker that dies as a job is handed to it, it hears twice, and gives the job up.
RETRIES = 3


@dataclass
class Outcome:
    """What became of the jobs.

    Attributes:
        done: those that were done, in order.
        failed: reasons by job of those that were not.
        interrupted: whether it was stopped before every job was tried.
        worked: seconds that workers spent on jobs, all workers together.
        there: seconds that there were workers, all workers together, from the first job's begin.
    """

    done: list[Job] = field(default_factory=list)
    failed: dict[Job, str] = field(default_factory=dict)
    interrupted: bool = False
    worked: float = 0.0
    there: float = 0.0


def run_jobs(
    jobs: Sequence[Job],
    settings: Settings,
    *,
    workers: int,
    provenance: Mapping[str, str],
    on_done: Callable[[Job], None],
) -> Outcome:
    """Have every job done by a worker; Ctrl-C ends it early and keeps what is done.

    Args:
        jobs: in order of preference; a job is given out when what it needs is done.
        settings: where workers find and leave things, and how large they are.
        workers: how many can run at once.
        provenance: what is kept beside each result of where it is from.
        on_done: called in this process with each job that was done.
    """
    share = share_of(settings, nodes())
    place = {
        "store": settings.store,
        "data_root": None if settings.data_root is None else str(settings.data_root.absolute()),
        "cache": str(settings.cache.absolute()),
        # A worker sees the machine's GPUs even if it has no share of them.
        "device": settings.device if share["GPU"] else "cpu",
        "threads": settings.cpus_per_trial,
        "provenance": dict(provenance),
    }
    os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(workers + AHEAD)
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    folder = settings.folder / "ray"
    name = f"{os.getpid()}-{time.time_ns()}"
    # Where several workers were lost at once, Tune may give a job to each of the dead in turn.
    retries = RETRIES + workers
    with Progress(jobs, workers) as progress, watched():
        dispatcher = _Dispatcher(jobs, progress, on_done, retries)
        try:
            _give_out(dispatcher, share, place, folder / name)
        except KeyboardInterrupt:
            dispatcher.outcome.interrupted = True
    shutil.rmtree(folder / name, ignore_errors=True)  # Tune's own notes; nothing of ours is there
    outcome = dispatcher.outcome
    outcome.there = workers * (time.monotonic() - (dispatcher.first or time.monotonic()))
    outcome.interrupted |= len(outcome.done) + len(outcome.failed) < len(jobs)
    return outcome


def _give_out(
    dispatcher: "_Dispatcher",
    share: Mapping[str, float],
    place: Mapping[str, Any],
    folder: Path,
) -> None:
    """Have Tune run the jobs of `dispatcher`, AT_ONCE of them in a run; Ctrl-C is raised.

    After a run only those are left that were too many for it, or whose workers were lost at its
    end; what needs a network that failed is not.
    """
    while left := dispatcher.left:
        handler = signal.getsignal(signal.SIGINT)
        tune.run(
            _Worker,
            config={"place": place},
            search_alg=dispatcher,
            num_samples=min(AT_ONCE, left),
            resources_per_trial=share,
            callbacks=[_Listener(dispatcher)],
            storage_path=str(folder.parent),
            name=folder.name,
            trial_dirname_creator=lambda trial: trial.trial_id,  # a job may be tried again
            reuse_actors=True,
            raise_on_failed_trial=False,
            verbose=0,
        )
        shutil.rmtree(folder, ignore_errors=True)
        # Tune has put a handler of its own there, and takes it away at Ctrl-C only.
        stopped = signal.getsignal(signal.SIGINT) is handler
        signal.signal(signal.SIGINT, handler)
        if stopped:
            raise KeyboardInterrupt


class _Worker(tune.Trainable):
    """Does one job after another, on the node that Ray chose, and has each result say which.

    A class, not a function: Tune would run a function in a thread of its own and ask twice.
    """

    def setup(self, config: dict[str, Any]) -> None:
        self._config = config

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._config = new_config
        return True

    def step(self) -> dict[str, Any]:
        place = self._config["place"]
        address = ray.util.get_node_ip_address()  # type: ignore[no-untyped-call]
        node = f"{socket.gethostname()} ({address})"
        provenance = {**place["provenance"], "llfc.node": node}
        return {**work(self._config["job"], {**place, "provenance": provenance}), "done": True}


class _Dispatcher(Searcher):
    """Gives Tune the next job that can be done, and takes note of what became of it."""

    def __init__(
        self,
        jobs: Sequence[Job],
        progress: Progress,
        on_done: Callable[[Job], None],
        retries: int,
    ) -> None:
        super().__init__()
        self._retries = retries
        self.outcome = Outcome()
        self.first: float | None = None  # when the first job was begun
        self._lost: Counter[Job] = Counter()
        self._queue = Queue(jobs)
        self._given: dict[str, Job] = {}
        self._progress = progress
        self._on_done = on_done

    @property
    def left(self) -> int:
        """The number of jobs that are still to be given out."""
        return len(self._queue)

    def suggest(self, trial_id: str) -> Any:
        job = self._queue.next_job()
        if job is None:
            return None if self._queue else Searcher.FINISHED
        self._given[trial_id] = job
        return {"job": job.to_plain()}

    def tick(self) -> None:
        """Say that time has passed."""
        self._progress.tick()

    def started(self, trial_id: str) -> None:
        """Say that a worker has begun the job that was suggested as `trial_id`."""
        self.first = self.first or time.monotonic()
        self._progress.started(self._given[trial_id])

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        job = self._given.pop(trial_id)
        if error:
            self._lost[job] += 1
            if self._lost[job] <= self._retries:
                self._progress.lost(job)
                self._queue.lost(job)
                return
        self.outcome.worked += (result or {}).get("seconds", 0.0)
        for warning in (result or {}).get("warnings", ()):
            self._progress.say(f"warning: {warning}")
        lost = f"its worker was lost {self._lost[job]} times"
        reason = lost if error or result is None else result["failed"]
        if reason:
            self._fail(job, reason)
        else:
            self.outcome.done.append(job)
            self._queue.done(job)
            self._progress.finished(job, failed=False, barrier=(result or {}).get("barrier"))
            self._on_done(job)

    def _fail(self, job: Job, reason: str) -> None:
        self.outcome.failed[job] = reason
        self._progress.finished(job, failed=True)
        self._queue.failed(job)
        for other in self._queue.blocked:
            if other not in self.outcome.failed:
                self.outcome.failed[other] = f"network {job.name} that it needs failed: {reason}"
                self._progress.finished(other, failed=True)

    def save(self, checkpoint_path: str) -> None:
        """Nothing: what there is to do is found anew from the store, not from Tune's notes."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing, as `save`."""


class _Listener(tune.Callback):
    """Hears from Tune what its searcher does not: that a worker has begun, that time has passed."""

    def __init__(self, dispatcher: _Dispatcher) -> None:
        self._dispatcher = dispatcher

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._dispatcher.started(trial.trial_id)

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        self._dispatcher.tick()
