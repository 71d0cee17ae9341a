"""The only use of Ray Tune: train the networks, then measure the trials.

Ray Tune gives each job to a worker as soon as what it needs is there. A worker leaves what it
made in the store under its fingerprint, so whatever stops a sweep, the same command goes on.
"""

import logging
import os
import shutil
import signal
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.tune.search import Searcher

from analysis.runs import schema
from llfc.networks.store import Store
from sweeps.grid.settings import Settings
from sweeps.record.commit import other_code
from sweeps.run.board import Board
from sweeps.run.dispatcher import Dispatcher
from sweeps.run.engine import RayPool, await_others, nodes, register, watched
from sweeps.run.plan import Growth, Job, Outcome
from sweeps.run.progress import Progress
from sweeps.run.resources import networks_at_once, share_of
from sweeps.run.storage import marked, unseen
from sweeps.run.worker import work

# Jobs that are handed to Tune ahead of a free worker; with none ahead, a worker that becomes free
# is ended, and its successor spends seconds on imports.
AHEAD = 2
# Jobs of one run of Tune, which holds all that it was given, some 60 kB each, and goes through them
# again and again: with 17 000 it dispatched half as many per second as with 3000, and its workers
# were ended for want of a next job.
AT_ONCE = 2000
# Tries more of a job whose worker or node was lost; a job's own error is not tried again. Not left
# to Tune: of a worker that dies as a job is handed to it, it is told twice, and gives the job up.
RETRIES = 3


def run_jobs(
    jobs: Sequence[Job],
    settings: Settings,
    *,
    sweep: str,
    workers: int,
    provenance: Mapping[str, str],
    on_done: Callable[[Job], None],
    growth: Growth | None = None,
) -> Outcome:
    """Have workers do every job; Ctrl-C ends this early, and finished jobs are not lost.

    Args:
        jobs: in order of preference; a job is dispatched when what it needs is done.
        settings: where workers find and leave things, and how large they are.
        sweep: the name under which other shells see how far it is, and can stop it.
        workers: how many can run at once.
        provenance: what is stored beside each result: where it is from.
        on_done: called in this process with each job that was done.
        growth: what asks for further jobs as others end; None where all are known.
    """
    share = share_of(settings, nodes())
    at_once = networks_at_once(settings, share)
    pool = RayPool(share)
    place = {
        "store": settings.store,
        "data_root": None if settings.data_root is None else str(settings.data_root.absolute()),
        "cache": str(settings.cache.absolute()),
        # A worker sees the machine's GPUs even if it has no share of them.
        "device": settings.device if share["GPU"] else "cpu",
        "threads": settings.cpus_per_trial,
        "checkpoint_seconds": settings.checkpoint_seconds,
        "provenance": dict(provenance),
        "registry": pool.name,
    }
    os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(workers + AHEAD)
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    folder = settings.folder / "ray"
    name = f"{os.getpid()}-{time.time_ns()}"
    # Where several workers were lost at once, Tune may give a job to each of the dead in turn.
    retries = RETRIES + workers
    board = Board(Store(settings.store), sweep)
    print(pool.text, flush=True)
    with (
        marked(settings.store) as place["mark"],
        Progress(jobs, workers, board, growth, at_once) as progress,
        watched(),
    ):
        dispatcher = Dispatcher(
            jobs,
            progress,
            on_done,
            retries,
            pool,
            stop_after=settings.stop_after_failures,
            growth=growth,
            at_once=at_once,
        )
        try:
            _dispatch(dispatcher, board, share, place, folder / name)
        except KeyboardInterrupt:
            dispatcher.outcome.interrupted = True
        finally:  # a worker may have refused
            # Tune's own notes; nothing of ours is there.
            shutil.rmtree(folder / name, ignore_errors=True)
    outcome = dispatcher.outcome
    outcome.interrupted |= dispatcher.unfinished
    return outcome


def _dispatch(
    dispatcher: Dispatcher,
    board: Board,
    share: Mapping[str, float],
    place: Mapping[str, Any],
    folder: Path,
) -> None:
    """Run the jobs of `dispatcher` with Tune, AT_ONCE of them per run of Tune; raises on Ctrl-C.

    After a run only those are left that were too many for it, or whose workers were lost at its
    end; what needs a network that failed is not.
    """
    while left := dispatcher.left:
        handler = signal.getsignal(signal.SIGINT)
        tune.run(
            _Worker,
            config={"place": place},
            search_alg=_Searcher(dispatcher),
            num_samples=min(AT_ONCE, left),
            resources_per_trial=share,
            callbacks=[_Listener(dispatcher, board)],
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
    """Does one job after another on the node that Ray chose, and names that node in each result.

    A class, not a function: Tune would run a function in a thread of its own and ask twice.
    """

    def setup(self, config: dict[str, Any]) -> None:
        self._config = config
        place = config["place"]
        address = ray.util.get_node_ip_address()  # type: ignore[no-untyped-call]
        self._node = f"{socket.gethostname()} ({address})"
        self._refused = unseen(place["store"], place["mark"], self._node)
        self._other = other_code(place["provenance"])
        self._registry = register(place["registry"], self._node)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._config = new_config
        return True

    def step(self) -> dict[str, Any]:
        if self._refused:
            return {"refused": self._refused, "done": True}
        result = self._work()
        await_others(self._registry)
        return {**result, "done": True}

    def _work(self) -> dict[str, Any]:
        place = self._config["place"]
        provenance = {**place["provenance"], **self._other, schema.NODE: self._node}
        result = work(self._config["jobs"], {**place, "provenance": provenance})
        if self._other:
            warning = f"node {self._node} runs different code: its results are tagged with it"
            result["warnings"].append(warning)
        return result

    def cleanup(self) -> None:
        if self._registry is not None:
            self._registry.gone.remote(ray.get_runtime_context().get_actor_id())


class _Searcher(Searcher):
    """Asks the dispatcher where Tune asks for the next point of a search."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        super().__init__()
        self._dispatcher = dispatcher

    def suggest(self, trial_id: str) -> Any:
        job = self._dispatcher.dispatch(trial_id)
        if job is None:
            return None if self._dispatcher.left else Searcher.FINISHED
        jobs = [job, *self._dispatcher.dispatch_beside(trial_id)]
        return {"jobs": [job.to_plain() for job in jobs]}

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        self._dispatcher.ended(trial_id, None if error else result, lost=error)

    def save(self, checkpoint_path: str) -> None:
        """Nothing: what remains to be done is determined from the store, not from Tune's state."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing, as `save`."""


class _Listener(tune.Callback):
    """Receives from Tune what its searcher does not: when a worker begins, when time passes."""

    def __init__(self, dispatcher: Dispatcher, board: Board) -> None:
        self._dispatcher, self._board = dispatcher, board

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        worker = trial.temporary_state.ray_actor
        self._dispatcher.started(trial.trial_id, worker._actor_id.hex())

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        self._dispatcher.tick()
        if self._board.cancelled():
            signal.raise_signal(signal.SIGTERM)
        if self._dispatcher.outcome.given_up:
            signal.raise_signal(signal.SIGINT)  # Tune has a handler while it runs
