"""A training step: run eagerly on a CPU, captured once as a CUDA graph and replayed on a GPU.

A small network's step is hundreds of kernels that run for microseconds each, and Python cannot
start them as fast as a GPU ends them. Recorded as a CUDA graph, one call starts them all.
"""

import dataclasses
import threading
from typing import TypeVar

import torch
from torch import Tensor, nn

from llfc.specs import Network, Pair, Recipe
from llfc.tasks import CLASSIFICATION, Task

# A first step makes the optimiser's state, and all that libraries set up when they are first used.
BEFORE_RECORDING = 2
# Recording waits for all of the GPU's work to end, which ends another thread's recording.
_ONE_RECORDS = threading.Lock()


class Step:
    """Forward, backward and update on one batch.

    Args:
        model: in training mode, on the device.
        optimizer: over its parameters; see `rate_on`.
        batch_size: of a whole batch; only such steps are recorded.
        precision: one of llfc.specs.PRECISIONS.
        clip: largest norm of all gradients together; None for no clipping.
        task: what the loss is.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        batch_size: int,
        precision: str,
        clip: float | None = None,
        task: Task = CLASSIFICATION,
    ) -> None:
        self.model, self.optimizer, self.batch_size = model, optimizer, batch_size
        self.bfloat16 = precision == "bfloat16"
        self.clip, self.task = clip, task
        self.done = 0
        self.graph: torch.cuda.CUDAGraph | None = None

    def __call__(self, images: Tensor, labels: Tensor, rate: float) -> Tensor:
        """The mean loss of the batch before the update, a scalar; the next call may change it.

        Args:
            images: the inputs: float, [n, C, H, W], on the device; or token ids, int64, [n, T].
            labels: the targets, int64, [n]; or [n, T].
            rate: the learning rate of this step.
        """
        for group in self.optimizer.param_groups:
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate
        if not images.is_cuda or len(labels) != self.batch_size:
            return self._take(images, labels)
        self.done += 1
        if self.done <= BEFORE_RECORDING:
            return self._take(images, labels)
        if self.graph is None:
            with _ONE_RECORDS:
                self.graph = self._recorded(images, labels)
        self.images.copy_(images)
        self.labels.copy_(labels)
        self.graph.replay()
        return self.loss

    def _recorded(self, images: Tensor, labels: Tensor) -> torch.cuda.CUDAGraph:
        """The step captured as a CUDA graph; capturing does not run it."""
        self.images, self.labels = images.clone(), labels.clone()
        graph = torch.cuda.CUDAGraph()
        stream = torch.cuda.current_stream(images.device)
        # Other threads may allocate meanwhile, for other networks.
        with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
            self.loss = self._take(self.images, self.labels)
        return graph

    def _take(self, images: Tensor, labels: Tensor) -> Tensor:
        loss = self._loss(images, labels)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        if self.clip is not None:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.clip)
        self.optimizer.step()
        return loss.detach()

    def _loss(self, images: Tensor, labels: Tensor) -> Tensor:
        if not self.bfloat16:  # a context takes a twentieth of the time of a small network's step
            return self.task.training_loss(self.model(images), labels)
        with torch.autocast(images.device.type, torch.bfloat16):
            return self.task.training_loss(self.model(images), labels)


# Where a branch leaves its trunk: what is a whole epoch is counted in epochs, so that one network
# has one name; how many steps an epoch has is known once the data set is.
Spawned = TypeVar("Spawned", Network, Pair)


def steps_per_epoch(recipe: Recipe, inputs: int) -> int:
    """Optimiser steps of an epoch over `inputs` training inputs."""
    return -(-inputs // recipe.batch_size)


def in_epochs(record: Spawned, inputs: int) -> Spawned:
    """`record`, with a spawn step that is a whole epoch's end as that spawn epoch.

    Args:
        record: a network or a pair.
        inputs: training inputs of its data set, limited as it says.

    Raises:
        ValueError: if the spawn step lies after the last step of the training.
    """
    if record.spawn_step is None:
        return record
    epochs, steps = record.recipe.epochs, steps_per_epoch(record.recipe, inputs)
    if record.spawn_step > epochs * steps:
        raise ValueError(
            f"spawn_step must be None or in [0, {epochs * steps}], as {epochs} epochs of {steps}"
            f" steps are trained, got {record.spawn_step}"
        )
    epoch, rest = divmod(record.spawn_step, steps)
    return record if rest else dataclasses.replace(record, spawn_epoch=epoch, spawn_step=None)


def fork_step(record: Network | Pair, inputs: int) -> int | None:
    """Steps of the trunk before the fork, counted from the start; None if there is no fork."""
    if record.spawn_epoch is None:
        return record.spawn_step
    return record.spawn_epoch * steps_per_epoch(record.recipe, inputs)
