"""A search whose driver is killed: the same command ends where it would have, nothing twice."""

import psutil
import pytest

from analysis.answers.searched import asked_of, search_answer
from analysis.runs.mlflow import load_runs
from llfc.names import counted
from llfc.networks.store import Store
from llfc.specs import fingerprint
from sweeps.record.measurement import instability
from tests.helpers import searches
from tests.helpers.disturbed_sweeps import PATIENCE, wait_until, workers_of

pytestmark = pytest.mark.exhaustive

SEARCH = (
    "--architecture",
    "mlp",
    "--recheck",
    "1",
    "--epochs",
    "4",
    "--matching",
    "none",
    "--measures",
    "none",
    "--threshold",
    "0.001",
)
PROGRAM = ("sweeps/onset.py",)


def written(place):
    """When each network was trained."""
    return {p: p.stat().st_mtime_ns for p in place.folder.glob("store/networks/[!.]*")}


def test_a_driver_killed_while_it_searches(place):
    run = place.start(*SEARCH, program=PROGRAM)
    wait_until(run, lambda: len(place.kept("connections")) >= 5)  # beyond the ends of both seeds
    below = workers_of(run)
    run.kill()
    run.communicate()
    _, alive = psutil.wait_procs(below, timeout=PATIENCE)
    assert not alive, "workers end with the driver"
    trained, measured = written(place), set(place.kept("connections"))
    said = place.finish(*SEARCH, program=PROGRAM)
    assert "Traceback" not in said
    assert written(place).items() >= trained.items(), "a network was trained twice"
    assert f"{counted(len(written(place)) - len(trained), 'network')} trained" in said
    assert f"{counted(len(place.kept('connections')) - len(measured), 'trial')} measured" in said

    # All that was measured is what a search asks for that knows it, in whatever order it came.
    store = Store(str(place.folder / "store"))
    words = ["--width", "1/16", "--limit-train", "500", "--seed", "0", "1", *SEARCH]
    search = searches.brackets(*words, read=lambda trial: instability(store, trial))
    assert search.wanted == []
    assert {fingerprint(t) for t in search.trials} == {
        name.partition(".")[0] for name in place.kept("connections")
    }
    runs = load_runs(place.uri, "onset")
    assert set(runs.trials["fingerprint"]) == {fingerprint(t) for t in search.trials}
    assert place.statuses() == {"FINISHED": len(search.trials)}
    assert search_answer(runs.trials, asked_of(runs.trials)) in " ".join(said.split())
