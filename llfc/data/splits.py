"""What data sets of images and of sequences share: a training and a test split, on one device."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from llfc.names import lookup
from llfc.results import SPLITS


@dataclass(frozen=True, kw_only=True, eq=False)
class Splits:
    """Inputs and targets in the fields `{split}_{part}`, for both splits and both `parts`.

    Attributes:
        parts: what inputs and targets are called in the names of the fields.
    """

    parts: ClassVar[tuple[str, str]]

    def split(self, split: str) -> tuple[Tensor, Tensor]:
        """The inputs and the targets of `split`: `train` or `test`."""
        lookup("split", split, dict.fromkeys(SPLITS))
        inputs, targets = (getattr(self, f"{split}_{part}") for part in self.parts)
        return inputs, targets

    def count(self, split: str) -> int:
        """The number of inputs in `split`."""
        return len(self.split(split)[0])

    @property
    def device(self) -> torch.device:
        """Where all tensors are."""
        return self.split("train")[0].device

    def to(self, device: torch.device | str) -> Self:
        """This data set on `device`."""
        moved: dict[str, Any] = {
            key: value.to(device) for key, value in vars(self).items() if isinstance(value, Tensor)
        }
        return replace(self, **moved)
