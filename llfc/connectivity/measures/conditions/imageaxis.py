"""Along which dimension of each operation's tensors the images of a batch are."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from llfc.connectivity.measures.conditions.operation import Operation
from llfc.connectivity.measures.conditions.operations import operations


@dataclass(frozen=True)
class ImageAxis:
    """Images of a batch in a dimension that may hold more, such as tokens or windows.

    Attributes:
        dim: the dimension.
        outer: whether an image's rows are next to one another, and not each among other images'.
    """

    dim: int
    outer: bool

    def unfold(self, tensor: Tensor, count: int) -> Tensor:
        """A view of `tensor`, which holds `count` images, with them in dimension `place`."""
        inner = tensor.shape[self.dim] // count
        sizes = (count, inner) if self.outer else (inner, count)
        return torch.unflatten(tensor, self.dim, sizes)

    @property
    def place(self) -> int:
        """The dimension of the images once unfolded."""
        return self.dim if self.outer else self.dim + 1

    def rows(self, tensor: Tensor, count: int) -> Tensor:
        """A row an image, [count, D]; a view where that can be."""
        return self.unfold(tensor, count).movedim(self.place, 0).flatten(1)

    def some(self, tensor: Tensor, count: int, first: int, number: int) -> Tensor:
        """What `tensor` would be for `number` images from `first` on; a view where that can be."""
        part = self.unfold(tensor, count).narrow(self.place, first, number)
        return part.flatten(self.dim, self.dim + 1)

    def holds(self, tensor: Tensor, count: int) -> bool:
        """Whether `tensor` can hold `count` images so."""
        return tensor.ndim > self.dim and tensor.shape[self.dim] % count == 0


def image_axes(
    model: nn.Module, example: Tensor, found: Sequence[Operation]
) -> list[ImageAxis | None]:
    """Where the images are in each operation of a forward pass, in the order they run.

    Found by letting two images change places: in a tensor that has the batch first, its two rows
    then do; in one of tokens by images, or with images and windows folded into one dimension,
    others do. None where nothing that depends on the images does, and where there is one image.

    Args:
        model: the network, in eval mode.
        example: one or two images.
        found: the operations of the forward pass on them.
    """
    swapped = operations(model, example.flip(0)) if len(example) == 2 else []
    if len(swapped) != len(found):
        return [None] * len(found)
    return [_axis(one.input, other.input) for one, other in zip(found, swapped, strict=True)]


def _axis(tensor: Tensor, swapped: Tensor) -> ImageAxis | None:
    if tensor.shape != swapped.shape:
        return None
    candidates = [
        ImageAxis(dim, outer)
        for dim, size in enumerate(tensor.shape)
        if size % 2 == 0
        for outer in ((True, False) if size > 2 else (True,))
    ]
    distances = [_distance(_with_images_swapped(tensor, axis), swapped) for axis in candidates]
    unmoved = _distance(tensor, swapped)
    usual = ImageAxis(0, outer=True)
    if unmoved == 0:  # as of a layer that is dead on both images
        return usual if tensor.shape[:1] == (2,) else None
    best = min(range(len(candidates)), key=distances.__getitem__, default=None)
    return candidates[best] if best is not None and distances[best] < unmoved / 2 else None


def _with_images_swapped(tensor: Tensor, axis: ImageAxis) -> Tensor:
    return axis.unfold(tensor, 2).flip(axis.place).flatten(axis.dim, axis.dim + 1)


def _distance(x: Tensor, y: Tensor) -> float:
    return float(torch.linalg.vector_norm(x.double() - y.double()))
