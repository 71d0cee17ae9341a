"""Which workers of a sweep are up, as they say themselves: an actor that all of them reach.

Tune gives the next job to the first worker that is free, and ends the one that it was starting for
that job. Where a job takes less time than a worker's start, one worker would do them all. So a
worker hands in what it did when the others are up that the jobs at hand have use for.

No Ray here, and nothing that takes time to load.
"""

import time


class Registry:
    """The workers that are up, and how many are wanted.

    Args:
        patience: seconds for wanted workers to come up; after that nobody waits for them.
    """

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._up: dict[str, tuple[str, str]] = {}
        self._wanted = 0
        self._most = float("inf")  # how many there can be, once some were waited for in vain
        self._until = 0.0

    def want(self, count: int) -> None:
        """Say that there is work, and room, for `count` workers at once."""
        if min(count, self._most) > self._wanted:
            self._until = time.monotonic() + self._patience
        self._wanted = count

    def up(self, worker: str, node: str, node_id: str) -> None:
        """Say that `worker` is up on `node`."""
        self._up[worker] = (node, node_id)
        self._most = max(self._most, len(self._up))

    def gone(self, worker: str) -> tuple[str, str]:
        """Say that `worker` has ended; where it was, or empty strings if it was never up."""
        self._until = time.monotonic() + self._patience
        return self._up.pop(worker, ("", ""))

    def complete(self) -> bool:
        """Whether nobody has to be waited for."""
        if len(self._up) >= min(self._wanted, self._most):
            return True
        if time.monotonic() < self._until:
            return False
        self._most = len(self._up)  # as where others' work holds the rest of a cluster
        return True


class WorkerPool:
    """The workers of a sweep, as its driver sees them; of these here nothing is known.

    Attributes:
        capacity: how many workers the nodes hold now.
        text: the nodes in a line, as `3 nodes, 12 workers, 3 GPUs`.
    """

    capacity = 1
    text = ""

    def look(self) -> bool:
        """See which nodes there are; whether they are others than before."""
        return False

    def want(self, jobs: int) -> None:
        """Say that `jobs` are at hand for workers."""

    def lost(self, worker: str | None) -> str:
        """Say that `worker`, of that id, was lost; who or what was lost, for a user."""
        del worker
        return "a worker"

    def why_none_starts(self) -> str:
        """Why no worker comes up, as far as it is known, for a user."""
        return "the reason is not known"
