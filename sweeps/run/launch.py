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
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.tune.search import Searcher

from analysis.runs import schema
from sweeps.grid.settings import Settings
from sweeps.record.commit import other_code
from sweeps.record.titles import kind_of
from sweeps.run.engine import RayCrew, await_others, enrol, nodes, watched
from sweeps.run.plan import Job, Outcome, Queue
from sweeps.run.progress import Progress
from sweeps.run.resources import share_of
from sweeps.run.roll import Crew
from sweeps.run.storage import marked, unseen
from sweeps.run.worker import work

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
# Seconds without any worker after which the user is told, and why.
SILENCE = 60.0


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
    crew = RayCrew(share)
    place = {
        "store": settings.store,
        "data_root": None if settings.data_root is None else str(settings.data_root.absolute()),
        "cache": str(settings.cache.absolute()),
        # A worker sees the machine's GPUs even if it has no share of them.
        "device": settings.device if share["GPU"] else "cpu",
        "threads": settings.cpus_per_trial,
        "provenance": dict(provenance),
        "roll": crew.name,
    }
    os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(workers + AHEAD)
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    folder = settings.folder / "ray"
    name = f"{os.getpid()}-{time.time_ns()}"
    # Where several workers were lost at once, Tune may give a job to each of the dead in turn.
    retries = RETRIES + workers
    print(crew.text, flush=True)
    with (
        marked(settings.store) as place["mark"],
        Progress(jobs, workers) as progress,
        watched(),
    ):
        dispatcher = _Dispatcher(jobs, progress, on_done, retries, crew)
        try:
            _give_out(dispatcher, share, place, folder / name)
        except KeyboardInterrupt:
            dispatcher.outcome.interrupted = True
    shutil.rmtree(folder / name, ignore_errors=True)  # Tune's own notes; nothing of ours is there
    outcome = dispatcher.outcome
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
        place = config["place"]
        address = ray.util.get_node_ip_address()  # type: ignore[no-untyped-call]
        self._node = f"{socket.gethostname()} ({address})"
        self._refused = unseen(place["store"], place["mark"], self._node)
        self._other = other_code(place["provenance"])
        self._roll = enrol(place["roll"], self._node)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._config = new_config
        return True

    def step(self) -> dict[str, Any]:
        if self._refused:
            return {"refused": self._refused, "done": True}
        result = self._work()
        await_others(self._roll)
        return {**result, "done": True}

    def _work(self) -> dict[str, Any]:
        place = self._config["place"]
        provenance = {**place["provenance"], **self._other, schema.NODE: self._node}
        result = work(self._config["job"], {**place, "provenance": provenance})
        if self._other:
            warning = f"node {self._node} runs other code than the driver: its results say which"
            result["warnings"].append(warning)
        return result

    def cleanup(self) -> None:
        if self._roll is not None:
            self._roll.gone.remote(ray.get_runtime_context().get_actor_id())


class _Dispatcher(Searcher):
    """Gives Tune the next job that can be done, and takes note of what became of it."""

    def __init__(
        self,
        jobs: Sequence[Job],
        progress: Progress,
        on_done: Callable[[Job], None],
        retries: int,
        crew: Crew | None = None,
    ) -> None:
        super().__init__()
        self._retries = retries
        self._crew = crew or Crew()
        self.outcome = Outcome()
        self._silent: float | None = time.monotonic()  # since when no worker has begun a job
        self._begun: float | None = None  # up to when the room for workers is counted
        self._workers: dict[str, str] = {}  # ids of the workers that have a job in hand
        self._refused = ""
        self._warned: set[str] = set()
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
        self._crew.want(len(self._given))
        return {"job": job.to_plain()}

    def tick(self) -> None:
        """Say that time has passed.

        Raises:
            ValueError: if a worker refuses to work where it is.
        """
        if self._refused:
            raise ValueError(self._refused)
        now = time.monotonic()
        if self._begun is not None:
            self.outcome.there += self._crew.capacity * (now - self._begun)
            self._begun = now
        if self._crew.look():
            self._progress.say(f"now there are {self._crew.text}")
            self._crew.want(len(self._given))
        if self._silent is not None and now - self._silent > SILENCE:
            self._silent = None
            reason = self._crew.why_none_starts()
            self._progress.say(f"no worker has started within {SILENCE:g} s: {reason}")
        self._progress.tick()

    def started(self, trial_id: str, worker: str) -> None:
        """Say that `worker` has begun the job that was suggested as `trial_id`."""
        self._silent = None
        self._begun = self._begun or time.monotonic()
        self._workers[trial_id] = worker
        self._progress.started(self._given[trial_id])

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        self._refused = self._refused or (result or {}).get("refused", "")
        if self._refused:
            return
        job = self._given.pop(trial_id)
        worker = self._workers.pop(trial_id, None)
        self._crew.want(len(self._given))
        if error:
            self._lost[job] += 1
            who = self._crew.lost(worker)
            if self._lost[job] <= self._retries:
                self._progress.lost(job)
                again = f"its job is tried again: {kind_of(job.record)} {job.name}"
                self._progress.say(f"{who} lost, {again}")
                self._queue.lost(job)
                return
        self.outcome.worked += (result or {}).get("seconds", 0.0)
        for warning in (result or {}).get("warnings", ()):
            if warning not in self._warned:  # each network and trial may say the same
                self._progress.say(f"warning: {warning}")
            self._warned.add(warning)
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
        worker = trial.temporary_state.ray_actor
        self._dispatcher.started(trial.trial_id, worker._actor_id.hex())

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        self._dispatcher.tick()
