"""Starting Ray; what it then does is in `test_study.py`."""

import itertools
import os
import threading
import time
import types

from sweeps import engine
from sweeps.settings import Settings


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
    monkeypatch.setattr(engine, "PATIENCE", 0.02)
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
    monkeypatch.setattr(engine, "PATIENCE", 0.002)
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
