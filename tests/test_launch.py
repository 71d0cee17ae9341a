"""Starting Ray; what it then does is in `test_study.py`."""

from sweeps import launch
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
    monkeypatch.setattr(launch, "ray", ray)
    try:
        return ray, launch.start(Settings(**settings))
    except ValueError as error:
        return ray, str(error)


def test_a_machine_that_is_busy_gets_another_try_to_start_ray(monkeypatch):
    ray, workers = started(monkeypatch, misses=launch.STARTS - 1)
    assert workers == 2
    assert ray.stops == launch.STARTS - 1


def test_ray_that_never_comes_up_is_said_in_one_line(monkeypatch):
    ray, said = started(monkeypatch, misses=99)
    assert said == "Ray cannot be started here: timed out during startup"
    assert ray.starts == launch.STARTS


def test_a_cluster_is_asked_once(monkeypatch):
    ray, said = started(monkeypatch, misses=99, address="auto")
    assert "at auto" in said
    assert ray.starts == 1
