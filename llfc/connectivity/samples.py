"""Images and labels as a caller gives them, in batches that can be walked again and again."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

Samples = tuple[Tensor, Tensor] | Iterable[tuple[Tensor, Tensor]]
RULE = "must be (images, labels), two tensors, or an iterable of such batches"


@dataclass(frozen=True, eq=False)
class Batches:
    """Batches of images and labels, on the networks' device; refuses what is no labelled batch.

    Iterating twice gives the same twice, as far as `source` does.

    Attributes:
        split: `train` or `test`; names the samples in errors.
        source: images [N, ...] and labels [N] in memory, or an iterable of such batches.
        batch_size: at most so many images per batch, where `source` is in memory.
        device: where the networks are.
        order: in which images in memory are taken, indices of shape [N]; as they lie if None.
    """

    split: str
    source: Samples
    batch_size: int
    device: torch.device
    order: Tensor | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.batch_size, int) or self.batch_size < 1:
            raise ValueError(f"batch_size must be a whole number >= 1, got {self.batch_size}")
        if isinstance(self.source, Iterator):
            raise ValueError(
                f"{self.split} must be iterable more than once, got a {type(self.source).__name__}"
            )
        if isinstance(self.source, Tensor) or not hasattr(self.source, "__iter__"):
            raise ValueError(f"{self.split} {RULE}, got a {type(self.source).__name__}")

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        count = 0
        for batch in self._batches():
            images, labels = self._checked(batch)
            if len(images) != len(labels):
                raise ValueError(f"{self.split} has {len(images)} images, but {len(labels)} labels")
            if len(labels):
                yield images.to(self.device), labels.to(self.device)
            count += len(labels)
        if not count:
            raise ValueError(f"{self.split} has no images")

    def _checked(self, batch: Any) -> tuple[Tensor, Tensor]:
        """`batch`, if it is one."""
        if not isinstance(batch, tuple | list):
            raise ValueError(f"{self.split} {RULE}, got a batch that is a {type(batch).__name__}")
        if not all(isinstance(part, Tensor) and part.ndim for part in batch) or len(batch) != 2:
            parts = ", ".join(
                f"tensor {tuple(part.shape)}" if isinstance(part, Tensor) else type(part).__name__
                for part in batch[:3]
            )
            raise ValueError(f"{self.split} {RULE}, got a batch of {len(batch)} parts: {parts}")
        images, labels = batch
        return images, labels

    def first(self) -> Tensor:
        """The images of the first batch, shape [N, ...]."""
        images, _ = next(iter(self))
        return images

    def example(self) -> Tensor:
        """The first two images, or one if the first batch has no more; shape [2, ...]."""
        return self.first()[:2]

    def shuffled(self, generator: torch.Generator) -> "Batches":
        """The same, images in memory in a random order; other batches come as they come."""
        pair = _in_memory(self.source)
        if pair is None:
            return self
        _, labels = self._checked(pair)
        return replace(self, order=torch.randperm(len(labels), generator=generator))

    def _batches(self) -> Iterable[Any]:
        pair = _in_memory(self.source)
        if pair is None:
            return self.source
        images, labels = self._checked(pair)
        if len(images) != len(labels):
            raise ValueError(f"{self.split} has {len(images)} images, but {len(labels)} labels")
        # Of equal sizes, so that no batch is too small for the statistics of a batch norm.
        parts = max(1, -(-len(labels) // self.batch_size))
        if self.order is None:
            return zip(images.tensor_split(parts), labels.tensor_split(parts), strict=True)
        order = self.order.to(images.device)
        return (
            (images[part], labels[part.to(labels.device)]) for part in order.tensor_split(parts)
        )


def _in_memory(source: Samples) -> tuple[Any, Any] | None:
    """`source` itself if it is a pair of images and labels, and not of batches of them."""
    if isinstance(source, tuple | list) and len(source) == 2:
        images, labels = source
        if not (isinstance(images, tuple | list) and isinstance(labels, tuple | list)):
            return images, labels
    return None
