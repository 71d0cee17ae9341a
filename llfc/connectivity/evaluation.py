"""One network on labelled images: its logits, its loss, its error."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from llfc.connectivity.samples import Batches


@dataclass
class Score:
    """Running loss and error of one network, in float64 whatever the network's type."""

    count: int = 0
    loss_sum: Tensor = field(default_factory=lambda: torch.zeros((), dtype=torch.float64))
    wrong: Tensor = field(default_factory=lambda: torch.zeros((), dtype=torch.int64))

    def add(self, logits: Tensor, labels: Tensor) -> None:
        """Add a batch: logits [N, C] and classes [N]."""
        self.count += len(labels)
        self.loss_sum = self.loss_sum.to(logits.device) + cross_entropy_sum(logits, labels)
        self.wrong = self.wrong.to(logits.device) + errors(logits, labels)

    @property
    def loss(self) -> float:
        """Mean cross-entropy in nats."""
        return float(self.loss_sum) / self.count

    @property
    def error(self) -> float:
        """Share of images whose largest logit is not their label's."""
        return float(self.wrong) / self.count


@torch.no_grad()
def evaluate(model: nn.Module, batches: Batches) -> Score:
    """Loss and error of `model` over `batches`.

    Raises:
        ValueError: if there are no images, or the network gives no logits.
    """
    score = Score()
    for images, labels in batches:
        score.add(logits_of(model, images), labels)
    return score


def cross_entropy_sum(logits: Tensor, labels: Tensor) -> Tensor:
    """The sum over images of the cross-entropy in nats, in float64."""
    return F.cross_entropy(logits.double(), labels.long(), reduction="sum")


def errors(logits: Tensor, labels: Tensor) -> Tensor:
    """The number of images whose largest logit is not their label's."""
    return (logits.argmax(1) != labels).sum()


def logits_of(model: nn.Module, images: Tensor) -> Tensor:
    """The output of `model`, which must be logits of shape [images, classes].

    Raises:
        ValueError: if it is not.
    """
    logits = model(images)
    if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != len(images):
        raise ValueError(
            f"model must return logits of shape [images, classes], got {_described(logits)}"
        )
    if logits.is_complex():
        raise ValueError(
            f"model must return real logits, got {logits.dtype}: return their absolute values, for"
            " example"
        )
    return logits


def _described(output: Any) -> str:
    """What a network gave in place of logits, and what to do about it."""
    if isinstance(output, Tensor):
        return f"{tuple(output.shape)}"
    kind = type(output).__name__
    if isinstance(output, Mapping):
        kind += f" of {', '.join(map(str, output))}"
    elif isinstance(output, tuple | list):
        kind += f" of {len(output)}"
    return f"{kind}: wrap it in a module whose forward returns the logits alone"


def check_labels(labels: Tensor, classes: int, split: str) -> None:
    """Refuse what are no classes.

    Raises:
        ValueError: if `labels` are not whole numbers in [0, classes) of shape [images].
    """
    if labels.is_floating_point() or labels.ndim != 1:
        raise ValueError(
            f"{split} labels must be whole numbers of shape [images],"
            f" got {labels.dtype} of shape {tuple(labels.shape)}"
        )
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= classes:
        raise ValueError(
            f"{split} labels must be in [0, {classes}), got {low if low < 0 else high}"
        )
