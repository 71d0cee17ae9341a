"""What two networks are compared at: what of their output counts, its loss, its error, its samples.

A task takes a batch's output and targets, picks what counts of them, and says the loss and the
error of each sample. Loss and error of a network are means over all samples of all batches, however
these are cut.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from llfc.modules.inputs import Inputs, count_of, run
from llfc.modules.outputs import described, output_at
from llfc.names import lookup
from llfc.plugins import is_own, made

NUMBERS = 2**21  # of outputs in float64 at a time: 16 MB
PerSample = Callable[[Tensor, Tensor], Tensor]
IGNORED = -100  # a target that does not count, as torch.nn.functional.cross_entropy has it


@dataclass(frozen=True)
class Task:
    """What of an output counts, and how good it is.

    One's own is made of two functions of the output and the targets, of a batch each, that give one
    number per sample, shape [samples]; a sample of LLFC is then one sample of the inputs. Where the
    output is no tensor, it is what is called `logits` in it, or what `output` says.

    Of any task: curves, barriers, LLFC, stitching, layer barriers, conditions, similarity, random
    directions, and the loss and the error of the ensemble, which is the mean of the two outputs.
    What needs logits of classes is NaN where there are none: the logit identity and its parts, the
    expected calibration errors, the disagreement and the error of chance.

    Attributes:
        loss: of each sample, shape [samples].
        error: of each sample, shape [samples]; what it is, `meaning` says.
        output: where in what the model gives the output is: a name in a dictionary or a record, or
            the place in a tuple.
        meaning: the error, in a few words.
        classes: whether the output, as it is picked, is logits of shape [samples, classes] and
            targets are classes of shape [samples].
        dims: how many dimensions the output has; None if any number from 1 on will do.
        tokens: whether outputs and targets have a dimension for tokens after that of the inputs.
        shift: whether the output at a token is of the next token's target.
        whole: whether a sample of LLFC is a whole sequence even so, its features those of all
            tokens, be they counted or not; otherwise it is a token that counts.
    """

    loss: PerSample
    error: PerSample
    output: str | int | None = None
    meaning: str = "what the given function says"
    classes: bool = False
    dims: int | None = None
    tokens: bool = False
    shift: bool = False
    whole: bool = False

    def run(self, model: nn.Module, inputs: Inputs) -> Tensor:
        """The output of `model` on a batch, shape [N, ...].

        Raises:
            ValueError: if there is none, or it has not the shape that the task has.
        """
        found = self.found_in(run(model, inputs))
        count = count_of(inputs)
        if not isinstance(found, Tensor):
            raise ValueError(f"model must return {self._shape()}, got {described(found)}")
        wrong = found.ndim != self.dims if self.dims else not found.ndim
        if wrong or (self.dims and len(found) != count):
            raise ValueError(f"model must return {self._shape()}, got {tuple(found.shape)}")
        if self.classes and found.is_complex():
            raise ValueError(
                f"model must return real logits, got {found.dtype}: return their absolute values,"
                " for example"
            )
        return found

    def found_in(self, returned: Any) -> Any:
        """The output in what a model returned; that itself if it is not there."""
        return output_at(self.output, returned)

    def _shape(self) -> str:
        if self.output is not None:
            return f"a tensor at {self.output!r}"
        if self.classes:
            tokens = ", tokens" if self.tokens else ""
            return f"logits of shape [{'inputs' if tokens else 'images'}{tokens}, classes]"
        return "a tensor of shape [inputs, ...]"

    def counted(self, targets: Tensor) -> Tensor | None:
        """Which tokens are samples of LLFC, shape [N, T]; None if a sample is a whole input."""
        return None if self.whole or not self.tokens else self._mask(targets)

    def _mask(self, targets: Tensor) -> Tensor:
        mask = targets != IGNORED
        if self.shift:
            mask = torch.cat([mask[:, 1:], torch.zeros_like(mask[:, :1])], 1)
        return mask

    def picked(self, output: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """What counts: of token tasks, the output [samples, C] and the targets [samples]."""
        if not self.tokens:
            return output, targets
        return output[self._mask(targets)], self.targets(targets)

    def targets(self, targets: Tensor) -> Tensor:
        """The targets that count."""
        if not self.tokens:
            return targets
        return (
            targets.roll(-1, 1)[self._mask(targets)] if self.shift else targets[self._mask(targets)]
        )

    def sums(self, output: Tensor, targets: Tensor) -> tuple[int, Tensor, Tensor]:
        """The number of samples in what was picked, and the sums of their losses and errors.

        In float64.

        Raises:
            ValueError: if loss or error is not one number per sample.
        """
        if self.classes:
            parts = [(output[rows], targets[rows]) for rows in row_parts(output)]
            losses = [F.cross_entropy(x.double(), y.long(), reduction="sum") for x, y in parts]
            errors = [missed(x, y).sum() for x, y in parts]
            return len(targets), torch.stack(losses).sum(), torch.stack(errors).sum()
        loss, error = self.scores(output, targets)
        return len(loss), loss.sum(), error.sum()

    def training_loss(self, output: Tensor, targets: Tensor) -> Tensor:
        """The mean loss of a batch in the precision of the output, to be descended; a scalar.

        Over the samples of the batch; of tokens, over those that count.
        """
        if not self.classes:
            return self.loss(*self.picked(output, targets)).mean()
        if self.shift:
            output, targets = output[:, :-1], targets[:, 1:]
        if self.tokens:
            output, targets = output.flatten(0, 1), targets.flatten()
        return F.cross_entropy(output, targets, ignore_index=IGNORED)

    def scores(self, output: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Loss and error of each sample that was picked, in float64, [samples].

        Raises:
            ValueError: if they are not.
        """
        found = []
        for called, function in (("loss", self.loss), ("error", self.error)):
            values = function(output, targets)
            if not isinstance(values, Tensor) or values.ndim != 1 or not len(values):
                shown = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
                raise ValueError(f"{called} of a task must be a tensor [samples], got {shown}")
            found.append(values.detach().double())
        loss, error = found
        if loss.shape != error.shape:
            raise ValueError(
                f"loss and error of a task must be of the same samples, got {len(loss)} losses and"
                f" {len(error)} errors"
            )
        return loss, error

    def check(self, output: Tensor, targets: Tensor, split: str) -> None:
        """Refuse targets that the output, not yet picked, cannot have.

        Raises:
            ValueError: if so.
        """
        if self.classes:
            _check_classes(self, output, targets, split)
        elif self.loss is squared_error:
            _gaps(output, targets)


def _check_classes(task: Task, output: Tensor, targets: Tensor, split: str) -> None:
    called, shape = ("targets", "[inputs, tokens]") if task.tokens else ("labels", "[images]")
    fits = output.shape[:-1] == targets.shape if task.tokens else targets.ndim == 1
    if targets.is_floating_point() or not fits:
        raise ValueError(
            f"{split} {called} must be whole numbers of shape {shape},"
            f" got {targets.dtype} of shape {tuple(targets.shape)}"
        )
    counted = task.targets(targets)
    if not len(counted):
        return
    classes, low, high = output.shape[-1], int(counted.min()), int(counted.max())
    if low < 0 or high >= classes:
        also = f" or {IGNORED}" if task.tokens else ""
        raise ValueError(
            f"{split} {called} must be in [0, {classes}){also}, got {low if low < 0 else high}"
        )


def row_parts(output: Tensor) -> list[slice]:
    """Consecutive samples of `output` [N, ...] so that none has more than NUMBERS numbers."""
    rows = max(1, NUMBERS * len(output) // max(1, output.numel()))
    return [slice(start, start + rows) for start in range(0, len(output), rows)]


def cross_entropy(logits: Tensor, classes: Tensor) -> Tensor:
    """In nats, of each sample."""
    return F.cross_entropy(logits.double(), classes.long(), reduction="none")


def missed(logits: Tensor, classes: Tensor) -> Tensor:
    """1 for each sample whose largest logit is not its class's, otherwise 0."""
    return (logits.argmax(-1) != classes).double()


def squared_error(output: Tensor, targets: Tensor) -> Tensor:
    """The mean squared error of each sample's numbers."""
    return _gaps(output, targets).square().mean(1)


def absolute_error(output: Tensor, targets: Tensor) -> Tensor:
    """The mean absolute error of each sample's numbers, in the targets' unit."""
    return _gaps(output, targets).abs().mean(1)


def _gaps(output: Tensor, targets: Tensor) -> Tensor:
    """Output less targets, in float64, one row per sample; targets may lack a last dimension of 1.

    Raises:
        ValueError: if their shapes differ by more than that.
    """
    if output.shape == targets.shape or output.shape == (*targets.shape, 1):
        return (output.double().view(targets.shape) - targets.double()).reshape(len(targets), -1)
    raise ValueError(
        f"targets must have the output's shape {tuple(output.shape)}, got {tuple(targets.shape)}"
    )


TOP1 = "share of samples whose largest logit is not their class's"
TOKENS = "share of the tokens that count whose largest logit is another's"
CLASSIFICATION = Task(cross_entropy, missed, meaning=TOP1, classes=True, dims=2)
TOKEN_CLASSIFICATION = replace(CLASSIFICATION, meaning=TOKENS, dims=3, tokens=True)
NEXT_TOKEN = replace(TOKEN_CLASSIFICATION, shift=True)
TASKS: Mapping[str, Task] = {
    "classification": CLASSIFICATION,
    "next-token": NEXT_TOKEN,
    "next-token-sequences": replace(NEXT_TOKEN, whole=True),
    "token-classification": TOKEN_CLASSIFICATION,
    "token-classification-sequences": replace(TOKEN_CLASSIFICATION, whole=True),
    "regression": Task(squared_error, absolute_error, meaning="mean absolute error"),
}


def as_task(task: str | Task) -> Task:
    """The task of that name, in TASKS or what a plug-in's function returns, or the given one."""
    if isinstance(task, Task):
        return task
    return made("task", task, Task) if is_own("task", task, TASKS) else TASKS[task]


def measured_as(trained: str, wanted: str | None) -> Task:
    """The task that a network is measured at, which was trained for another or the same.

    Args:
        trained: the name of the task that it was trained for.
        wanted: the name of that to be measured; the same if None.

    Raises:
        ValueError: if they differ in more than in what a sample of LLFC is, and it is no plug-in's.
    """
    if wanted is not None and is_own("task", wanted, TASKS):
        return as_task(wanted)
    task = TASKS[trained]
    alike = {name: x for name, x in TASKS.items() if replace(x, whole=task.whole) == task}
    if wanted in TASKS.keys() - alike.keys():
        raise ValueError(
            f"task must be one of {', '.join(alike)}, as the networks are trained for {trained},"
            f" got {wanted!r}"
        )
    return lookup("task", wanted or trained, alike)
