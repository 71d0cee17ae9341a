"""Images and labels as a caller gives them, in batches that can be walked again and again."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

Samples = tuple[Tensor, Tensor] | Iterable[tuple[Tensor, Tensor]]


@dataclass(frozen=True, eq=False)
class Batches:
    """Batches of images and labels, on the networks' device; refuses what is no labelled batch.

    Iterating twice gives the same twice, as far as `source` does.

    Attributes:
        split: `train` or `test`; names the samples in errors.
        source: images [N, ...] and labels [N] in memory, or an iterable of such batches.
        batch_size: at most so many images a batch, where `source` is in memory.
        device: where the networks are.
    """

    split: str
    source: Samples
    batch_size: int
    device: torch.device

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {self.batch_size}")
        if isinstance(self.source, Iterator):
            raise ValueError(
                f"{self.split} must be iterable more than once, got a {type(self.source).__name__}"
            )

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        count = 0
        for images, labels in self._batches():
            if len(images) != len(labels):
                raise ValueError(f"{self.split} has {len(images)} images, but {len(labels)} labels")
            if len(labels):
                yield images.to(self.device), labels.to(self.device)
            count += len(labels)
        if not count:
            raise ValueError(f"{self.split} has no images")

    def images(self) -> "Images":
        """The images alone."""
        return Images(self)

    def example(self) -> Tensor:
        """The first two images, or one if the first batch has no more; shape [2, ...]."""
        images, _ = next(iter(self))
        return images[:2]

    def _batches(self) -> Iterable[tuple[Tensor, Tensor]]:
        pair = _in_memory(self.source)
        if pair is None:
            return cast("Iterable[tuple[Tensor, Tensor]]", self.source)
        images, labels = pair
        if len(images) != len(labels):
            raise ValueError(f"{self.split} has {len(images)} images, but {len(labels)} labels")
        # Of equal sizes, so that no batch is too small for the statistics of a batch norm.
        parts = max(1, -(-len(labels) // self.batch_size))
        return zip(images.tensor_split(parts), labels.tensor_split(parts), strict=True)


@dataclass(frozen=True, eq=False)
class Images:
    """Batches of images without their labels; can be iterated again and again."""

    batches: Batches

    def __iter__(self) -> Iterator[Tensor]:
        for images, _ in self.batches:
            yield images


def _in_memory(source: Samples) -> tuple[Tensor, Tensor] | None:
    """`source` itself if it is a pair of tensors, and not batches of them."""
    if isinstance(source, tuple | list) and len(source) == 2:
        images, labels = source
        if isinstance(images, Tensor) and isinstance(labels, Tensor):
            return images, labels
    return None
