"""States of a training that is still running, so that one that is killed goes on from the last.

One state per network in training, written over the one before and removed when the network is
done: at any time at most as many lie in the store as networks are being trained.
"""

import time
import warnings
from collections.abc import Mapping

import torch
from torch import Tensor

from llfc.networks.store import Store, StoreWarning
from llfc.networks.training import TrainState

RUNNING = "running"
SECONDS = 120.0  # between two states
SHARE = 0.01  # of the time at most, for writing them


class Checkpoints:
    """Keeps the state of one training every so often; an `Observer`.

    Args:
        store: where states are kept.
        name: which training it is.
        code: a digest of the code that trains; nothing goes on from a state that other code left.
        seconds: between two states, more if they take long to write; infinity for none.
    """

    def __init__(self, store: Store, name: str, code: str = "", seconds: float = SECONDS) -> None:
        self._store, self._training, self._name = store, name, f"{name}-{code}"
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
        """The state that is kept, if it lies on the way from `start` to an epoch and a step."""
        if self._name not in self._store.names(RUNNING):
            return start
        tensors = self._store.get_tensors(RUNNING, self._name)
        if tensors is None:
            return start
        epoch, step = int(tensors["epoch"]), int(tensors["step"])
        kept = TrainState(epoch, *parts(tensors), step, tensors["loss"])
        begin = (start.epoch, start.step)
        return kept if begin < (kept.epoch, kept.step) <= until else start

    def remove(self) -> None:
        """Take away what was kept of this training, by whatever code."""
        for name in self._store.names(RUNNING):
            if name.rpartition("-")[0] == self._training:
                self._store.remove(RUNNING, name)


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
