"""What is to be done, and in which order: a graph of jobs. No Ray here."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any, Protocol

from llfc.codec import to_plain
from llfc.specs import Network, Trial, fingerprint


class Stage(StrEnum):
    """What a job produces, in the order in which a sweep does them."""

    NETWORKS = "networks"
    TRIALS = "trials"


@dataclass(frozen=True, kw_only=True)
class Job:
    """One thing that a worker does: trains a network, or measures a trial.

    Attributes:
        record: what to train or measure.
        needs: fingerprints of the networks that must be there before.
        cost: how long it takes, in units that are the same within a stage.
        keep_epochs: of a network: epochs after which its training state is kept for branches.
        keep_steps: the same in optimiser steps from the start, within epochs.
    """

    record: Network | Trial
    needs: frozenset[str]
    cost: float
    keep_epochs: tuple[int, ...] = ()
    keep_steps: tuple[int, ...] = ()

    @cached_property
    def name(self) -> str:
        """The fingerprint of what it produces."""
        return fingerprint(self.record)

    @property
    def stage(self) -> Stage:
        """Whether it trains or measures."""
        return Stage.NETWORKS if isinstance(self.record, Network) else Stage.TRIALS

    def to_plain(self) -> dict[str, Any]:
        """The job as plain values, which are sent to a worker."""
        return {
            "name": self.name,
            "stage": self.stage.value,
            "record": to_plain(self.record),
            "keep_epochs": list(self.keep_epochs),
            "keep_steps": list(self.keep_steps),
        }


def plan(
    trials: Iterable[Trial],
    *,
    trained: Callable[[Network], bool],
    has_state: Callable[[Network], bool],
    cost: Callable[[Network], float],
) -> list[Job]:
    """The jobs that `trials` ask for: each network once, roots before branches, longest first.

    Args:
        trials: what is to be measured.
        trained: whether a network is in the store already; it then is nobody's job.
        has_state: whether the state of its root at which a branch forks is in the store; a trained
            root whose state a branch lacks is a job again, which trains it that far and no further.
        cost: how long a network takes to train, in any unit.
    """
    trials = list(dict.fromkeys(trials))
    networks = list(dict.fromkeys(n for t in trials for n in (t.pair.a, t.pair.b)))
    missing = {network for network in networks if not trained(network)}
    missing |= {n.root for n in missing if n.is_branch and not has_state(n)}
    branches: defaultdict[Network, list[Network]] = defaultdict(list)
    for network in networks:
        if network.is_branch:
            branches[network.root].append(network)
    jobs = [_training(network, branches[network], missing, cost(network)) for network in missing]
    jobs += [_measuring(trial, missing, cost(trial.pair.a)) for trial in trials]
    return sorted(jobs, key=_rank)


def _training(
    network: Network, branches: Sequence[Network], missing: Set[Network], cost: float
) -> Job:
    needs = ({network.root} - {network}) & missing
    return Job(
        record=network,
        needs=frozenset(map(fingerprint, needs)),
        cost=cost,
        keep_epochs=_without_none(branch.spawn_epoch for branch in branches),
        keep_steps=_without_none(branch.spawn_step for branch in branches),
    )


def _without_none(values: Iterable[int | None]) -> tuple[int, ...]:
    return tuple(sorted({value for value in values if value is not None}))


def _measuring(trial: Trial, missing: Set[Network], cost: float) -> Job:
    needs = {trial.pair.a, trial.pair.b} & missing
    # The walk is a fixed number of passes, so a network's cost an epoch is its trials' cost.
    share = cost / trial.pair.recipe.epochs
    return Job(record=trial, needs=frozenset(map(fingerprint, needs)), cost=share)


def _rank(job: Job) -> tuple[bool, bool, float, str]:
    branch = isinstance(job.record, Network) and job.record.is_branch
    return (job.stage is Stage.TRIALS, branch, -job.cost, job.name)


@dataclass
class Outcome:
    """What became of the jobs.

    Attributes:
        done: those that were done, in order.
        failed: reasons by job of those that were not.
        interrupted: whether it was stopped before every job was tried.
        given_up: whether so many jobs failed that it is to stop.
        worked: seconds that workers spent on jobs, all workers together.
        there: seconds that there was room for workers, all together, from the first job's begin.
    """

    done: list[Job] = field(default_factory=list)
    failed: dict[Job, str] = field(default_factory=dict)
    interrupted: bool = False
    given_up: bool = False
    worked: float = 0.0
    there: float = 0.0


class Growth(Protocol):
    """What asks for further jobs while others run, as a search does."""

    @property
    def most(self) -> int:
        """The largest number of jobs that may still be asked for; 0 once there are no more."""

    def ended(self, job: Job, *, failed: bool) -> Sequence[Job]:
        """The jobs that are wanted now that `job` is done or has failed for good."""

    def lines(self) -> Sequence[str]:
        """What is still open, a line each, for a user."""


class Queue:
    """The jobs still to be dispatched, each when what it needs is done.

    A job whose need failed is never dispatched: it is in `blocked`, with the need that failed.
    """

    def __init__(self, jobs: Iterable[Job]) -> None:
        self._waiting: dict[str, Job] = {}
        self._known: set[str] = set()  # whatever was added, and what became of it
        self._done: set[str] = set()
        self._failed: set[str] = set()
        self.blocked: dict[Job, str] = {}
        self.add(jobs)

    def add(self, jobs: Iterable[Job]) -> list[Job]:
        """Add `jobs` behind the others, each once, whatever became of it; those that are new."""
        new = [job for job in jobs if job.name not in self._known]
        self._known |= {job.name for job in new}
        for job in new:
            if lost := job.needs & self._failed:
                self._block(job, min(lost))
            else:
                self._waiting[job.name] = job
        return new

    def __len__(self) -> int:
        return len(self._waiting)

    def next_job(self, fits: Callable[[Job], bool] = lambda _: True) -> Job | None:
        """The first job that fits, with all dependencies done; None if there is none now."""
        for job in self._ready(fits):
            return self._waiting.pop(job.name)
        return None

    def count_ready(self, fits: Callable[[Job], bool]) -> int:
        """How many ready jobs fit."""
        return sum(1 for _ in self._ready(fits))

    def _ready(self, fits: Callable[[Job], bool]) -> Iterator[Job]:
        return (job for job in self._waiting.values() if job.needs <= self._done and fits(job))

    def done(self, job: Job) -> None:
        """Note that `job` is done."""
        self._done.add(job.name)

    def requeue(self, job: Job) -> None:
        """Requeue `job`, whose worker was lost: it is dispatched before all others."""
        self._waiting = {job.name: job, **self._waiting}

    def failed(self, job: Job) -> None:
        """Note that `job` has failed for good: every job that depends on it is blocked."""
        self._failed.add(job.name)
        for other in [other for other in self._waiting.values() if job.name in other.needs]:
            if self._waiting.pop(other.name, None) is not None:
                self._block(other, job.name)

    def _block(self, job: Job, need: str) -> None:
        self.blocked[job] = need
        self.failed(job)
