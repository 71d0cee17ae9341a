"""The training loop, a function from the state after some steps to the state after more.

What an epoch draws comes from streams named after the epoch, and the learning rate from the number
of the step; so a training stopped after any step goes on from its state as if it had not been.
"""

import math
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from llfc.data.batches import CropFlip, Loader
from llfc.data.datasets import Data
from llfc.devices import fastest_layout, own_stream, tf32_disabled
from llfc.networks.steps import Step, steps_per_epoch
from llfc.seeds import generators_left, stream
from llfc.specs import Recipe
from llfc.tasks import as_task

OnEpoch = Callable[[int, float], None]


@dataclass(frozen=True, eq=False)
class TrainState:
    """The state of a training run after some steps: all that later steps depend on.

    Attributes:
        epoch: whole epochs done.
        weights: the model's state dict.
        optimizer: the optimiser's tensors, named `<what>/<parameter>`; empty before the first step.
        step: steps done of the epoch after those.
        loss: sum of their losses, each times its batch's inputs, a scalar; of no matter at step 0.
    """

    epoch: int
    weights: Mapping[str, Tensor]
    optimizer: Mapping[str, Tensor]
    step: int = 0
    loss: Tensor = field(default_factory=lambda: torch.zeros(()))


class Observer(Protocol):
    """Sees a training while it runs."""

    def after_step(self, epoch: int, step: int, loss: Tensor) -> bool:
        """Called after every step; whether `keep` is to be called with the state after it.

        Args:
            epoch: whole epochs done before the one that the step belongs to.
            step: steps done of that epoch, this one included.
            loss: sum of their losses, each times its batch's inputs, a scalar on the device.
        """
        ...

    def keep(self, state: TrainState) -> None:
        """Called with a state, on the CPU, that the training can go on from."""
        ...


def initial_state(model: nn.Module) -> TrainState:
    """The state of a training of `model` that has not begun."""
    return TrainState(0, _copies(model.state_dict()), {})


def train(
    model: nn.Module,
    dataset: Data,
    recipe: Recipe,
    *,
    start: TrainState,
    until_epoch: int,
    until_step: int = 0,
    seed: int,
    branch: str,
    draws: bool = False,
    name: str = "of the network",
    on_epoch: OnEpoch | None = None,
    observer: Observer | None = None,
) -> TrainState:
    """The state after `until_epoch` epochs, and some steps, of the training that is at `start`.

    Two trainings that start alike and name the same `seed` and `branch` are the same training.

    Args:
        model: any module of the right architecture, on the data set's device; it is trained in
            place and left in the final state.
        dataset: what to train on.
        recipe: how; its `epochs` set the schedule even where `until_epoch` is smaller.
        start: where to begin.
        until_epoch: where to end: after so many epochs.
        until_step: and after so many steps of the next, fewer than an epoch has.
        seed: seed of the streams `order/<branch>/<epoch>` and `augment/<branch>/<epoch>`.
        branch: which of the trainings with this seed it is.
        draws: whether the network itself may draw in training, as dropout does, from the generators
            that all share: these then follow the streams `network/<branch>/<epoch>/<step>`. Not for
            two trainings in threads of one process.
        name: what an error calls the network.
        on_epoch: called after every epoch with its number, counted from 1, and its mean loss.
        observer: called after every step; see there.

    Raises:
        ValueError: if the loss is not finite, or a batch norm would see a batch of one image.
    """
    device, count = dataset.device, dataset.count("train")
    layout = fastest_layout(model)
    model.load_state_dict(start.weights)
    model.train().to(memory_format=layout)  # type: ignore[call-overload]
    check_batches(model, count, recipe.batch_size)
    steps = steps_per_epoch(recipe, count)
    left = generators_left() if draws else nullcontext()
    with own_stream(device), tf32_disabled(), left:
        optimizer = _optimizer(model, recipe, start.optimizer, device)
        take = Step(
            model,
            optimizer,
            recipe.batch_size,
            recipe.precision,
            recipe.clip,
            as_task(dataset.task),
        )

        def state(epoch: int, step: int = 0, loss: Tensor = start.loss) -> TrainState:
            weights, moments = _copies(model.state_dict()), _tensors(model, optimizer)
            return TrainState(epoch, weights, moments, step, loss.cpu().clone())

        for epoch in range(start.epoch, until_epoch + (until_step > 0)):
            done = start.step if epoch == start.epoch else 0
            end = until_step if epoch == until_epoch else steps
            total = (start.loss if done else torch.zeros(())).to(device, copy=True)
            batches, due = _epoch(dataset, recipe, seed, branch, epoch, done), False
            for step, (images, labels) in enumerate(islice(batches, end - done), start=done):
                rate = learning_rate(recipe, (epoch * steps + step) / (steps * recipe.epochs))
                if draws:
                    torch.manual_seed(
                        stream(seed, f"network/{branch}/{epoch}/{step}").initial_seed()
                    )
                loss = take(images.to(memory_format=layout), labels, rate)
                total += loss * len(labels)
                due = observer is not None and observer.after_step(epoch, step + 1, total)
                if observer is not None and due and step + 1 < steps:
                    observer.keep(state(epoch, step + 1, total))
            mean = float(total) / count
            if not math.isfinite(mean):
                raise ValueError(
                    f"training loss must be finite, got {mean} in epoch {epoch + 1} {name}"
                )
            if end < steps:
                return state(epoch, end, total)
            if on_epoch is not None:
                on_epoch(epoch + 1, mean)
            if observer is not None and due:  # not before the epoch's loss was seen to be finite
                observer.keep(state(epoch + 1))
        return state(until_epoch)


def learning_rate(recipe: Recipe, share: float) -> float:
    """The learning rate of the schedule after a fraction `share`, in [0, 1), of all steps."""
    if share < recipe.warmup:
        return recipe.lr * share / recipe.warmup
    if recipe.schedule == "step":
        return recipe.lr * 0.1 ** sum(share >= milestone for milestone in recipe.milestones)
    if recipe.schedule == "cosine":
        after = (share - recipe.warmup) / (1 - recipe.warmup)
        return recipe.lr * (1 + math.cos(math.pi * after)) / 2
    return recipe.lr


def check_batches(model: nn.Module, count: int, batch_size: int) -> None:
    """See that no batch of an epoch over `count` images is too small for `model`.

    Raises:
        ValueError: if a batch norm would see a batch of one image, which has no variance.
    """
    normed = any(isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d) for m in model.modules())
    if normed and (count % batch_size == 1 or batch_size == 1):
        raise ValueError(
            "batch_size must not leave a last batch of one image, which a batch norm cannot train"
            f" on, got {batch_size} for {count} images"
        )


def _epoch(dataset: Data, recipe: Recipe, seed: int, branch: str, epoch: int, done: int) -> Loader:
    """The batches of one epoch, counted from 0, that are left after `done` steps."""
    count = dataset.count("train")
    order = torch.randperm(count, generator=stream(seed, f"order/{branch}/{epoch}"))
    crop_flip = None
    if recipe.augment:
        crop_flip = CropFlip.draw(count, stream(seed, f"augment/{branch}/{epoch}"))
    left = slice(done * recipe.batch_size, None)
    crop_flip = None if crop_flip is None else crop_flip[left]
    return dataset.batches("train", recipe.batch_size, order=order[left], crop_flip=crop_flip)


def _optimizer(
    model: nn.Module, recipe: Recipe, state: Mapping[str, Tensor], device: torch.device
) -> torch.optim.Optimizer:
    """The recipe's optimiser over `model`, in `state`."""
    # Fused: one kernel per step instead of dozens; a third of the time of a small network's step.
    settings: dict[str, Any] = {"lr": recipe.lr, "weight_decay": recipe.weight_decay, "fused": True}
    on_gpu = device.type == "cuda"
    if on_gpu:  # a recorded step reads the rate where it lies, not what it was when recorded
        settings["lr"] = torch.tensor(recipe.lr, device=device)
    optimizer: torch.optim.Optimizer
    if recipe.optimizer == "adam":
        optimizer = torch.optim.Adam(model.parameters(), capturable=on_gpu, **settings)
    elif recipe.optimizer == "adamw":
        optimizer = torch.optim.AdamW(model.parameters(), capturable=on_gpu, **settings)
    else:
        settings |= {"momentum": recipe.momentum, "nesterov": recipe.nesterov}
        optimizer = torch.optim.SGD(model.parameters(), **settings)
    parameters = dict(model.named_parameters())
    for name, tensor in state.items():
        what, _, parameter = name.partition("/")
        home = parameters[parameter]
        if what == "step":
            optimizer.state[home][what] = tensor.to(home.device, copy=True)
        else:
            # The fused kernels pair elements by their place in memory: the layouts must agree.
            optimizer.state[home][what] = torch.empty_like(home.detach()).copy_(tensor)
    return optimizer


def _tensors(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimiser's state as `_optimizer` reads it."""
    return {
        f"{what}/{name}": tensor.detach().to("cpu", copy=True)
        for name, parameter in model.named_parameters()
        for what, tensor in optimizer.state[parameter].items()
        if tensor is not None
    }


def _copies(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().to("cpu", copy=True) for name, tensor in tensors.items()}
