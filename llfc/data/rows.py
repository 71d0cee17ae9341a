"""Rows of numbers with numbers to be predicted: a regression on a table."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from llfc.data.splits import Splits


@dataclass(frozen=True, kw_only=True, eq=False)
class Rows(Splits):
    """Rows of a table with the targets of a regression, whole, on one device.

    `num_classes` is the number of targets of a row, which is that of a network's outputs.

    Attributes:
        train_inputs: float32, [N, F].
        train_targets: float32, [N, num_classes].
        test_inputs: float32, [M, F].
        test_targets: float32, [M, num_classes].
    """

    parts: ClassVar[tuple[str, str]] = ("inputs", "targets")
    kind: ClassVar[str] = "rows"
    task: ClassVar[str] = "regression"

    train_inputs: Tensor
    train_targets: Tensor
    test_inputs: Tensor
    test_targets: Tensor

    def example(self) -> Tensor:
        """Two inputs of a network, on the CPU: of the right shape and type, all zero."""
        return torch.zeros(2, *self.input_shape)

    def spread(self, generator: torch.Generator) -> Tensor:
        """The training inputs in a random order; of a table's rows none is next to another."""
        return torch.randperm(self.count("train"), generator=generator)
