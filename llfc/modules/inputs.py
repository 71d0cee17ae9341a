"""What a model takes: one tensor, or several."""

import torch
from torch import Tensor

Inputs = Tensor | tuple[Tensor, ...]


def on_device(batch: Inputs, device: torch.device) -> tuple[Tensor, ...]:
    """The tensors of `batch` as positional arguments, on `device`."""
    given = (batch,) if isinstance(batch, Tensor) else tuple(batch)
    return tuple(tensor.to(device) for tensor in given)
