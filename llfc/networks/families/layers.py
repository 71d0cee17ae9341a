"""What the families share: width scaling, norms and initialisation."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# The norms of networks of convolutions and of perceptrons.
IMAGE_NORMS = ("batch", "group", "layer", "none")


def scaled(units: int, width: float) -> int:
    """`units` times `width`, to the nearest whole number, at least 1."""
    return max(1, round(units * width))


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of each position: images [N, C, H, W], statistics [N, H, W].

    A scale and a shift for each channel. As torchvision's LayerNorm2d; and as flax's LayerNorm on
    images with the channels last, whose eps is 1e-6 by default, where here it is 1e-5.
    """

    def forward(self, images: Tensor) -> Tensor:
        """`images` with mean 0 and variance 1 over the channels, then scaled and shifted."""
        last = images.permute(0, 2, 3, 1)
        normed = F.layer_norm(last, self.normalized_shape, self.weight, self.bias, self.eps)
        return normed.permute(0, 3, 1, 2)


def image_norm(norm: str, channels: int) -> nn.Module | None:
    """The norm after a convolution with `channels` outputs; None for `none`.

    `layer` normalises the channels of each position, as Git Re-Basin's ResNets do. `group` is
    GroupNorm with a single group, over channels and positions together, with a scale and a shift
    for each channel; an nn.LayerNorm over the same axes would have them for each position too,
    would fix the image size, and would not let channels be permuted alone.

    Raises:
        ValueError: if `layer` has a single channel, which it would make constant.

    Reference:
        Ba, Kiros & Hinton, Layer Normalization, 2016. https://arxiv.org/abs/1607.06450
        Wu & He, Group Normalization, ECCV 2018. https://arxiv.org/abs/1803.08494
        Ainsworth, Hayase & Srinivasa, Git Re-Basin, ICLR 2023. https://arxiv.org/abs/2209.04836
    """
    if norm == "batch":
        return nn.BatchNorm2d(channels)
    if norm == "layer":
        _check_several(norm, channels)
        return ChannelNorm(channels)
    return nn.GroupNorm(1, channels) if norm == "group" else None


def vector_norm(norm: str, units: int) -> nn.Module | None:
    """The norm after a linear layer with `units` outputs; None for `none`.

    Where there are no positions, `layer` and `group` are one function.

    Raises:
        ValueError: if either has a single unit, which it would make constant.
    """
    if norm == "batch":
        return nn.BatchNorm1d(units)
    if norm == "none":
        return None
    _check_several(norm, units)
    return nn.LayerNorm(units) if norm == "layer" else nn.GroupNorm(1, units)


def _check_several(norm: str, units: int) -> None:
    if units < 2:
        raise ValueError(f"norm {norm!r} needs at least 2 units in a layer, got 1: increase width")


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
