"""Complex numbers as pairs of real ones."""

import torch
from torch import Tensor


def as_reals(tensor: Tensor) -> Tensor:
    """A complex tensor with its real and imaginary parts on a last dimension; others themselves.

    The sum of products of two tensors so seen is the real part of their Hermitian inner product,
    the sum of squares that of squared absolute values; so lengths, distances and angles are those
    of the complex vectors, as real ones of twice the size.

    >>> as_reals(torch.tensor([1 + 2j])).tolist()
    [[1.0, 2.0]]
    """
    return torch.view_as_real(tensor.resolve_conj()) if tensor.is_complex() else tensor
