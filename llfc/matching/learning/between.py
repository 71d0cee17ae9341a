"""How far a network on the line between two others is from what the two give together."""

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Generator, Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from llfc.modules import device_of, eval_copy, use_batch_statistics
from llfc.modules.inputs import Inputs, count_of, joined, on_device, positional, taken
from llfc.modules.reals import as_reals
from llfc.tasks import Task

SAMPLES = 16  # in a part of the data, which is what one step sees
NUMBERS = 2**25  # of targets that are kept: 128 MB in float32
TINY = 1e-30  # so that outputs of zero have a length


def parts_of(batches: Iterable[Inputs], most: int, generator: Generator) -> list[Inputs]:
    """The samples of batches in random order, in parts of `SAMPLES`.

    Args:
        batches: inputs as the models take them; no more of them are read than needed.
        most: how many parts to make.
        generator: of the order; samples of batches whose shapes differ are not put together.
    """
    given: list[Inputs] = []
    for batch in batches:
        given.append(batch)
        if sum(map(count_of, given)) >= most * SAMPLES:
            break
    try:
        given = [joined(given)] if given else []
    except ValueError:  # as sequences of several lengths
        pass
    parts = [
        taken(batch, rows)
        for batch in given
        for rows in torch.randperm(count_of(batch), generator=generator).split(SAMPLES)  # type: ignore[no-untyped-call]
    ]
    return [parts[i] for i in torch.randperm(len(parts), generator=generator)][:most]


class Between:
    r"""The two ends, and the loss of what lies between them, for which no targets are needed.

    Of classes it is the divergence of the class probabilities from the mean of the two ends',
    E KL(\bar p || p), in nats; of other outputs the squared distance from the mean of the ends'
    outputs, relative to the latter's square. Norms with running statistics use those of the batch,
    as those of a blend are not known; at the ends as well, so that like is compared with like.

    Args:
        a: an end; a copy of it is run, in eval mode.
        b: the other.
        task: what of their output counts.
        parts: of the data.
    """

    def __init__(self, a: nn.Module, b: nn.Module, task: Task, parts: Sequence[Inputs]) -> None:
        self.task = task
        self.model, *self.ends = (eval_copy(model) for model in (a, a, b))
        for each in (self.model, *self.ends):
            use_batch_statistics(each)
        self.parts = [on_device(part, device_of(a)) for part in parts]
        self._targets: dict[int, Tensor] = {}

    def loss(self, weights: Mapping[str, Tensor], number: int) -> Tensor:
        """The mean loss over the samples of one part, a scalar.

        Args:
            weights: of the network between, every parameter by name.
            number: of the part.
        """
        buffers = {name: buffer.clone() for name, buffer in self.model.named_buffers()}
        inputs = positional(self.model, self.parts[number])
        output = self._counted(functional_call(self.model, {**weights, **buffers}, inputs))
        target = self._target(number)
        if not self.task.classes:
            return (output - target).square().mean() / target.square().mean().clamp(min=TINY)
        logs = output.log_softmax(-1).flatten(0, -2)
        return F.kl_div(logs, target.flatten(0, -2), reduction="batchmean")

    @torch.no_grad()
    def mean_loss(self, weights: Mapping[str, Tensor], numbers: Iterable[int]) -> float:
        """The mean loss over the samples of several parts."""
        each = [(count_of(self.parts[i]), float(self.loss(weights, i))) for i in numbers]
        return sum(count * loss for count, loss in each) / sum(count for count, _ in each)

    def _counted(self, returned: object) -> Tensor:
        found: Tensor = self.task.found_in(returned)
        return found if self.task.classes else as_reals(found)

    @torch.no_grad()
    def _target(self, number: int) -> Tensor:
        """What a network between should give: of classes the mean probabilities."""
        if number in self._targets:
            return self._targets[number]
        inputs = self.parts[number]
        outputs = [self._counted(end(*positional(end, inputs))) for end in self.ends]
        if self.task.classes:
            outputs = [output.softmax(-1) for output in outputs]
        target = torch.stack(outputs).mean(0)
        if (len(self._targets) + 1) * target.numel() <= NUMBERS:
            self._targets[number] = target
        return target
