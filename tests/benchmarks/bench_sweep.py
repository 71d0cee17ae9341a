"""What a sweep costs beyond its trials: a stub trains and measures, all else is the product.

    python tests/benchmarks/bench_sweep.py [--trials 100 300] [--measured]

Two workers. The stub leaves in the store what one real trial, of an MLP of width 1/16, left there,
so that as much is logged as of a real one. For each number of trials, in a process of its own:

- begun: seconds from the command to the first job's being begun by a worker;
- a trial: seconds from the first result to the last run's being logged, over the other trials;
- memory: the driver's peak above what it was at the first result, in MB, until all is logged;
- page: the same with the sweep's report, which this process makes too;
- again: seconds of the same command once everything is there;
- report: seconds of `python -m analysis report` on all runs.

With `--measured` all results are in the store before the command, which then only logs them: Ray
is not started, and a trial is what logging costs.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llfc.data.datasets import load_dataset
from llfc.networks.spawning import train_network
from llfc.networks.store import NETWORKS, Store
from llfc.specs import fingerprint
from llfc.trial import run_trial
from sweeps.grid.grid import trials_of
from sweeps.grid.settings import Settings
from sweeps.grid.sweep import Sweep
from sweeps.record.measurement import FIGURES, PROVENANCE, RESULTS, Measurement, draw, save
from sweeps.run import launch, study
from sweeps.smoke import SMOKE

AXES = {"width": [1 / 16], "limit_train": [500], "epochs": [1], "matching": ["weights"]}
PATTERN = "pattern"
SEEDS = 5  # numbers of trials are multiples of it


def make_pattern(folder: Path) -> None:
    """Leave in `folder` the result and the figures of one real trial, and one of its networks."""
    store = Store(folder)
    (trial,) = trials_of(SMOKE.replace({**AXES, "seed": [0]}))
    name, network = fingerprint(trial), trial.pair.a
    data = load_dataset(network.dataset, limit_train=500, cache=folder / "data", progress=False)
    for each in (network, trial.pair.b):
        train_network(each, store, data)
    found = run_trial(trial, store, data)
    save(store, trial, Measurement.of(found, {}, draw(trial, found)))
    store.put_text(RESULTS, PATTERN, store.get_text(RESULTS, name) or "")
    store.put_files(FIGURES, PATTERN, store.get_files(FIGURES, name) or {})
    store.put_tensors(NETWORKS, PATTERN, store.load_weights(network) or {}, {})


def stub(job: Mapping[str, Any], place: Mapping[str, Any]) -> dict[str, Any]:
    """In place of `sweeps.run.worker.work`: copies the pattern under the job's name."""
    here, store = Store(Path(place["data_root"])), Store(place["store"])
    if job["stage"] == "networks":
        store.put_tensors(NETWORKS, job["name"], here.get_tensors(NETWORKS, PATTERN) or {}, {})
    else:
        store.put_files(FIGURES, job["name"], here.get_files(FIGURES, PATTERN) or {})
        store.put_text(PROVENANCE, job["name"], json.dumps(place["provenance"]))
        store.put_text(RESULTS, job["name"], here.get_text(RESULTS, PATTERN) or "")
    return {"ended": [{"failed": ""}], "seconds": 0.0}


class Worker(launch._Worker):
    """A worker that does what `stub` does: Ray would look up a function of `launch` there anew."""

    def _work(self) -> dict[str, Any]:
        (job,) = self._config["jobs"]
        return stub(job, self._config["place"])


def sweep_of(count: int) -> Sweep:
    """A sweep of `count` trials of 2 x `count` networks, over SEEDS seeds."""
    widths = [(1 + place / 1000) / 16 for place in range(count // SEEDS)]
    return SMOKE.replace({**AXES, "width": widths, "seed": list(range(SEEDS))})


def peak() -> float:
    """The highest resident memory of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


class Watch(threading.Thread):
    """Notes when something first lies in each of `folders`, and how large this process was then."""

    def __init__(self, *folders: Path) -> None:
        super().__init__(daemon=True)
        self.folders = folders
        self.times: list[float] = []
        self.memory = 0.0

    def run(self) -> None:
        for folder in self.folders:
            while not any(folder.glob("[!.]*")):
                time.sleep(0.05)
            self.times.append(time.monotonic())
        self.memory = peak()


def measure(count: int, folder: Path, pattern: Path, begun: float) -> None:
    """Run the sweep of `count` trials in `folder` and print its figures as JSON."""
    launch._Worker = Worker
    store = folder / "store"
    watch = Watch(store / NETWORKS, store / RESULTS, folder / "artifacts" / SMOKE.name)
    watch.start()
    report, ends = study._report, []
    study._report = lambda *given: (ends.append((time.monotonic(), peak())), report(*given))
    settings = Settings(storage=str(folder), data_root=pattern)
    assert study.run_sweep(sweep_of(count), trials_of(sweep_of(count)), settings) == 0
    figures = {
        "begun": watch.times[0] - begun,
        "a trial": (ends[0][0] - max(watch.times[1:])) / (count - 1),
        "memory": ends[0][1] - watch.memory,
        "page": peak() - watch.memory,
    }
    print(json.dumps(figures))


def fill(count: int, folder: Path, pattern: Path) -> None:
    """Leave in `folder` what the workers of the sweep would."""
    place = {"data_root": pattern, "store": str(folder / "store"), "provenance": {}}
    for trial in trials_of(sweep_of(count)):
        stub({"stage": "trials", "name": fingerprint(trial)}, place)
    stub({"stage": "networks", "name": "0"}, place)


def again(count: int, folder: Path, pattern: Path) -> None:
    """Run the finished sweep once more."""
    settings = Settings(storage=str(folder), data_root=pattern)
    assert study.run_sweep(sweep_of(count), trials_of(sweep_of(count)), settings) == 0


def timed(command: list[str]) -> tuple[float, str]:
    """Seconds of a command, which is told when it began, and the last line that it printed."""
    begun = time.monotonic()  # one clock for all processes of a machine
    command = [word.format(begun=begun) for word in command]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return time.monotonic() - begun, done.stdout.splitlines()[-1]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, nargs="+", default=[100, 300])
    parser.add_argument("--measured", action="store_true", help="only log; the results are there")
    parser.add_argument("--part", nargs=5, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        part, count, folder, pattern, begun = options.part
        if part == "again":
            return again(int(count), Path(folder), Path(pattern))
        return measure(int(count), Path(folder), Path(pattern), float(begun))
    columns = ("begun", "a trial", "memory", "page", "again", "report")
    print("trials", *(f"{name:>8}" for name in columns))
    with tempfile.TemporaryDirectory() as name:
        pattern = Path(name) / "pattern"
        make_pattern(pattern)
        for count in options.trials:
            folder = Path(name) / str(count)
            part = [sys.executable, __file__, "--part"]
            where = [str(count), str(folder), str(pattern), "{begun}"]
            if options.measured:
                fill(count, folder, pattern)
            _, line = timed([*part, "measure", *where])
            figures = json.loads(line)
            figures["again"], _ = timed([*part, "again", *where])
            report = [sys.executable, "-m", "analysis", "report", "--sweep", "smoke"]
            uri = f"sqlite:///{folder}/mlflow.db"
            out = ["--out", str(folder / "page.html"), "--tracking-uri", uri]
            figures["report"], _ = timed([*report, *out])
            print(f"{count:>6}", *(f"{figures[name]:8.2f}" for name in columns), flush=True)


if __name__ == "__main__":
    main()
