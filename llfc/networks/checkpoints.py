"""States of a training that is still running, so that one that is killed goes on from the last.

One state per network in training, written over the one before and removed when the network is
done: at any time at most as many lie in the store as networks were begun and not ended, and each
once more while it is written. That copy is left by who is killed then, until the network is done.
"""

import hashlib
import json
import time
import warnings
from collections.abc import Mapping

import torch
from torch import Tensor

from llfc.codec import to_plain
from llfc.networks.store import Store, StoreWarning
from llfc.networks.training import TrainState
from llfc.specs import Network, fingerprint

RUNNING = "running"
SECONDS = 120.0  # between two states
SHARE = 0.01  # of the time at most, for writing them


class Checkpoints:
    """Keeps the state of one training every so often; an `Observer`.

    Args:
        store: where states are kept.
        training: which training it is, whatever code does it.
        code: which code trains; nothing goes on from a state that other code left.
        seconds: between two states, more if they take long to write; infinity for none.
    """

    def __init__(
        self, store: Store, training: str, code: str = "", seconds: float = SECONDS
    ) -> None:
        self._store, self._training, self._name = store, training, f"{training}-{code}"
        self._seconds = seconds
        self._due = time.monotonic() + seconds

    def after_step(self, epoch: int, step: int, loss: Tensor) -> bool:
        """Whether it is time for a state."""
        return time.monotonic() >= self._due

    def keep(self, state: TrainState) -> None:
        """Store `state`; if that cannot be done, say so in a warning: training goes on."""
        begun = time.monotonic()
        try:
            here = {"epoch": torch.tensor(state.epoch), "step": torch.tensor(state.step)}
            tensors = {**named(state), **here, "loss": state.loss}
            self._store.put_tensors(RUNNING, self._name, tensors, {})
        except ValueError as error:
            warnings.warn(f"no state is kept of a network in training: {error}", StoreWarning, 2)
        end = time.monotonic()
        self._due = end + max(self._seconds, (end - begun) / SHARE)

    def latest(self, start: TrainState, until: tuple[int, int]) -> TrainState:
        """The state that is kept, if it lies on the way from `start` to an epoch and a step.

        One that other code left is removed, and that is said in a warning.
        """
        for other in self._kept():
            if other != self._name:
                self._store.remove(RUNNING, other)
                warnings.warn(
                    f"other code has left state {other} of a network in training: it is removed,"
                    " and its steps are taken again",
                    StoreWarning,
                    2,
                )
        if self._name not in self._kept():
            return start
        tensors = self._store.get_tensors(RUNNING, self._name)
        if tensors is None:
            return start
        epoch, step = int(tensors["epoch"]), int(tensors["step"])
        kept = TrainState(epoch, *parts(tensors), step, tensors["loss"])
        begin = (start.epoch, start.step)
        return kept if begin < (kept.epoch, kept.step) <= until else start

    def remove(self) -> None:
        """Remove what was kept of this training, by whatever code."""
        for name in {self._name, *self._kept()}:
            self._store.remove(RUNNING, name)
            self._store.remove_unfinished(RUNNING, name)

    def _kept(self) -> list[str]:
        """The names of the states of this training."""
        return [n for n in self._store.names(RUNNING) if n.startswith(f"{self._training}-")]


def checkpoints_of(
    root: Network, branch: str, store: Store, *, code: str = "", seconds: float = SECONDS
) -> Checkpoints:
    """The states of one branch of `root` while it is trained by `code`.

    The digest of a plug-in and the version of the training count as code.
    """
    record = to_plain(root)
    record["architecture"] = root.architecture.rpartition("@")[0] or root.architecture
    text = json.dumps(record, sort_keys=True)
    training = hashlib.blake2b(text.encode(), digest_size=6).hexdigest()
    name = f"{training}.{branch.replace('/', '.')}"
    return Checkpoints(store, name, f"{fingerprint(root)}-{code}", seconds)


def named(state: TrainState) -> dict[str, Tensor]:
    """The weights and the optimiser's tensors of `state`, by the names they are stored under."""
    return {
        **{f"weights/{name}": tensor for name, tensor in state.weights.items()},
        **{f"optimizer/{name}": tensor for name, tensor in state.optimizer.items()},
    }


def parts(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """What `named` gave: the weights and the optimiser's tensors."""
    weights, optimizer = (
        {
            name.removeprefix(prefix): tensor
            for name, tensor in tensors.items()
            if name.startswith(prefix)
        }
        for prefix in ("weights/", "optimizer/")
    )
    return weights, optimizer
