"""What the families share: scaled widths, the three norms, and how weights begin."""

import math

import torch
from torch import nn


def scaled(units: int, width: float) -> int:
    """`units` times `width`, to the nearest whole number, at least 1."""
    return max(1, round(units * width))


def image_norm(norm: str, channels: int) -> nn.Module | None:
    """The norm after a convolution with `channels` outputs; None for `none`.

    `layer` is GroupNorm with a single group: mean and deviation over channels and positions, and a
    scale and shift for each channel. An nn.LayerNorm over the same axes would have them for each
    position too, would fix the image size, and would not let channels be permuted alone.
    """
    if norm == "batch":
        return nn.BatchNorm2d(channels)
    return nn.GroupNorm(1, channels) if norm == "layer" else None


def vector_norm(norm: str, units: int) -> nn.Module | None:
    """The norm after a linear layer with `units` outputs; None for `none`."""
    if norm == "batch":
        return nn.BatchNorm1d(units)
    return nn.LayerNorm(units) if norm == "layer" else None


def initialise(model: nn.Module, generator: torch.Generator) -> None:
    """Give every parameter and buffer of `model` its first value, drawn from `generator` alone.

    Weights are normal with variance 2 / fan-in, which keeps the size of ReLU features; those no
    ReLU follows (the classifier, a shortcut) have variance 1 / fan-in. Biases are zero; norms
    begin as the identity.

    Reference:
        He, Zhang, Ren & Sun, Delving Deep into Rectifiers, ICCV 2015.
        https://arxiv.org/abs/1502.01852
    """
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            linear = "shortcut" in name or name == "head"
            deviation = math.sqrt((1 if linear else 2) / module.weight[0].numel())
            nn.init.normal_(module.weight, std=deviation, generator=generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d | nn.GroupNorm | nn.LayerNorm):
            module.reset_parameters()
