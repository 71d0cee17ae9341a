"""Several networks that one worker trains at once: each is what it is alone."""

import random
import signal
import subprocess
import sys

import pytest

from llfc.networks.checkpoints import RUNNING
from llfc.networks.history import epochs_of, read_history
from llfc.networks.store import STATES, Store
from llfc.plugins import resolve
from llfc.specs import Network, fingerprint
from sweeps.grid.settings import Settings
from sweeps.run.dispatcher import Dispatcher
from sweeps.run.plan import plan
from sweeps.run.pool import WorkerPool
from sweeps.run.progress import Progress
from sweeps.run.resources import networks_at_once
from sweeps.run.worker import work
from tests.helpers.bundled_jobs import HOT, MLP, NETWORKS, jobs_of, place_in
from tests.helpers.disturbed_sweeps import ROOT
from tests.sweeps.run.test_plan import TRIALS, by_width, no_state, nothing

OWN = """
import torch
from torch import nn


def build(*, input_shape, num_classes):
    inputs = torch.Size(input_shape).numel()
    return nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(inputs, num_classes))
"""


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    """Those of the helper, and one of one's own that draws from what all threads share."""
    path = tmp_path_factory.mktemp("own") / "mine.py"
    path.write_text(OWN)
    name = resolve("architecture", f"{path}:build")
    own = {"architecture": name, "width": 1.0, "norm": "none"}
    return [*NETWORKS, Network(**{**vars(MLP), **own})]


@pytest.fixture(scope="module")
def alone(networks, tmp_path_factory):
    """A store where each was trained by itself."""
    folder = tmp_path_factory.mktemp("alone")
    for job in jobs_of(*networks):
        assert work([job], place_in(folder))["ended"] == [{"failed": "", "barrier": None}]
    return folder


def content(folder, kind):
    return {path.name: path.read_bytes() for path in (folder / kind).iterdir()}


def losses(folder, network):
    return [
        (one.epoch, one.loss, one.test_loss, one.train_error)
        for one in epochs_of(read_history(Store(folder), fingerprint(network)))
    ]


def assert_as_alone(folder, alone, networks):
    for kind in ("networks", STATES):
        assert content(folder, kind) == content(alone, kind)
    for network in networks:
        found = losses(folder, network)
        assert [one[0] for one in found] == [1, 2, 3]
        assert str(found) == str(losses(alone, network))  # NaN where nothing was judged
    assert list((folder / RUNNING).glob("*")) == []


@pytest.mark.slow
def test_each_is_what_it_is_alone_and_the_one_that_fails_fails_alone(tmp_path, alone, networks):
    result = work(jobs_of(HOT, *networks), place_in(tmp_path))
    failed = [end["failed"] for end in result["ended"]]
    assert failed[0].startswith("ValueError: training loss must be finite")
    assert failed[1:] == [""] * len(networks)
    assert Store(tmp_path).names("failures") == [fingerprint(HOT)]
    for path in tmp_path.glob(f"*/*{fingerprint(HOT)}*"):  # its history, its state after an epoch
        path.unlink()
    assert_as_alone(tmp_path, alone, networks)


@pytest.mark.slow
def test_a_bundle_that_is_killed_goes_on(tmp_path, alone, networks):
    command = [sys.executable, "-m", "tests.helpers.bundled_jobs", str(tmp_path)]
    assert subprocess.run(command, cwd=ROOT).returncode == -signal.SIGKILL
    store = Store(tmp_path)
    assert len(store.names(RUNNING)) == len(NETWORKS)
    assert store.names("networks") == []
    work(jobs_of(*networks), place_in(tmp_path))
    assert_as_alone(tmp_path, alone, networks)


class Pool(WorkerPool):
    capacity = 2


def dispatcher_of(jobs, at_once=3, **options):
    options = {"pool": Pool(), **options}
    return Dispatcher(
        jobs, Progress(jobs, 2, at_once=at_once), lambda _: None, 4, at_once=at_once, **options
    )


def taken(dispatcher, attempt):
    job = dispatcher.dispatch(attempt)
    return [] if job is None else [job, *dispatcher.dispatch_beside(attempt)]


@pytest.mark.parametrize("seed", range(4))
def test_only_what_is_ready_is_in_a_bundle_and_all_is_done_once(seed):
    jobs = plan(TRIALS, trained=nothing, has_state=no_state, cost=by_width)
    dispatcher, rng = dispatcher_of(jobs), random.Random(seed)
    running, sizes = {}, set()
    for number in range(100):
        bundle = taken(dispatcher, str(number)) if len(running) < 2 else []
        if bundle:
            done = {job.name for job in dispatcher.outcome.done}
            assert all(job.needs <= done for job in bundle)
            assert len(bundle) == 1 or {job.stage for job in bundle} == {"networks"}
            assert [jobs.index(job) for job in bundle] == sorted(map(jobs.index, bundle))
            dispatcher.started(str(number), "worker")
            running[str(number)] = bundle
            sizes.add(len(bundle))
        elif running:
            attempt = rng.choice(list(running))
            ended = [{"failed": ""} for _ in running.pop(attempt)]
            dispatcher.ended(attempt, {"ended": ended})
    assert sorted(map(jobs.index, dispatcher.outcome.done)) == list(range(len(jobs)))
    assert max(sizes) == 3


def test_what_is_ready_is_spread_over_the_workers_that_are_free():
    jobs = [job for job in plan(TRIALS, trained=nothing, has_state=no_state, cost=by_width)]
    ready = [job for job in jobs if not job.needs]
    dispatcher = dispatcher_of(ready[:4], at_once=4)
    assert [taken(dispatcher, attempt) for attempt in "01"] == [ready[:2], ready[2:4]]


def test_one_fails_alone_and_one_whose_worker_is_lost_again_is_trained_alone():
    jobs = plan(TRIALS, trained=nothing, has_state=no_state, cost=by_width)
    dispatcher = dispatcher_of(jobs)
    first = taken(dispatcher, "0")
    dispatcher.ended("0", None, lost=True)
    assert taken(dispatcher, "1") == first, "the longest is still the first"
    dispatcher.ended("1", None, lost=True)
    assert [taken(dispatcher, attempt) for attempt in "234"] == [[job] for job in first]
    dispatcher.ended("2", {"ended": [{"failed": ""}]})
    others = taken(dispatcher, "5")
    assert len(others) > 1
    dispatcher.ended("5", {"ended": [{"failed": "no loss"}, *[{"failed": ""}] * (len(others) - 1)]})
    assert others[0] in dispatcher.outcome.failed
    assert set(others[1:]) < set(dispatcher.outcome.done)


def test_how_many_at_once():
    whole, quarter = {"GPU": 1.0}, {"GPU": 0.25}
    assert networks_at_once(Settings(), {"GPU": 0.0}) == networks_at_once(Settings(), quarter) == 1
    assert networks_at_once(Settings(), whole) == 4
    assert networks_at_once(Settings(networks_per_worker=3), {"GPU": 0.0}) == 3
    with pytest.raises(ValueError, match=r"^networks_per_worker must be at least 1, got 0$"):
        Settings(networks_per_worker=0)
