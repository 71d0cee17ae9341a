"""What vit, mixer and gpt share: pre-norm blocks on a residual stream.

Width multiplies the heads, the MLP's units and the stream together, at a fixed size of head.
Every function between modules that a measure may want is a module of its own, so that it can be
a probe: what attention and the MLP add (`attention`, `mlp`), the MLP's hidden units (`mlp.gelu`)
and the stream after each block (`block{i}`).
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from llfc.networks.families.layers import scaled

CHANNELS = 64  # of the stream at width 1
HEADS = 4
# Hidden units of the MLP for each channel of the stream.
EXPANSION = 4
STREAM_NORMS = ("layer", "rms")


def stream_norm(norm: str, channels: int) -> nn.Module:
    """The norm of each token's channels before a layer: `layer` or `rms`, scaled by gains.

    Raises:
        ValueError: for another norm.

    Reference:
        Ba, Kiros & Hinton, Layer Normalization, 2016. https://arxiv.org/abs/1607.06450
        Zhang & Sennrich, Root Mean Square Layer Normalization, NeurIPS 2019.
        https://arxiv.org/abs/1910.07467
    """
    if norm == "layer":
        return nn.LayerNorm(channels)
    if norm == "rms":
        return nn.RMSNorm(channels, eps=1e-5)
    raise ValueError(
        f"norm of a transformer must be one of {', '.join(STREAM_NORMS)}, got {norm!r}"
    )


def sized(width: float, heads: int) -> tuple[int, int]:
    """Channels of the stream and number of heads at `width`; the size of a head is that at width 1.

    Raises:
        ValueError: if `heads` does not divide CHANNELS into heads of an even size, as rotary
            positions need it.
    """
    if CHANNELS % (2 * heads):
        possible = [n for n in range(1, CHANNELS) if CHANNELS % (2 * n) == 0]
        raise ValueError(f"heads must be one of {', '.join(map(str, possible))}, got {heads}")
    count = scaled(heads, width)
    return count * (CHANNELS // heads), count


class Attention(nn.Module):
    """Self-attention of `heads` heads over tokens [N, T, channels].

    Args:
        channels: of the stream, `heads` times the size of a head.
        heads: number of heads.
        causal: whether a token sees only itself and those before it.
        rotary: whether queries and keys are turned by their positions.

    Reference:
        Vaswani et al., Attention Is All You Need, NeurIPS 2017. https://arxiv.org/abs/1706.03762
        Su et al., RoFormer: Enhanced Transformer with Rotary Position Embedding, 2021.
        https://arxiv.org/abs/2104.09864
    """

    def __init__(self, channels: int, heads: int, *, causal: bool, rotary: bool = False) -> None:
        super().__init__()
        self.heads, self.causal, self.rotary = heads, causal, rotary
        self.query = nn.Linear(channels, channels)
        self.key = nn.Linear(channels, channels)
        self.value = nn.Linear(channels, channels)
        self.out = nn.Linear(channels, channels)

    def forward(self, tokens: Tensor) -> Tensor:
        """What attention adds to the stream, [N, T, channels]."""
        query, key, value = (
            layer(tokens).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        )
        if self.rotary:
            query, key = turned(query), turned(key)
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=self.causal)
        added: Tensor = self.out(mixed.transpose(1, 2).flatten(-2))
        return added


def turned(vectors: Tensor) -> Tensor:
    """`vectors` [N, H, T, d] turned: plane (i, i + d/2) by angle t / 10000^(2i/d) at position t."""
    positions, half = vectors.shape[-2], vectors.shape[-1] // 2
    rates = 10000 ** -(torch.arange(half, device=vectors.device) / half)
    angles = torch.arange(positions, device=vectors.device)[:, None] * rates
    cos, sin = angles.cos(), angles.sin()
    first, second = vectors.chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)


class Mlp(nn.Module):
    """Two layers on each token, with GELU between."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(channels, EXPANSION * channels)
        self.gelu = nn.GELU()
        self.out = nn.Linear(EXPANSION * channels, channels)

    def forward(self, tokens: Tensor) -> Tensor:
        """What the MLP adds to the stream, [..., channels]."""
        added: Tensor = self.out(self.gelu(self.hidden(tokens)))
        return added


class Block(nn.Module):
    """Attention and an MLP, each reading the normed stream and adding to the stream.

    Reference:
        Xiong et al., On Layer Normalization in the Transformer Architecture, ICML 2020.
        https://arxiv.org/abs/2002.04745
    """

    def __init__(
        self, channels: int, heads: int, norm: str, *, causal: bool, rotary: bool = False
    ) -> None:
        super().__init__()
        self.norm1 = stream_norm(norm, channels)
        self.attention = Attention(channels, heads, causal=causal, rotary=rotary)
        self.norm2 = stream_norm(norm, channels)
        self.mlp = Mlp(channels)

    def forward(self, stream: Tensor) -> Tensor:
        """The stream after the block, [N, T, channels]."""
        stream = stream + self.attention(self.norm1(stream))
        after: Tensor = stream + self.mlp(self.norm2(stream))
        return after


class Stream(nn.Module):
    """Blocks `block1` to `block{depth}`, one after another, on a residual stream."""

    depth: int

    def add_blocks(self, blocks: Sequence[nn.Module]) -> None:
        """Register the blocks; where it is called decides when their first weights are drawn."""
        self.depth = len(blocks)
        for index, block in enumerate(blocks, 1):
            self.add_module(f"block{index}", block)

    def through_blocks(self, stream: Tensor) -> Tensor:
        """The stream after all blocks, in its shape [N, T, channels]."""
        for index in range(1, self.depth + 1):
            stream = self.get_submodule(f"block{index}")(stream)
        return stream

    def initialise(self, generator: torch.Generator) -> None:
        """Draw the first weights from `generator` alone."""
        initialise_transformer(self, generator, self.depth)


def initialise_transformer(model: nn.Module, generator: torch.Generator, depth: int) -> None:
    """First weights as GPT-2's: normal, deviation .02, smaller where layers add to the stream.

    Reference:
        Radford et al., Language Models are Unsupervised Multitask Learners, 2019.
    """
    for name, parameter in model.named_parameters():
        if "norm" in name:
            nn.init.constant_(parameter, 1.0 if name.endswith("weight") else 0.0)
        elif name.endswith("bias"):
            nn.init.zeros_(parameter)
        else:
            adds = name.endswith("out.weight")
            deviation = 0.02 / (2 * depth) ** 0.5 if adds else 0.02
            nn.init.normal_(parameter, std=deviation, generator=generator)
