"""Jobs of a fraction of a second on a cluster of two nodes: `python short_jobs.py FOLDER JOBS`.

Prints the share of the time in which workers were busy, and how many jobs each node did.
"""

import sys
import time
from collections import Counter
from pathlib import Path

import ray
from ray.cluster_utils import Cluster

from sweeps.grid.grid import trials_of
from sweeps.grid.settings import Settings
from sweeps.run import launch
from sweeps.run.engine import start
from sweeps.run.plan import plan
from sweeps.smoke import SMOKE

SECONDS = 0.2


class Worker(launch._Worker):
    """Notes on which node it is, in place of working."""

    def _work(self):
        begun = time.monotonic()
        time.sleep(SECONDS)
        folder = Path(self._config["place"]["cache"])
        node = ray.get_runtime_context().get_node_id()
        (job,) = self._config["jobs"]
        (folder / f"{job['name']}-{node}").touch()
        return {"ended": [{"failed": ""}], "seconds": time.monotonic() - begun}


def main(folder: str, count: int) -> None:
    cluster = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False}
    )
    cluster.add_node(num_cpus=1)
    launch._Worker = Worker
    settings = Settings(storage=folder, address=cluster.address)
    settings.cache.mkdir(parents=True)
    workers = start(settings)
    seeds = SMOKE.replace({"seed": list(range(count)), "matching": ["none"]})
    jobs = plan(
        trials_of(seeds), trained=lambda _: True, has_state=lambda *_: True, cost=lambda _: 1.0
    )
    outcome = launch.run_jobs(
        jobs, settings, sweep="short", workers=workers, provenance={}, on_done=lambda _: None
    )
    done = Counter(path.name.partition("-")[2] for path in settings.cache.iterdir())
    assert len(outcome.done) == len(jobs) == sum(done.values())
    print(f"busy {outcome.worked / outcome.there:.2f}", *sorted(done.values()))
    ray.shutdown()
    cluster.shutdown()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
