"""Jobs that are asked for while others run: each once, after what it needs, and counted."""

import random

import pytest

from llfc.specs import Network
from sweeps.grid.grid import trials_of
from sweeps.grid.sweep import Sweep
from sweeps.run.dispatcher import Dispatcher
from sweeps.run.plan import Queue, Stage, plan
from sweeps.run.progress import Progress

STEPS = range(1, 6)
TRIALS = trials_of(
    Sweep(name="s", x="spawn_step", question="?", axes={"spawn_step": STEPS, "seed": [0, 1]})
)


def jobs_of(trials):
    return plan(trials, trained=lambda _: False, has_state=lambda _: True, cost=lambda _: 1.0)


class NextStep:
    """Asks for a seed's trials one by one, each when the one before has ended."""

    def __init__(self):
        self.ended_with = []
        self.open = [[t for t in TRIALS if t.pair.seed == seed] for seed in (0, 1)]

    @property
    def most(self):
        return 3 * sum(map(len, self.open))

    def first(self):
        return jobs_of([trials.pop(0) for trials in self.open])

    def ended(self, job, *, failed):
        if job.stage is Stage.NETWORKS:
            return []
        self.ended_with.append((job.record, failed))
        trials = self.open[job.record.pair.seed]
        return jobs_of([trials.pop(0)]) if trials else []

    def lines(self):
        return [f"{len(trials)} left" for trials in self.open if trials]


def run(workers, seed, fails=lambda record: False):
    """What a dispatcher does with as many workers, in a random order; the jobs in their order."""
    growth, rng = NextStep(), random.Random(seed)
    first = growth.first()
    progress = Progress(first, workers, growth=growth)
    dispatcher = Dispatcher(first, progress, lambda job: None, retries=0, growth=growth)
    running, order = {}, []
    for number in range(1000):
        job = dispatcher.dispatch(str(number)) if len(running) < workers else None
        if job is not None:
            done = {other.name for other in dispatcher.outcome.done}
            assert job.needs <= done, "a job before what it needs"
            dispatcher.started(str(number), "worker")
            running[str(number)] = job
            order.append(job)
        elif running:
            attempt = rng.choice(list(running))
            reason = "no loss" if fails(running.pop(attempt).record) else ""
            dispatcher.ended(attempt, {"ended": [{"failed": reason}]})
        else:
            break
        assert dispatcher.unfinished == bool(dispatcher.left or running)
    assert not dispatcher.unfinished
    return order, dispatcher.outcome, growth, progress


@pytest.mark.parametrize("seed", range(5))
def test_jobs_that_are_added_are_done_once_each_after_what_they_need(seed):
    order, outcome, growth, progress = run(workers=1 + seed % 3, seed=seed)
    assert {job.record for job in order} == {job.record for job in jobs_of(TRIALS)}
    assert len({job.name for job in order}) == len(order) == len(outcome.done)
    for number in (0, 1):  # one by one
        own = [trial for trial, _ in growth.ended_with if trial.pair.seed == number]
        assert [trial.pair.spawn_step for trial in own] == list(STEPS)
    assert progress.state()["done"] == progress.state()["total"] == {"networks": 12, "trials": 10}


def test_what_is_still_searched_is_shown_and_bounds_the_time_from_below():
    growth = NextStep()
    first = growth.first()
    progress = Progress(first, 1, growth=growth)
    progress.started(first[0])
    progress.finished(first[0], failed=False)
    assert progress.state()["searching"] == ["4 left", "4 left"]
    assert "more than" in progress.line()


def test_what_needs_a_network_that_failed_before_it_was_asked_for_fails_with_that_reason():
    def branch(record):
        return isinstance(record, Network) and record.spawn_step == 3 and record.seed == 0

    def root(record):
        return record == TRIALS[0].pair.a

    _, outcome, growth, _ = run(2, 0, fails=branch)
    assert [t.pair.spawn_step for t, failed in growth.ended_with if failed] == [3]
    assert len(outcome.failed) == 2
    _, outcome, growth, _ = run(2, 0, fails=root)
    lost = [trial for trial, failed in growth.ended_with if failed]
    assert [(t.pair.seed, t.pair.spawn_step) for t in lost] == [(0, step) for step in STEPS]
    name = jobs_of(lost)[0].name
    (own,) = [reason for job, reason in outcome.failed.items() if job.name == name]
    others = {reason for job, reason in outcome.failed.items() if job.name != name}
    assert (own, others) == ("no loss", {f"network {name} that it needs failed: no loss"})


def test_a_queue_takes_each_job_once_whatever_became_of_it():
    jobs = jobs_of(TRIALS[:1])
    queue = Queue(jobs)
    assert queue.add(jobs) == []
    queue.done(queue.next_job())
    assert (queue.add(jobs), len(queue)) == ([], len(jobs) - 1)
