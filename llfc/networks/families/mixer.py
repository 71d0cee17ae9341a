"""MLP-Mixer for small images: MLPs across patches and across channels, in turn."""

from torch import Tensor, nn

from llfc.networks.families.layers import scaled
from llfc.networks.families.transformer import Mlp, Stream, stream_norm
from llfc.networks.families.vit import PATCH

CHANNELS = 64
# Hidden units of the MLP across patches, at width 1.
TOKEN_UNITS = 64


class TokenMlp(nn.Module):
    """Two layers across the patches of each channel, with GELU between."""

    def __init__(self, patches: int, units: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(patches, units)
        self.gelu = nn.GELU()
        self.out = nn.Linear(units, patches)

    def forward(self, tokens: Tensor) -> Tensor:
        """What is added to the stream, [N, patches, channels]."""
        return self.out(self.gelu(self.hidden(tokens.transpose(1, 2)))).transpose(1, 2)  # type: ignore[no-any-return]


class MixerBlock(nn.Module):
    """An MLP across patches and one across channels, each reading the normed stream."""

    def __init__(self, channels: int, patches: int, units: int, norm: str) -> None:
        super().__init__()
        self.norm1 = stream_norm(norm, channels)
        self.across = TokenMlp(patches, units)
        self.norm2 = stream_norm(norm, channels)
        self.mlp = Mlp(channels)

    def forward(self, stream: Tensor) -> Tensor:
        """The stream after the block, [N, patches, channels]."""
        stream = stream + self.across(self.norm1(stream))
        after: Tensor = stream + self.mlp(self.norm2(stream))
        return after


class Mixer(Stream):
    """A mixer of `depth` blocks, `block1` to `block{depth}`, on images [N, C, H, W]."""

    def __init__(
        self,
        width: float,
        depth: int,
        norm: str,
        input_shape: tuple[int, ...],
        classes: int,
    ) -> None:
        super().__init__()
        inputs, height, across = input_shape
        side = min(PATCH, height, across)
        patches, channels = (height // side) * (across // side), max(2, scaled(CHANNELS, width))
        self.patches = nn.Conv2d(inputs, channels, side, stride=side)
        units = scaled(TOKEN_UNITS, width)
        self.add_blocks([MixerBlock(channels, patches, units, norm) for _ in range(depth)])
        self.norm = stream_norm(norm, channels)
        self.head = nn.Linear(channels, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits [N, classes] of `images` [N, C, H, W]."""
        stream = self.patches(images).flatten(2).transpose(1, 2)
        logits: Tensor = self.head(self.norm(self.through_blocks(stream)).mean(1))
        return logits


def mixer(
    *,
    width: float,
    norm: str,
    input_shape: tuple[int, ...],
    num_classes: int,
    depth: int = 4,
) -> nn.Module:
    """A mixer of `depth` blocks on patches of 4 pixels, 64 channels at width 1.

    Reference:
        Tolstikhin et al., MLP-Mixer: An all-MLP Architecture for Vision, NeurIPS 2021.
        https://arxiv.org/abs/2105.01601
    """
    return Mixer(width, depth, norm, input_shape, num_classes)
