"""Torchvision's families of networks with one block of each kind and few channels.

What is derived of a network depends on its operators and how they are wired, not on how often: the
families are built by the classes of torchvision, so that their code is what is exported.
"""

from functools import partial

import torch
from torchvision import models
from torchvision.models.convnext import CNBlockConfig
from torchvision.models.efficientnet import FusedMBConvConfig, MBConvConfig
from torchvision.models.mobilenetv3 import InvertedResidualConfig
from torchvision.models.regnet import BlockParams
from torchvision.models.resnet import Bottleneck
from torchvision.models.swin_transformer import PatchMergingV2, SwinTransformerBlockV2

CLASSES = 10


def regnet(**given):
    """Four blocks, of two widths."""
    widths = {"depth": 4, "w_0": 8, "w_a": 8.0, "w_m": 2.0, "group_width": 4}
    return models.RegNet(
        BlockParams.from_init_params(**widths, **given), num_classes=CLASSES, stem_width=8
    )


def efficientnet(*blocks):
    """Each block follows the one before."""
    return models.EfficientNet(list(blocks), dropout=0.2, num_classes=CLASSES, last_channel=16)


def swin(**given):
    """A block with shifted windows and one without, and a smaller stage."""
    return models.SwinTransformer(
        patch_size=[2, 2],
        embed_dim=8,
        depths=[2, 1],
        num_heads=[2, 2],
        window_size=[2, 2],
        num_classes=CLASSES,
        **given,
    )


def mobilenet_v3():
    """A block with squeeze-and-excitation and one without, of either activation."""
    scaled = {"dilation": 1, "width_mult": 1.0}
    blocks = [
        InvertedResidualConfig(8, 3, 16, 8, True, "RE", stride=1, **scaled),
        InvertedResidualConfig(8, 5, 16, 16, False, "HS", stride=2, **scaled),
    ]
    return models.MobileNetV3(blocks, last_channel=16, num_classes=CLASSES)


# name -> how it is built, and the side of its images.
FAMILIES = {
    "convnext": (
        lambda: models.ConvNeXt(
            [CNBlockConfig(8, 16, 1), CNBlockConfig(16, None, 1)], num_classes=CLASSES
        ),
        32,
    ),
    "densenet": (lambda: models.DenseNet(4, (2, 2, 1, 1), 8, num_classes=CLASSES), 32),
    "efficientnet": (
        lambda: efficientnet(
            MBConvConfig(1, 3, 1, 32, 8, 1, 1.0, 1.0), MBConvConfig(4, 5, 1, 8, 8, 1, 1.0, 1.0)
        ),
        32,
    ),
    "efficientnet_v2": (
        lambda: efficientnet(
            FusedMBConvConfig(1, 3, 1, 8, 8, 1), FusedMBConvConfig(4, 3, 2, 8, 16, 1)
        ),
        32,
    ),
    "maxvit": (
        lambda: models.MaxVit(
            input_size=(16, 16),
            stem_channels=8,
            partition_size=2,
            block_channels=[8],
            block_layers=[1],
            head_dim=4,
            stochastic_depth_prob=0.2,
            num_classes=CLASSES,
        ),
        16,
    ),
    "mobilenet_v2": (
        lambda: models.MobileNetV2(
            CLASSES, width_mult=0.25, inverted_residual_setting=[[1, 16, 1, 1], [6, 32, 2, 2]]
        ),
        32,
    ),
    "mobilenet_v3": (mobilenet_v3, 32),
    "regnet_x": (regnet, 32),
    "regnet_y": (partial(regnet, se_ratio=0.25), 32),
    "resnet": (lambda: models.ResNet(Bottleneck, [1, 1, 1, 1], CLASSES), 32),
    "resnext": (
        lambda: models.ResNet(Bottleneck, [1, 1, 1, 1], CLASSES, groups=32, width_per_group=4),
        32,
    ),
    "shufflenet_v2": (lambda: models.ShuffleNetV2([2, 1, 1], [8, 16, 32, 64, 32], CLASSES), 32),
    "squeezenet": (lambda: models.SqueezeNet("1_1", CLASSES), 32),
    "swin": (swin, 16),
    "swin_v2": (
        partial(swin, block=SwinTransformerBlockV2, downsample_layer=PatchMergingV2),
        16,
    ),
    "vit": (
        lambda: models.VisionTransformer(16, 4, 2, 2, 8, 16, num_classes=CLASSES),
        16,
    ),
}


def family(name):
    """A network of a family, and images that it takes."""
    build, side = FAMILIES[name]
    images = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(0))
    return build(), images
