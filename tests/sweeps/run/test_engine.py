"""Starting Ray; what it then does is in `test_study.py`."""

import itertools
import os
import shlex
import threading
import time
import types

import pytest
from filelock import FileLock

from sweeps.grid.settings import Settings
from sweeps.run import engine
from sweeps.run.pool import Registry


class Ray:
    """In place of `ray`: does not come up the first `misses` times."""

    def __init__(self, misses):
        self.misses, self.starts, self.stops = misses, 0, 0

    def init(self, **_):
        self.starts += 1
        if self.starts <= self.misses:
            raise RuntimeError("timed out during startup")

    def shutdown(self):
        self.stops += 1

    def nodes(self):
        return [{"Alive": True, "Resources": {"CPU": 2.0, "memory": 1e9}}]


def started(monkeypatch, misses, **settings):
    ray = Ray(misses)
    monkeypatch.setattr(engine, "ray", ray)
    monkeypatch.setattr(engine, "_own_token", lambda path: None)
    try:
        return ray, engine.start(Settings(**settings))
    except ValueError as error:
        return ray, str(error)


def test_a_machine_that_is_busy_gets_another_try_to_start_ray(monkeypatch):
    ray, workers = started(monkeypatch, misses=engine.STARTS - 1)
    assert workers == 2
    assert ray.stops == engine.STARTS - 1


def test_ray_that_never_comes_up_is_said_in_one_line(monkeypatch):
    ray, said = started(monkeypatch, misses=99)
    assert said == "Ray cannot be started here: timed out during startup"
    assert ray.starts == engine.STARTS


def test_a_cluster_is_asked_once(monkeypatch):
    ray, said = started(monkeypatch, misses=99, address="auto")
    assert "at auto" in said
    assert ray.starts == 1


def test_a_head_that_is_gone_ends_the_process_in_one_line(monkeypatch, capsys):
    ended = threading.Event()
    monkeypatch.setattr(engine, "ray", types.SimpleNamespace(get_runtime_context=context))
    monkeypatch.setattr(engine, "CLUSTER_PATIENCE", 0.02)
    monkeypatch.setattr(engine, "AWAY", 0.1)
    monkeypatch.setattr(engine, "_answers", lambda address, seconds: False)
    monkeypatch.setattr(os, "_exit", lambda status: (ended.set(), time.sleep(0.5)))
    with engine.watched():
        assert ended.wait(20)
    said = capsys.readouterr().err.strip()
    assert said.startswith("error: the head of Ray at here:1 has not answered for 0.1 s;")
    assert len(said.splitlines()) == 1


def test_a_head_that_answers_now_and_then_ends_nothing(monkeypatch):
    answers = itertools.cycle([True, False, False])
    asked = []
    monkeypatch.setattr(engine, "ray", types.SimpleNamespace(get_runtime_context=context))
    monkeypatch.setattr(engine, "CLUSTER_PATIENCE", 0.002)
    monkeypatch.setattr(engine, "AWAY", 30)
    monkeypatch.setattr(
        engine, "_answers", lambda address, seconds: (asked.append(address), next(answers))[1]
    )
    with engine.watched():
        while len(asked) < 20:
            time.sleep(0.01)
    assert set(asked) == {"here:1"}


def context():
    return types.SimpleNamespace(gcs_address="here:1")


def test_a_python_whose_path_a_shell_would_split_is_quoted_for_ray(monkeypatch):
    monkeypatch.setattr(engine.sys, "executable", "/home/me/.venv/bin/python")
    assert engine._as_here() is None
    for path in ("/a b/python", "/a&b/python", "/it's/python", "/$x/python", "/(a)/python"):
        monkeypatch.setattr(engine.sys, "executable", path)
        assert shlex.split(engine._as_here()["py_executable"]) == [path]


SHARE = {"CPU": 1, "GPU": 0.5, "memory": 0}


def lone(tmp_path, free, groups):
    """In place of `ray`: what is free, where the logs are, and who has set what aside."""
    node = types.SimpleNamespace(get_logs_dir_path=lambda: str(tmp_path))
    worker = types.SimpleNamespace(global_worker=types.SimpleNamespace(node=node))
    return types.SimpleNamespace(
        available_resources=lambda: free,
        _private=types.SimpleNamespace(worker=worker),
        get_runtime_context=lambda: types.SimpleNamespace(get_job_id=lambda: "03000000"),
        util=types.SimpleNamespace(placement_group_table=lambda: groups),
    )


def why(monkeypatch, tmp_path, free, groups=None):
    monkeypatch.setattr(engine, "ray", lone(tmp_path, free, groups or {}))
    pool = object.__new__(engine.RayPool)
    pool._share = SHARE
    return pool.why_none_starts()


def test_why_no_worker_starts_is_said_as_far_as_it_is_known(monkeypatch, tmp_path):
    said = why(monkeypatch, tmp_path, {"CPU": 4.0, "GPU": 0.25})
    assert said == "no node has room for a worker now: it asks for 0.5 GPU, 0.25 GPU is free"
    free = {"CPU": 4.0, "GPU": 1.0}
    assert why(monkeypatch, tmp_path, free) == f"Ray's logs are in {tmp_path}"
    (tmp_path / "worker-1.err").write_text("")
    (tmp_path / "raylet.err").write_text("first\nbash: /a: No such file or directory\n\n")
    (tmp_path / "worker-2.err").write_text(":job_id:01000000\n:actor_name:Registry\n")
    said = why(monkeypatch, tmp_path, free)
    assert said.endswith("whose last line is: bash: /a: No such file or directory")


def test_what_ones_own_workers_hold_is_no_lack_of_room(monkeypatch, tmp_path):
    free = {"GPU": 0.25}
    others = {"ab02000000": {"state": "CREATED"}, "ac03000000": {"state": "PENDING"}}
    assert "no node has room" in why(monkeypatch, tmp_path, free, others)
    own = {**others, "ad03000000": {"state": "CREATED"}}
    said = why(monkeypatch, tmp_path, free, own)
    assert said.startswith("1 have reserved resources and are still starting; Ray's logs are")


def test_a_log_that_cannot_be_read_is_no_reason_to_end(monkeypatch, tmp_path):
    (tmp_path / "raylet.err").mkdir()
    said = why(monkeypatch, tmp_path, {"CPU": 4.0, "GPU": 1.0})
    assert said == f"Ray's logs are in {tmp_path}"


@pytest.mark.parametrize(
    ("alive", "answers", "said"),
    [
        (True, True, "a worker on node w2 (10.0.0.3)"),
        (True, False, "node w2 (10.0.0.3)"),  # lost, but Ray has not yet noticed
        (False, True, "node w2 (10.0.0.3)"),
    ],
)
def test_a_lost_node_is_named_and_so_is_the_node_of_a_lost_worker(
    monkeypatch, alive, answers, said
):
    address = {"NodeManagerAddress": "10.0.0.3", "NodeManagerPort": 7}
    ray = types.SimpleNamespace(
        nodes=lambda: [{"NodeID": "ab", "Alive": alive, **address}],
        get=lambda found, timeout: found,
    )
    monkeypatch.setattr(engine, "ray", ray)
    monkeypatch.setattr(engine, "_answers", lambda at, _: answers and at == "10.0.0.3:7")
    registry = Registry(patience=0)
    registry.up("a", "w2 (10.0.0.3)", "ab")
    pool = object.__new__(engine.RayPool)
    pool._registry = types.SimpleNamespace(gone=types.SimpleNamespace(remote=registry.gone))
    assert pool.lost("a") == said
    assert pool.lost("never up") == "a worker"


def test_workers_wait_for_those_that_are_wanted_and_no_longer_than_patience():
    registry = Registry(patience=60)
    assert registry.complete()
    registry.want(2)
    registry.up("a", "here", "1")
    assert not registry.complete()
    registry.up("b", "there", "2")
    assert registry.complete()
    assert registry.gone("b") == ("there", "2")
    assert not registry.complete(), "its successor is being started"
    registry.want(1)
    assert registry.complete(), "there is work for one only"
    assert registry.gone("never up") == ("", "")
    vain = Registry(patience=0.01)
    vain.want(3)
    vain.up("a", "here", "1")
    while not vain.complete():
        time.sleep(0.001)
    vain._patience = 60
    vain.want(1)
    vain.want(3)
    assert vain.complete(), "the others were waited for before, and did not come up"
    vain.up("b", "there", "2")
    vain.gone("a")
    assert not vain.complete(), "there is room for two, it turns out"
    hasty = Registry(patience=0)
    hasty.want(2)
    assert hasty.complete()


def test_the_token_that_another_driver_is_making_is_waited_for(tmp_path):
    path = tmp_path / "auth_token"
    with FileLock(f"{path}.lock"):
        other = threading.Thread(target=engine._own_token, args=[path])
        other.start()
        other.join(0.5)
        assert not path.exists()
        path.write_text("its own")
    other.join(20)
    assert path.read_text() == "its own"


def test_the_token_is_whole_and_its_users_alone(tmp_path):
    path = tmp_path / ".ray/auth_token"
    engine._own_token(path)
    token = path.read_text()
    assert len(token) == 64
    path.chmod(0o644)
    engine._own_token(path)
    assert path.read_text() == token
    assert path.stat().st_mode & 0o777 == 0o600
    path.write_text("")  # as a process leaves it that is killed as it writes
    engine._own_token(path)
    assert len(path.read_text()) == 64
    assert path.stat().st_mode & 0o777 == 0o600
