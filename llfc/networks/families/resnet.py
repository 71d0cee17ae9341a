"""Residual networks, for small images and for large.

A shortcut that changes shape is a convolution with a norm (option B of He et al. 2016). Option A
pads with zeros, so the channels of one stage could not be permuted freely.
"""

from collections import OrderedDict

import torch
from torch import Tensor, nn

from llfc.devices import NARROW
from llfc.networks.families.layers import image_norm, scaled

LARGE_IMAGE = 64  # pixels; images at least this large are reduced fourfold before the first stage


class Narrow(nn.Conv2d):
    """A convolution of one pixel with a stride, whose images and weights never lie channels last.

    PyTorch's kernel for those, of fewer than 8 channels, writes beyond its memory in the backward
    pass on CPUs with AVX2 alone.
    """

    def forward(self, images: Tensor) -> Tensor:
        plain = torch.contiguous_format
        weight = self.weight.clone(memory_format=plain)  # one of one pixel may be taken for either
        return nn.functional.conv2d(images.contiguous(), weight, self.bias, self.stride)


class ResidualBlock(nn.Module):
    """`relu(branch(x) + shortcut(x))`; the branch is two 3x3 convolutions, or a bottleneck's three.

    The first 3x3 convolution takes the stride; in a bottleneck that is not the paper's choice but
    the later usual one, torchvision's too.

    Reference:
        He, Zhang, Ren & Sun, Deep Residual Learning for Image Recognition, CVPR 2016.
        https://arxiv.org/abs/1512.03385
    """

    def __init__(
        self, inputs: int, inner: int, outputs: int, *, stride: int, norm: str, bottleneck: bool
    ) -> None:
        super().__init__()
        sizes = (1, 3, 1) if bottleneck else (3, 3)
        channels = (inputs, *(inner,) * (len(sizes) - 1), outputs)
        branch: OrderedDict[str, nn.Module] = OrderedDict()
        for i, size in enumerate(sizes):
            step = stride if i == sizes.index(3) else 1
            branch |= _convolution(channels[i], channels[i + 1], size, step, norm, f"{i + 1}")
            if i + 1 < len(sizes):
                branch[f"relu{i + 1}"] = nn.ReLU()
        self.branch = nn.Sequential(branch)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(_convolution(inputs, outputs, 1, stride, norm))
        self.relu = nn.ReLU()

    def forward(self, images: Tensor) -> Tensor:
        out: Tensor = self.relu(self.branch(images) + self.shortcut(images))
        return out

    def start_as_shortcut(self) -> None:
        """Set the branch's last convolution to zero.

        Without norms the features of a deep network would otherwise grow with every block.

        Reference:
            Zhang, Dauphin & Ma, Fixup Initialization, ICLR 2019. https://arxiv.org/abs/1901.09321
            De & Smith, Batch Normalization Biases Residual Blocks Towards the Identity Function
            in Deep Networks (SkipInit), NeurIPS 2020. https://arxiv.org/abs/2002.10444
        """
        last = [module for module in self.branch if isinstance(module, nn.Conv2d)][-1]
        nn.init.zeros_(last.weight)


def cifar_resnet(
    depth: int, *, width: float, norm: str, input_shape: tuple[int, ...], num_classes: int
) -> nn.Module:
    """The ResNet of `depth` = 6n + 2 layers for images of some 32 pixels: three stages of n blocks.

    Reference:
        He, Zhang, Ren & Sun, Deep Residual Learning for Image Recognition, CVPR 2016, section 4.2.
        https://arxiv.org/abs/1512.03385
    """
    channels = scaled(16, width)
    layers = _convolution(input_shape[0], channels, 3, 1, norm)
    layers["relu"] = nn.ReLU()
    for stage in range(3):
        outputs = scaled(16 * 2**stage, width)
        layers[f"stage{stage + 1}"] = _stage(
            (depth - 2) // 6, channels, outputs, outputs, 1 if stage == 0 else 2, norm
        )
        channels = outputs
    return _with_head(layers, channels, num_classes)


def resnet(
    blocks: tuple[int, ...],
    *,
    bottleneck: bool,
    width: float,
    norm: str,
    input_shape: tuple[int, ...],
    num_classes: int,
) -> nn.Module:
    """The ResNet of four stages of `blocks` blocks; made for ImageNet.

    Below LARGE_IMAGE pixels its stem is one 3x3 convolution that keeps the size, as is usual for
    CIFAR; from there on it is the original's 7x7 convolution and max-pool, which reduce it
    fourfold.

    Reference:
        He, Zhang, Ren & Sun, Deep Residual Learning for Image Recognition, CVPR 2016.
        https://arxiv.org/abs/1512.03385
    """
    channels = scaled(64, width)
    large = min(input_shape[1:]) >= LARGE_IMAGE
    layers = _convolution(input_shape[0], channels, *((7, 2) if large else (3, 1)), norm)
    layers["relu"] = nn.ReLU()
    if large:
        layers["pool"] = nn.MaxPool2d(3, stride=2, padding=1)
    for stage, repeats in enumerate(blocks):
        inner = scaled(64 * 2**stage, width)
        outputs = scaled(256 * 2**stage, width) if bottleneck else inner
        stride = 1 if stage == 0 else 2
        layers[f"stage{stage + 1}"] = _stage(
            repeats, channels, inner, outputs, stride, norm, bottleneck=bottleneck
        )
        channels = outputs
    return _with_head(layers, channels, num_classes)


def _convolution(
    inputs: int, outputs: int, size: int, stride: int, norm: str, number: str = ""
) -> OrderedDict[str, nn.Module]:
    """A convolution that pads so as to keep the size, and its norm, if any; no bias beside one."""
    after = image_norm(norm, outputs)
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    kind = Narrow if size == 1 and stride > 1 and inputs < NARROW else nn.Conv2d
    layers[f"conv{number}"] = kind(
        inputs, outputs, size, stride, padding=size // 2, bias=after is None
    )
    if after is not None:
        layers[f"norm{number}"] = after
    return layers


def _stage(
    repeats: int,
    inputs: int,
    inner: int,
    outputs: int,
    stride: int,
    norm: str,
    *,
    bottleneck: bool = False,
) -> nn.Sequential:
    """`repeats` blocks, the first of which changes the size and the number of channels."""
    first = ResidualBlock(inputs, inner, outputs, stride=stride, norm=norm, bottleneck=bottleneck)
    rest = (
        ResidualBlock(outputs, inner, outputs, stride=1, norm=norm, bottleneck=bottleneck)
        for _ in range(repeats - 1)
    )
    return nn.Sequential(first, *rest)


def _with_head(
    layers: OrderedDict[str, nn.Module], channels: int, num_classes: int
) -> nn.Sequential:
    layers["average"] = nn.AdaptiveAvgPool2d(1)
    layers["flatten"] = nn.Flatten()
    layers["head"] = nn.Linear(channels, num_classes)
    return nn.Sequential(layers)
