"""One network on samples: its output, its loss, its error."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from llfc.connectivity.samples import Batches
from llfc.tasks import CLASSIFICATION, Task


@dataclass
class Score:
    """Running loss and error of one network at a task, in float64 whatever the network's type."""

    task: Task = CLASSIFICATION
    count: int = 0
    loss_sum: Tensor = field(default_factory=lambda: torch.zeros((), dtype=torch.float64))
    error_sum: Tensor = field(default_factory=lambda: torch.zeros((), dtype=torch.float64))

    def add(self, output: Tensor, targets: Tensor) -> None:
        """Add a batch: the output [N, ...] and the targets [N, ...]."""
        picked, wanted = self.task.picked(output, targets)
        if not len(wanted):
            return
        count, loss, error = self.task.sums(picked, wanted)
        self.count += count
        self.loss_sum = self.loss_sum.to(output.device) + loss
        self.error_sum = self.error_sum.to(output.device) + error

    @property
    def loss(self) -> float:
        """Mean over samples; of classes the cross-entropy in nats."""
        return float(self.loss_sum) / self.count

    @property
    def error(self) -> float:
        """Mean over samples; of classes the share whose largest logit is not their class's."""
        return float(self.error_sum) / self.count


def evaluate(model: nn.Module, batches: Batches) -> Score:
    """Loss and error of `model` over `batches`, at their task.

    Raises:
        ValueError: if there are no samples, or the network gives no output.
    """
    return evaluate_ensemble([model], batches)


@torch.no_grad()
def evaluate_ensemble(models: Sequence[nn.Module], batches: Batches) -> Score:
    """As `evaluate`, of the mean of the outputs of `models`."""
    score = Score(batches.task)
    for inputs, targets in batches:
        outputs = [batches.task.run(model, inputs) for model in models]
        score.add(torch.stack(outputs).mean(0) if outputs[1:] else outputs[0], targets)
    if not score.count:
        raise ValueError(f"{batches.split} has no tokens that count")
    return score
