"""A driver that is killed while MLflow makes its database costs the sweep nothing."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
# MLflow is loaded once; each try is a child, killed so long after its first file is there.
SCRIPT = """
import os, signal, sys, time
from pathlib import Path
from sweeps.record.tracking import Tracker
from sweeps.grid.settings import Settings

def begun(folder):
    child = os.fork()
    if not child:
        Tracker(Settings(storage=str(folder)).tracking, "smoke", folder / "artifacts")
        os._exit(0)
    return child

killed = 0
for place, after in enumerate(map(float, sys.argv[2:])):
    folder = Path(sys.argv[1]) / str(place)
    child = begun(folder)
    while not list(folder.glob("*mlflow.db*")):
        time.sleep(0.001)
    time.sleep(after)
    if not (folder / "mlflow.db").exists():
        killed += 1
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    child = begun(folder)
    _, status = os.waitpid(child, 0)
    assert status == 0, f"killed after {after} s: {status}"
    left = sorted(path.name for path in folder.iterdir())
    assert left == ["artifacts", "mlflow.db", "mlflow.db.lock"], left
print(killed)
"""


def killed_at(folder, instants):
    """In how many of the tries the database was still being made."""
    command = [sys.executable, "-c", SCRIPT, str(folder), *map(str, instants)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return int(run.stdout)


def test_a_driver_killed_while_it_makes_the_database(tmp_path):
    assert killed_at(tmp_path, [0.4]) == 1


@pytest.mark.exhaustive
def test_a_driver_killed_at_any_instant_while_it_makes_the_database(tmp_path):
    assert killed_at(tmp_path, [place * 0.05 for place in range(40)]) >= 10
