"""Where the images of a batch are in a tensor of a network: measured, never assumed.

A network takes its images along dimension 0. Inside, they may be along another, as where sequences
come first ([tokens, images, D]), or folded with something else into one: image-major ([images *
windows, D]), image-minor ([tokens * images, D]), or in between. `image_axis` compares the tensor of
a batch with that of the same batch in another order and with that of a batch twice as large: the
images are along the one dimension that doubles, and are laid out there as the one layout in which
they change places when the batch does. Sizes that happen to be equal can therefore not be confused.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from llfc.modules.inputs import Inputs, backwards, count_of, each_of, equal, joined, taken

AXIS_ROUNDINGS = (
    8  # roundings that kernels may leave between a row and the same row at another place
)


@dataclass(frozen=True)
class ImageAxis:
    """Images of a batch in a dimension that may hold more, such as tokens or windows.

    The dimension's size is before * images * after.

    Attributes:
        dim: the dimension.
        before: how many groups of all images follow one another; 1 where the images are outermost.
        after: how many neighbours in a row are of one image.
    """

    dim: int = 0
    before: int = 1
    after: int = 1

    @property
    def outer(self) -> bool:
        """Whether an image's rows are next to one another, and not each among other images'."""
        return self.before == 1

    @property
    def place(self) -> int:
        """The dimension of the images once unfolded."""
        return self.dim + 1

    def unfold(self, tensor: Tensor, count: int) -> Tensor:
        """A view of `tensor`, which holds `count` images, with them alone in dimension `place`.

        What comes before or after them may be more or less than it was where the axis was found, as
        with images of another size, if it is only one of the two.
        """
        inner = (self.before, count, -1) if self.outer or self.after > 1 else (-1, count, 1)
        return torch.unflatten(tensor, self.dim, inner)

    def rows(self, tensor: Tensor, count: int, *, in_memory_order: bool = False) -> Tensor:
        """All numbers of each image as one row, [count, D]; a view where that can be.

        Those of a complex tensor are real and imaginary parts.

        Args:
            tensor: what holds the images.
            count: their number.
            in_memory_order: whether numbers may be in the order of the memory, which saves copying
                what lies channels last, and is the same order in tensors that lie alike.

        Raises:
            ValueError: if `tensor` does not hold `count` images so.
        """
        if not self.holds(tensor, count):
            raise ValueError(f"{count} images are not in dimension {self.dim} of {_shape(tensor)}")
        if tensor.is_complex():
            tensor = torch.view_as_real(tensor)
        if tensor.shape[self.dim] == count:
            tensor = tensor.movedim(self.dim, 0)
            return (_as_it_lies(tensor) if in_memory_order else tensor).reshape(count, -1)
        return self.unfold(tensor, count).movedim(self.place, 0).reshape(count, -1)

    def holds(self, tensor: Tensor, count: int) -> bool:
        """Whether `tensor` can hold `count` images so."""
        if tensor.ndim <= self.dim:
            return False
        fixed = self.before if not self.outer and self.after > 1 else 1
        return tensor.shape[self.dim] % (count * fixed) == 0


@dataclass(frozen=True, eq=False)
class Trio:
    """Three batches of one network's inputs whose tensors say where the images are.

    Attributes:
        batch: two images.
        swapped: the same two, the other one first.
        twice: the two, and once more the two.
    """

    batch: Inputs
    swapped: Inputs
    twice: Inputs

    @staticmethod
    def of(example: Inputs) -> "Trio":
        """From one image or more, along dimension 0.

        Taken are the first and the first that differs from it; where none does, the first with its
        numbers in reverse order.
        """
        first, *others = (taken(example, slice(i, i + 1)) for i in range(count_of(example)))
        second = next((other for other in others if not equal(other, first)), backwards(first))
        batch = joined([first, second])
        return Trio(batch, each_of(batch, lambda x: x.flip(0)), joined([batch, batch]))


def image_axis(batch: Tensor, swapped: Tensor, twice: torch.Size | None) -> ImageAxis | str:
    """Where the images are in a tensor that a network makes of each of the batches of a `Trio`.

    Args:
        batch: of two images.
        swapped: of the same two in the other order.
        twice: its shape where the batch is twice as large; None if the network takes no such batch,
            and the numbers alone have to tell.

    Returns:
        The axis; or why there is none, to be put after the tensor's name.
    """
    shape = _shape(batch)
    if swapped.shape != batch.shape or (twice is not None and len(twice) != batch.ndim):
        return f"has another shape than {shape} on other images"
    dims = [dim for dim, size in enumerate(batch.shape) if twice is None or twice[dim] != size]
    if not dims:
        return f"has no dimension in {shape} that grows with the number of images"
    whole = [dim for dim in dims if batch.shape[dim] % 2 == 0]
    if twice is not None and (
        len(dims) > 1 or [2 * batch.shape[d] for d in whole] != [twice[dims[0]]]
    ):
        return f"has more than one dimension in {shape}, or not a whole one, to hold the images"
    return _layout(batch, swapped, whole)


def _layout(batch: Tensor, swapped: Tensor, dims: Sequence[int]) -> ImageAxis | str:
    """In which dimension, and how, numbers change places with the images."""
    old, new = (_numbers(tensor) for tensor in (batch, swapped))
    unmoved = _distance(old, new)
    rounding = AXIS_ROUNDINGS * _eps(batch) * float(torch.linalg.vector_norm(old))
    for dim in dims:
        size = batch.shape[dim]
        for before, after in _factors(size // 2):
            axis = ImageAxis(dim, before, after)
            turned = axis.unfold(old, 2).flip(axis.place).flatten(dim, dim + 2)
            if _distance(turned, new) <= max(rounding, unmoved / 16):
                if unmoved > rounding or (size == 2 and len(dims) == 1):
                    return axis
                return f"is the same for all images, which are somewhere in {_shape(batch)}"
    return f"does not move with the images in any dimension of {_shape(batch)}"


def _factors(number: int) -> Iterator[tuple[int, int]]:
    """Pairs of whole numbers with this product; first those with a 1, which are the usual ones."""
    yield 1, number
    if number > 1:
        yield number, 1
    for before in range(2, number // 2 + 1):
        if number % before == 0:
            yield before, number // before


def _as_it_lies(tensor: Tensor) -> Tensor:
    """A view whose dimensions after the first are in the order of their memory, channels last."""
    if tensor.ndim == 4 and tensor.is_contiguous(memory_format=torch.channels_last):
        return tensor.permute(0, 2, 3, 1)
    return tensor


def _numbers(tensor: Tensor) -> Tensor:
    """In double precision, with numbers in place of those that are not finite."""
    wide = torch.complex128 if tensor.is_complex() else torch.float64
    return tensor.detach().to(wide).nan_to_num()


def _eps(tensor: Tensor) -> float:
    kind = tensor.dtype
    return torch.finfo(kind).eps if kind.is_floating_point or kind.is_complex else 0.0


def _distance(x: Tensor, y: Tensor) -> float:
    return float(torch.linalg.vector_norm(x - y))


def _shape(tensor: Tensor) -> str:
    return str(list(tensor.shape))
