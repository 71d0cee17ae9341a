"""Vision transformer for small images: patches as tokens, their mean to the classes."""

import torch
from torch import Tensor, nn

from llfc.networks.families.transformer import (
    HEADS,
    Block,
    Stream,
    sized,
    stream_norm,
)

# Pixels along a patch's side; what is left over at the right and bottom is not seen.
PATCH = 4


class Vit(Stream):
    """A pre-norm ViT with learned positions on images [N, C, H, W]; logits [N, classes].

    Args:
        channels: of the stream.
        heads: number of heads in each layer, among which the channels are divided.
        depth: number of blocks, `block1` to `block{depth}`.
        norm: `layer` or `rms`.
        input_shape: channels, height and width of an image.
        classes: number of classes.
    """

    def __init__(
        self,
        channels: int,
        heads: int,
        depth: int,
        norm: str,
        input_shape: tuple[int, ...],
        classes: int,
    ) -> None:
        super().__init__()
        inputs, height, across = input_shape
        side = min(PATCH, height, across)
        patches = (height // side) * (across // side)
        self.patches = nn.Conv2d(inputs, channels, side, stride=side)
        self.positions = nn.Parameter(torch.empty(patches, channels))
        self.add_blocks([Block(channels, heads, norm, causal=False) for _ in range(depth)])
        self.norm = stream_norm(norm, channels)
        self.head = nn.Linear(channels, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits [N, classes] of `images` [N, C, H, W]."""
        stream = self.patches(images).flatten(2).transpose(1, 2) + self.positions
        logits: Tensor = self.head(self.norm(self.through_blocks(stream)).mean(1))
        return logits


def vit(
    *,
    width: float,
    norm: str,
    input_shape: tuple[int, ...],
    num_classes: int,
    depth: int = 4,
    heads: int = HEADS,
) -> nn.Module:
    """A ViT of `depth` blocks on patches of 4 pixels, `heads` heads and 64 channels at width 1.

    The tokens' mean stands in for a class token.

    Reference:
        Dosovitskiy et al., An Image is Worth 16x16 Words, ICLR 2021.
        https://arxiv.org/abs/2010.11929
    """
    return Vit(*sized(width, heads), depth, norm, input_shape, num_classes)
