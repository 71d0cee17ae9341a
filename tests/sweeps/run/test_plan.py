"""The plan: each network once, roots before branches, and nothing before what it needs."""

import dataclasses
import itertools
import random

import pytest

from llfc.specs import Network, Recipe, fingerprint
from sweeps.record.titles import title_of
from sweeps.run.dispatcher import Dispatcher
from sweeps.run.plan import Queue, plan
from sweeps.run.pool import WorkerPool
from sweeps.run.progress import Progress
from tests.helpers.fabricated_runs import trial as fabricated

RECIPE = Recipe(epochs=8, batch_size=10, optimizer="sgd", lr=0.1)


def trial(seed=0, spawn_epoch=None, width=1.0, matching="none"):
    return fabricated(
        seed=seed, spawn_epoch=spawn_epoch, width=width, matching=matching, recipe=RECIPE
    )


TRIALS = [
    trial(seed, spawn_epoch, width, matching)
    for seed, spawn_epoch, width, matching in itertools.product(
        (0, 1), (0, 2, 8, None), (1.0, 2.0), ("none", "weights")
    )
]


def nothing(network):
    return False


def no_state(branch):
    return False


def by_width(network):
    return network.width * network.recipe.epochs


def test_every_distinct_network_is_one_job():
    jobs = plan(TRIALS, trained=nothing, has_state=no_state, cost=by_width)
    networks = [job.record for job in jobs if isinstance(job.record, Network)]
    # For each of two seeds and two widths: the trunk, three branches, one trained independently.
    assert len(networks) == len(set(networks)) == 2 * 2 * 5
    assert sorted(job.name for job in jobs if job.stage == "trials") == sorted(
        map(fingerprint, TRIALS)
    )


def test_trunks_keep_their_state_where_branches_fork():
    jobs = plan(TRIALS, trained=nothing, has_state=no_state, cost=by_width)
    for job in jobs:
        is_trunk = isinstance(job.record, Network) and (
            job.record.member == 0 and job.record.spawn_epoch is None
        )
        assert job.keep_epochs == ((0, 2, 8) if is_trunk else ())


def test_roots_come_first_and_the_longest_first_of_all():
    networks = [
        job.record
        for job in plan(TRIALS, trained=nothing, has_state=no_state, cost=by_width)
        if isinstance(job.record, Network)
    ]
    ranks = [(n.spawn_epoch is not None, -n.width) for n in networks]
    assert ranks == sorted(ranks)


def test_what_is_trained_is_nobodys_job_and_nobodys_need():
    roots = {t.pair.a for t in TRIALS}
    jobs = plan(TRIALS, trained=roots.__contains__, has_state=lambda branch: True, cost=by_width)
    assert not roots & {job.record for job in jobs}
    assert not {need for job in jobs for need in job.needs} & set(map(fingerprint, roots))
    assert plan([], trained=nothing, has_state=no_state, cost=by_width) == []


@pytest.mark.parametrize("seed", range(5))
def test_whatever_order_workers_finish_in_needs_come_first(seed):
    jobs = plan(TRIALS, trained=nothing, has_state=no_state, cost=by_width)
    queue, running, done = Queue(jobs), [], []
    rng = random.Random(seed)
    while queue or running:
        job = queue.next_job() if len(running) < 3 else None
        if job is not None:
            assert job.needs <= {other.name for other in done}
            running.append(job)
        else:
            assert running, "nothing runs, and yet nothing can be dispatched"
            done.append(running.pop(rng.randrange(len(running))))
            queue.done(done[-1])
    assert {job.name for job in done} == {job.name for job in jobs}
    assert len(done) == len(jobs)


def test_a_failed_network_blocks_what_needs_it_and_nothing_else():
    jobs = plan(TRIALS, trained=nothing, has_state=no_state, cost=by_width)
    trunk = next(job for job in jobs if job.record == TRIALS[0].pair.a)
    queue, done = Queue(jobs), []
    while (job := queue.next_job()) is not None:
        if job == trunk:
            queue.failed(job)
        else:
            queue.done(job)
            done.append(job)
    lost = {t for t in TRIALS if t.pair.a == trunk.record}
    assert len(queue) == 0
    assert {job.record for job in done if job.stage == "trials"} == set(TRIALS) - lost
    assert {job.record for job in queue.blocked if job.stage == "trials"} == lost
    assert sum(job.stage == "networks" for job in queue.blocked) == 3  # its branches


def test_a_trained_root_that_kept_no_state_keeps_it_before_its_branches_start():
    roots = {t.pair.a for t in TRIALS}
    jobs = plan(TRIALS, trained=roots.__contains__, has_state=no_state, cost=by_width)
    assert roots <= {job.record for job in jobs}
    for job in jobs:
        if isinstance(job.record, Network) and job.record.spawn_epoch:
            assert job.needs == {fingerprint(job.record.root)}


def test_time_left_is_bounded_by_the_networks_until_a_trial_is_done(monkeypatch):
    """Each job takes ten seconds a unit of cost, on one worker, so what is left is known."""
    now = 0.0
    monkeypatch.setattr("sweeps.run.progress.time.monotonic", lambda: now)
    jobs = plan(TRIALS[:8], trained=nothing, has_state=no_state, cost=lambda network: 1.0)
    progress = Progress(jobs, 1)
    assert "time left not yet known" in progress.line()
    left = {
        stage: sum(j.cost for j in jobs if j.stage == stage) for stage in ("networks", "trials")
    }

    def do(job):
        nonlocal now
        progress.started(job)
        now += 10 * job.cost
        progress.finished(job, failed=False)
        left[job.stage] -= job.cost

    do(jobs[0])
    assert progress.line().endswith(f"more than {_clock(10 * left['networks'])} left")
    do(next(job for job in jobs if job.stage == "trials"))
    assert progress.line().endswith(f"about {_clock(10 * sum(left.values()))} left")


def test_the_lowest_and_the_highest_barrier_so_far_are_shown_with_their_trials():
    jobs = plan(TRIALS[:8], trained=lambda network: True, has_state=no_state, cost=by_width)
    progress = Progress(jobs, 1)
    assert progress.extremes() == ""
    for job, barrier in zip(jobs, (0.5, 0.25, 2.0, 1.0), strict=False):
        progress.started(job)
        progress.finished(job, failed=False, barrier=barrier)
    lowest, highest = progress.extremes().splitlines()
    assert lowest == f"lowest barrier 0.25: {title_of(jobs[1].record)}"
    assert highest == f"highest barrier 2: {title_of(jobs[2].record)}"


def test_a_title_names_the_options_that_are_not_as_usual():
    one = fabricated(depth=3, positions="rotary", recipe=RECIPE)
    begin = "mlp × 1, depth 3, positions rotary, fashion-mnist-small"
    assert title_of(one) == f"{begin}, independent, seed 0, matching none"
    canonical = dataclasses.replace(one, form="canonical")
    assert title_of(canonical) == f"{title_of(one)}, canonical form"
    assert title_of(one.pair.a) == f"{begin}, a root, seed 0"


def _clock(seconds):
    return "{}:{:02}".format(*divmod(round(seconds), 60))


def test_a_job_whose_worker_is_lost_is_requeued_first_and_in_the_end_fails():
    jobs = plan(TRIALS, trained=nothing, has_state=no_state, cost=by_width)
    dispatcher = Dispatcher(jobs, Progress(jobs, 2), lambda job: None, retries=2)
    first = dispatcher.dispatch("0")
    assert dispatcher.left == len(jobs) - 1
    for attempt in range(1, 3):
        dispatcher.ended(str(attempt - 1), None, lost=True)
        assert dispatcher.left == len(jobs)
        assert dispatcher.dispatch(str(attempt)) is first
        assert not dispatcher.outcome.failed
    dispatcher.ended("2", None, lost=True)
    assert dispatcher.outcome.failed[jobs[0]] == "its worker was lost 3 times"
    assert dispatcher.dispatch("3") is not first


def test_after_so_many_failures_nothing_more_is_dispatched_and_what_is_done_stays():
    """Two failures of their own: neither retried workers nor blocked trials are counted."""
    jobs = plan(TRIALS, trained=nothing, has_state=no_state, cost=by_width)
    dispatcher = Dispatcher(jobs, Progress(jobs, 2), lambda job: None, retries=2, stop_after=2)
    first, second, third, lost = (dispatcher.dispatch(attempt) for attempt in "0123")
    dispatcher.ended("0", {"ended": [{"failed": "no loss"}]})
    assert len(dispatcher.outcome.failed) > 1, "trials that need it are blocked"
    dispatcher.ended("3", None, lost=True)
    assert not dispatcher.outcome.given_up
    assert dispatcher.dispatch("4") is lost
    dispatcher.ended("1", {"ended": [{"failed": "no loss"}]})
    assert dispatcher.outcome.given_up
    assert dispatcher.left
    assert dispatcher.dispatch("5") is None
    dispatcher.ended("2", {"ended": [{"failed": ""}]})
    assert dispatcher.outcome.done == [third]
    assert {first, second, lost} & dispatcher.outcome.failed.keys() == {first, second}


class Silent(WorkerPool):
    def why_none_starts(self):
        return "bash: /a: No such file or directory"


def test_workers_that_do_not_start_are_said_once_with_the_reason(monkeypatch, capsys):
    jobs = plan(TRIALS[:2], trained=lambda network: True, has_state=no_state, cost=by_width)
    progress = Progress(jobs, 2)
    monkeypatch.setattr("sweeps.run.dispatcher.SILENCE", 0.0)
    for begun in (False, True):
        dispatcher = Dispatcher(jobs, progress, lambda job: None, retries=2, pool=Silent())
        dispatcher.dispatch("0")
        if begun:
            dispatcher.started("0", "worker")
        for _ in range(3):
            dispatcher.tick()
        said = capsys.readouterr().err
        reason = "no worker has started within 0 s: bash: /a: No such file or directory\n"
        assert said == ("" if begun else reason)


def test_a_worker_that_refuses_where_it_is_ends_the_sweep(capsys):
    jobs = plan(TRIALS[:2], trained=lambda network: True, has_state=no_state, cost=by_width)
    dispatcher = Dispatcher(jobs, Progress(jobs, 2), lambda job: None, retries=2)
    for trial_id in "01":
        dispatcher.dispatch(trial_id)
        dispatcher.started(trial_id, "worker")
    dispatcher.ended("0", {"refused": "node w2 does not see it", "done": True})
    dispatcher.ended("1", None, lost=True)
    with pytest.raises(ValueError, match="node w2 does not see it"):
        dispatcher.tick()
    assert not dispatcher.outcome.failed
