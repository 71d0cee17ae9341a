"""The resources that a worker requests, and how many workers fit on the nodes. No Ray here."""

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from sweeps.grid.settings import GPU_SHARE, WHOLE_GPU, Settings

# What a node has, or a worker asks for, by Ray's names: CPU and GPU in pieces, memory in bytes.
Resources = Mapping[str, float]

KINDS = ("CPU", "GPU", "memory")
GIB = 2**30


def cores() -> int:
    """The cores that this process may use; not every system says."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def share_of(settings: Settings, nodes: Iterable[Resources]) -> dict[str, float]:
    """What Ray reserves for a worker; by default a share of a GPU if a node has one."""
    gpus = settings.gpus_per_trial
    if gpus is None:
        wanted = settings.device == "cuda" or any(node.get("GPU", 0) for node in nodes)
        gpus = GPU_SHARE if wanted and settings.device != "cpu" else 0.0
    memory = settings.memory_per_trial or 0.0
    return {"CPU": settings.cpus_per_trial, "GPU": gpus, "memory": int(memory * GIB)}


def networks_at_once(settings: Settings, share: Resources) -> int:
    """How many networks a worker of `share` trains at once."""
    return settings.networks_per_worker or (WHOLE_GPU if share["GPU"] >= 1 else 1)


def workers_on(node: Resources, share: Resources) -> int:
    """How many workers of `share` fit on one node at once."""
    return min(_times(kind, node.get(kind, 0), share[kind]) for kind in KINDS if share[kind])


def _times(kind: str, there: float, size: float) -> int:
    # Ray counts in ten-thousandths, so that three thirds are one. A share of a GPU is of one GPU:
    # two of 0.6 do not fit on one and a bit.
    if kind == "GPU" and size < 1:
        return int(there) * (10_000 // round(size * 10_000))
    return round(there * 10_000) // round(size * 10_000)


def refusal(share: Resources, nodes: Sequence[Resources]) -> str:
    """The line that says why no worker of `share` can run on any of `nodes`."""
    has = Counter(_described(node, KINDS) for node in nodes)
    listed = "; ".join(f"{count} of {node}" for node, count in has.items())
    asked = _described(share, [kind for kind in KINDS if share[kind]])
    return f"a worker must fit on one node: it asks for {asked}, the nodes are {listed or 'none'}"


def node_counts(nodes: Sequence[Resources], workers: int) -> str:
    """How many there are of what.

    >>> node_counts([{"CPU": 4, "GPU": 1}, {"CPU": 4}], 8)
    '2 nodes, 8 workers, 1 GPU'
    """
    gpus = sum(node.get("GPU", 0) for node in nodes)
    counts = {"node": len(nodes), "worker": workers, "GPU": gpus}
    return ", ".join(f"{count:g} {kind}{'s' * (count != 1)}" for kind, count in counts.items())


def lacking(share: Resources, free: Resources) -> str:
    """What of `share` is not free in all nodes together; empty if there is enough.

    >>> lacking({"CPU": 2, "GPU": 0, "memory": 0}, {"CPU": 1.0})
    'it asks for 2 CPU, 1 CPU is free'
    """
    short = [kind for kind in KINDS if free.get(kind, 0) < share[kind]]
    if not short:
        return ""
    return f"it asks for {_described(share, short)}, {_described(free, short)} is free"


def _described(resources: Resources, kinds: Iterable[str]) -> str:
    amounts = {kind: resources.get(kind, 0) for kind in kinds}
    return " + ".join(
        f"{round(amount / GIB, 1):g} GiB" if kind == "memory" else f"{amount:g} {kind}"
        for kind, amount in amounts.items()
    )
