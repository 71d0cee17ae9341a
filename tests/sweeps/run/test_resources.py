"""A worker must fit one node: counts against packing by hand, and what is said where none fits."""

import itertools

import pytest

from sweeps.grid.settings import Settings
from sweeps.run.resources import GIB, refusal, share_of, workers_on

CPU_NODE = {"CPU": 8.0, "memory": 16.0 * GIB, "node:10.0.0.1": 1.0}
GPU_NODE = {"CPU": 4.0, "GPU": 2.0, "memory": 32.0 * GIB}


def packed(node, share):
    """How many workers fit, given out one at a time, a share of a GPU always of a single one."""
    cpus, memory = node.get("CPU", 0), node.get("memory", 0)
    left = [10_000] * int(node.get("GPU", 0))  # of each GPU
    for count in itertools.count():
        cpus, memory = cpus - share["CPU"], memory - share["memory"]
        wanted = round(share["GPU"] * 10_000)
        for i, rest in enumerate(left):
            taken = min(rest, wanted) if wanted > 10_000 else wanted * (rest >= wanted)
            if wanted and (wanted <= 10_000 or rest == 10_000):
                left[i], wanted = rest - taken, wanted - taken
        if cpus < 0 or memory < 0 or wanted:
            return count


@pytest.mark.parametrize("gpus", [0, 0.1, 0.25, 1 / 3, 0.6, 1, 2])
@pytest.mark.parametrize("memory", [None, 0.5, 10, 40])
@pytest.mark.parametrize("cpus", [1, 3, 8])
@pytest.mark.parametrize("node", [CPU_NODE, GPU_NODE])
def test_as_many_workers_as_can_be_packed(node, cpus, memory, gpus):
    settings = Settings(cpus_per_trial=cpus, memory_per_trial=memory, gpus_per_trial=gpus)
    share = share_of(settings, [node])
    assert workers_on(node, share) == packed(node, share)


@pytest.mark.parametrize(
    ("settings", "nodes", "gpus"),
    [
        (Settings(), [CPU_NODE], 0),
        (Settings(), [CPU_NODE, GPU_NODE], 0.25),
        (Settings(device="cpu"), [CPU_NODE, GPU_NODE], 0),  # what needs no GPU holds none
        (Settings(device="cuda"), [CPU_NODE], 0.25),  # and what needs one waits for one
        (Settings(gpus_per_trial=0.5), [], 0.5),
    ],
)
def test_a_gpu_is_asked_for_where_it_is_of_use(settings, nodes, gpus):
    assert share_of(settings, nodes)["GPU"] == gpus


def test_a_worker_that_fits_the_sum_of_the_nodes_but_none_of_them_is_told_so():
    share = share_of(Settings(cpus_per_trial=9, memory_per_trial=1.5), [CPU_NODE, CPU_NODE])
    assert [workers_on(node, share) for node in (CPU_NODE, CPU_NODE, GPU_NODE)] == [0, 0, 0]
    assert refusal(share, [CPU_NODE, CPU_NODE, GPU_NODE]) == (
        "a worker must fit on one node: it asks for 9 CPU + 1.5 GiB, the nodes are"
        " 2 of 8 CPU + 0 GPU + 16 GiB; 1 of 4 CPU + 2 GPU + 32 GiB"
    )
    assert refusal(share, []).endswith("the nodes are none")


def test_much_memory_is_told_in_full():
    share = share_of(Settings(memory_per_trial=1000), [CPU_NODE])
    assert "asks for 1 CPU + 1000 GiB, the nodes" in refusal(share, [CPU_NODE])
