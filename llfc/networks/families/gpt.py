"""GPT: a causal transformer from token ids to the logits of each next token."""

import torch
from torch import Tensor, nn

from llfc.networks.families.transformer import (
    HEADS,
    Block,
    Stream,
    sized,
    stream_norm,
)


class Gpt(Stream):
    """A pre-norm GPT on token ids [N, T], T at most `context`; logits [N, T, vocabulary].

    Args:
        channels: of the stream.
        heads: number of heads in each layer, among which the channels are divided.
        depth: number of blocks, `block1` to `block{depth}`.
        norm: `layer` or `rms`.
        context: the longest sequence.
        vocabulary: number of tokens.
        rotary: whether positions turn queries and keys, instead of being learned and added.
    """

    def __init__(
        self,
        channels: int,
        heads: int,
        depth: int,
        norm: str,
        context: int,
        vocabulary: int,
        *,
        rotary: bool,
    ) -> None:
        super().__init__()
        self.rotary = rotary
        self.embedding = nn.Embedding(vocabulary, channels)
        if not rotary:
            self.positions = nn.Parameter(torch.empty(context, channels))
        self.add_blocks(
            [Block(channels, heads, norm, causal=True, rotary=rotary) for _ in range(depth)]
        )
        self.norm = stream_norm(norm, channels)
        self.head = nn.Linear(channels, vocabulary, bias=False)

    def forward(self, ids: Tensor) -> Tensor:
        """The logits of the token after each, [N, T, vocabulary]; `ids` int64, [N, T]."""
        stream = self.embedding(ids)
        if not self.rotary:
            stream = stream + self.positions[: ids.shape[1]]
        logits: Tensor = self.head(self.norm(self.through_blocks(stream)))
        return logits


def gpt(
    *,
    width: float,
    norm: str,
    input_shape: tuple[int, ...],
    num_classes: int,
    depth: int = 2,
    heads: int = HEADS,
    positions: str = "learned",
) -> nn.Module:
    """A GPT of `depth` blocks, `heads` heads and 64 channels at width 1.

    Args:
        width: multiple of the heads, and with them of the stream and the MLPs' units.
        norm: `layer` or `rms`.
        input_shape: (context,), the length of the longest sequence.
        num_classes: size of the vocabulary.
        depth: number of blocks.
        heads: number of heads at width 1.
        positions: `learned` or `rotary`.

    Reference:
        Radford et al., Language Models are Unsupervised Multitask Learners, 2019.
    """
    if len(input_shape) != 1:
        raise ValueError(f"input_shape of a gpt must be (context,), got {input_shape}")
    rotary = positions == "rotary"
    return Gpt(*sized(width, heads), depth, norm, input_shape[0], num_classes, rotary=rotary)
