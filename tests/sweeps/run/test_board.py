"""What a sweep says of itself to other shells, and what it shows of networks in training."""

import json
import os
import socket
import time

import pytest

from llfc.networks.history import HISTORIES
from llfc.networks.store import Store
from sweeps.__main__ import main
from sweeps.run import board
from sweeps.run.board import Board, cancel, statuses
from sweeps.run.plan import plan
from sweeps.run.progress import Progress
from tests.helpers.searches import brackets, jobs_of
from tests.sweeps.run.test_plan import TRIALS, by_width, no_state, nothing


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def jobs():
    return plan(TRIALS[:8], trained=nothing, has_state=no_state, cost=by_width)


def test_a_network_in_training_is_shown_with_its_epoch_and_loss_and_gives_a_time(
    store, monkeypatch
):
    clock = [1000.0]
    monkeypatch.setattr("sweeps.run.progress.time.monotonic", lambda: clock[0])
    monkeypatch.setattr("sweeps.run.progress.time.time", lambda: clock[0])
    job = jobs()[0]
    progress = Progress([job], 1, Board(store, "width"))
    progress.started(job)
    progress.tick()
    assert progress.training() == ""
    assert progress.line().endswith("time left not yet known")
    clock[0] += 30
    now = {"epoch": 1, "step": 5, "loss": 0.25}
    history = {"now": now, "steps": 10, "of": job.record.recipe.epochs, "at": clock[0]}
    store.put_text(HISTORIES, job.name, json.dumps(history))
    progress.tick()
    assert progress.training().startswith("epoch 1.5/8, loss 0.25: mlp × ")
    # 30 seconds for 1.5 of 8 epochs.
    assert progress.line().endswith("about 2:10 left")
    progress.finished(job, failed=False)
    assert progress.training() == ""
    assert progress.line().endswith("done")


def test_what_an_earlier_driver_left_of_a_training_is_not_shown(store):
    job = jobs()[0]
    now = {"epoch": 1, "step": 5, "loss": 0.25}
    history = {"now": now, "steps": 10, "of": 8, "at": time.time() - 5}
    store.put_text(HISTORIES, job.name, json.dumps(history))
    progress = Progress([job], 1, Board(store, "width"))
    progress.started(job)
    progress.tick()
    assert progress.training() == ""


def test_another_shell_sees_how_far_a_sweep_is(store, capsys, tmp_path):
    all_jobs = jobs()
    with Progress(all_jobs, 2, Board(store, "width")) as progress:
        progress.started(all_jobs[0])
        progress.finished(all_jobs[0], failed=False)
        progress.tick()
        networks = sum(job.stage == "networks" for job in all_jobs)
        main(["status", "--storage", str(tmp_path)])
        said = capsys.readouterr().out
        assert said.startswith(f"width: networks 1/{networks} · trials 0/8 · running 0 · failed 0")
        assert f"running, last sign of life 0 s ago on {socket.gethostname()}" in said
        progress.started(all_jobs[1])
        progress.tick()
    (status,) = statuses(store)
    assert status["doing"] == "interrupted"
    main(["status", "--storage", str(tmp_path)])
    said = capsys.readouterr().out
    assert "interrupted, " in said
    assert "running" not in said
    with Progress([], 2, Board(store, "width")):
        pass
    (status,) = statuses(store)
    assert status["doing"] == "finished"


def test_another_shell_sees_what_is_still_searched(store, capsys, tmp_path):
    growth = brackets("--resolution", "10", "--seed", "0", "1")
    with Progress(jobs_of(growth.wanted), 2, Board(store, "onset"), growth) as progress:
        progress.tick()
        main(["status", "--storage", str(tmp_path)])
        lines = capsys.readouterr().out.splitlines()
        assert lines[1:] == [f"  {line}" for line in growth.lines()]
        assert lines[1].startswith("  spawn step ? to ?: mlp × 1, fashion-mnist-small, seed 0, ")


def test_a_driver_that_is_dead_is_said_to_be_gone(store, monkeypatch):
    Board(store, "width").show(Progress(jobs(), 1).state())
    assert statuses(store)[0]["doing"] == "running"
    monkeypatch.setattr(board.os, "kill", dead)
    assert statuses(store)[0]["doing"] == "gone"
    monkeypatch.setattr(board.socket, "gethostname", lambda: "another")
    assert statuses(store)[0]["doing"] == "running"
    late = time.time() + 61
    monkeypatch.setattr(board.time, "time", lambda: late)
    assert statuses(store)[0]["doing"] == "gone"


def dead(process, signal):
    assert (process, signal) == (os.getpid(), 0)
    raise ProcessLookupError


def test_a_sweep_is_asked_to_stop_once(store, monkeypatch, tmp_path, capsys):
    own = Board(store, "width")
    own.show(Progress(jobs(), 1).state())
    clock = [time.monotonic()]
    monkeypatch.setattr(
        board.time, "monotonic", lambda: clock.__setitem__(0, clock[0] + 3) or clock[0]
    )
    assert not own.cancelled()
    main(["cancel", "width", "--storage", str(tmp_path)])
    assert "width is asked to stop" in capsys.readouterr().out
    assert own.cancelled()
    assert not Board(store, "width").cancelled()  # the next driver's


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["status"], "has no sweep that has trained or measured yet"),
        (["cancel", "width"], "has no running sweep"),
        (["status", "--storage", "nowhere://x"], "nowhere"),
    ],
)
def test_where_there_is_nothing_it_says_so(words, said, tmp_path, capsys):
    storage = [] if "--storage" in words else ["--storage", str(tmp_path / "new")]
    with pytest.raises(SystemExit) as stop:
        main([*words, *storage])
    err = capsys.readouterr().err
    assert stop.value.code == 2
    assert said in err
    assert err.count("\n") == 1
    assert not (tmp_path / "new").exists()


def test_a_name_that_no_running_sweep_has_is_refused(store, tmp_path, capsys):
    Board(store, "width").show(Progress(jobs(), 1).state())
    with pytest.raises(SystemExit):
        main(["cancel", "widht", "--storage", str(tmp_path)])
    assert "did you mean 'width'?" in capsys.readouterr().err
    cancel(store, "width")
