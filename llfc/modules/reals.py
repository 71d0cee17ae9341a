"""Complex numbers as pairs of real ones; and sums of squares that float32 does not hold.

The square of a number below 1e-19 or above 1e19 is zero or infinite in float32, though the number
itself is ordinary there, and so is every ratio of such sums. In float64 the squares of all float32
numbers can be summed, and such sums are taken again in it. Those that float32 holds are left as
they are, to the bit.
"""

import math

import torch
from torch import Tensor

# Whatever vanishes of a larger sum of 2**30 terms is far less than float32 rounds off.
SMALLEST = 2.0**-80
ORDINARY = 2.0**-16, 2.0**16


def as_reals(tensor: Tensor) -> Tensor:
    """A complex tensor with its real and imaginary parts on a last dimension; others themselves.

    The sum of products of two tensors so seen is the real part of their Hermitian inner product,
    the sum of squares that of squared absolute values; so lengths, distances and angles are those
    of the complex vectors, as real ones of twice the size.

    >>> as_reals(torch.tensor([1 + 2j])).tolist()
    [[1.0, 2.0]]
    """
    return torch.view_as_real(tensor.resolve_conj()) if tensor.is_complex() else tensor


def lost(sums: Tensor) -> Tensor:
    """Which sums of products may not be what their terms add up to: too small, or not finite."""
    return ~((sums.abs() >= SMALLEST) & sums.isfinite())


def are_held(sums: Tensor) -> bool:
    """Whether none of some sums, of which there are any, is `lost`; quicker than to ask of each.

    >>> are_held(torch.tensor([1.0, -1e-20])), are_held(torch.tensor([1.0, -1e-30]))
    (True, False)
    """
    smallest, largest = torch.aminmax(sums.detach().abs())  # NaN if any is
    return float(smallest) >= SMALLEST and float(largest) < math.inf


def norms(tensor: Tensor, dim: int | None = None) -> Tensor:
    """Euclidean norms along `dim`, or that of all numbers; in float64 if one has to be."""
    found: Tensor = torch.linalg.vector_norm(tensor, dim=dim)
    wrong = lost(found.double().square())
    wide = torch.complex128 if tensor.is_complex() else torch.float64
    if tensor.dtype == wide or not wrong.any():
        return found
    return torch.where(wrong, torch.linalg.vector_norm(tensor, dim=dim, dtype=wide), found)


def to_ordinary(tensor: Tensor) -> float:
    """The power of two that brings the largest number of `tensor` to 1; 1 if it is ordinary.

    Products with it are exact, so what does not change with the scale of a tensor is the same to
    the bit. Ordinary are numbers whose fourth powers float32 holds, and zero.
    """
    largest = float(tensor.abs().max()) if tensor.numel() else 0.0
    if largest == 0 or not math.isfinite(largest) or ORDINARY[0] <= largest <= ORDINARY[1]:
        return 1.0
    return 2.0 ** -math.frexp(largest)[1]
