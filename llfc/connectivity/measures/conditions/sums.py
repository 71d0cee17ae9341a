"""Streaming sums over samples, and the normalised distance that follows from them.

A tensor is taken a few images at a time, so that it is still in the cache where it is summed.
Sums within such a part are in float32 or the networks' wider type, or in float64 where float32
does not hold them, sums of parts in float64.
"""

import math
import operator
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from llfc.modules.reals import SMALLEST, as_reals

PART = 2**17  # numbers; with more, the dozen tensors of a part outgrow the cache

S = TypeVar("S", bound="Sums")
Four = tuple[Tensor, Tensor, Tensor, Tensor]  # what goes in, of A and of B, and what comes out


@dataclass(frozen=True)
class Sums:
    """Sums over samples; those of two batches are added."""

    def __add__(self: S, other: S) -> S:
        return type(self)(*map(operator.add, vars(self).values(), vars(other).values()))


def distance(gap: float, x: float, y: float) -> float:
    """||x - y||² / (||x|| ||y||) from ||x - y||², ||x||² and ||y||².

    It is 0 if both vectors are zero, and 1 if exactly one is.

    Reference:
        Zhou, Yang, Yang, Yan & Hu, Going Beyond Linear Mode Connectivity: The Layerwise Linear
        Feature Connectivity, NeurIPS 2023, section 5. https://arxiv.org/abs/2307.08286

    >>> distance(4.0, 4.0, 4.0)
    1.0
    """
    if x == 0 or y == 0:
        return float(x != y)
    return gap / (math.sqrt(x) * math.sqrt(y))


def square(tensor: Tensor) -> float:
    """The sum of squares, summed pairwise, which is two digits more exact than a running sum."""
    reals = as_reals(tensor)
    found = float(reals.square().sum())
    return found if SMALLEST <= found < math.inf else float(reals.double().square().sum())


def dot(tensor: Tensor, other: Tensor) -> float:
    """The inner product of two parts."""
    x, y = (part.reshape(-1) for part in map(as_reals, as_they_lie(tensor, other)))
    found = float(torch.dot(x, y))
    return found if SMALLEST <= abs(found) < math.inf else float(torch.dot(x.double(), y.double()))


def as_they_lie(*tensors: Tensor) -> tuple[Tensor, ...]:
    """The tensors as NHWC views if all are channels_last, so that flattening does not copy."""
    last = torch.channels_last
    if all(tensor.ndim == 4 and tensor.is_contiguous(memory_format=last) for tensor in tensors):
        return tuple(tensor.permute(0, 2, 3, 1) for tensor in tensors)
    return tensors


def at_least_float32(tensor: Tensor) -> Tensor:
    """`tensor` itself, or in float32 where it has too few digits for a sum of squares."""
    return tensor.float() if tensor.element_size() < 4 else tensor


def image_parts(features: Four, dim: int | None = 0, most: int = PART) -> Iterator[Four]:
    """Parts of the features along `dim`, of about `most` numbers each.

    On a GPU, and without a dimension to part them along, they are whole.
    """
    if dim is None or features[0].is_cuda:
        yield features
        return
    largest = max(feature.numel() for feature in features)
    size = max(1, most * features[0].shape[dim] // max(1, largest))
    a, b, of_a, of_b = (torch.split(feature, size, dim) for feature in features)
    yield from zip(a, b, of_a, of_b, strict=True)
