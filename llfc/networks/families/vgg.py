"""VGG for small images: 3x3 convolutions and pooling, then one linear layer."""

from collections import OrderedDict
from collections.abc import Mapping

from torch import nn

from llfc.networks.families.layers import image_norm, scaled

CHANNELS = (64, 128, 256, 512, 512)
# Convolutions in each of the five blocks, by depth.
BLOCKS: Mapping[int, tuple[int, ...]] = {
    11: (1, 1, 2, 2, 2),
    13: (2, 2, 2, 2, 2),
    16: (2, 2, 3, 3, 3),
    19: (2, 2, 4, 4, 4),
}


def vgg(
    depth: int, *, width: float, norm: str, input_shape: tuple[int, ...], num_classes: int
) -> nn.Module:
    """The VGG of `depth` weighted layers; layer i is `conv{i}`, `norm{i}`, `relu{i}`.

    A global average and one linear layer stand in for the three of the original, as is usual for
    CIFAR. Pooling rounds up, so that 28 pixels last for five blocks just as 32 do.

    Reference:
        Simonyan & Zisserman, Very Deep Convolutional Networks, ICLR 2015.
        https://arxiv.org/abs/1409.1556
    """
    channels = input_shape[0]
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    index = 0
    for block, (repeats, outputs) in enumerate(zip(BLOCKS[depth], CHANNELS, strict=True), start=1):
        for _ in range(repeats):
            index += 1
            before, channels = channels, scaled(outputs, width)
            after = image_norm(norm, channels)
            # A norm's shift does the work of a bias, and a batch norm undoes any bias before it.
            layers[f"conv{index}"] = nn.Conv2d(before, channels, 3, padding=1, bias=after is None)
            if after is not None:
                layers[f"norm{index}"] = after
            layers[f"relu{index}"] = nn.ReLU()
        layers[f"pool{block}"] = nn.MaxPool2d(2, ceil_mode=True)
    layers["average"] = nn.AdaptiveAvgPool2d(1)
    layers["flatten"] = nn.Flatten()
    layers["head"] = nn.Linear(channels, num_classes)
    return nn.Sequential(layers)
