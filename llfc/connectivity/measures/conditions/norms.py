"""Norms: how closely they commute with averaging, and folding batch norms into linear maps."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from llfc.connectivity.measures.conditions.additivity import Linearity, rows_of, sums_of
from llfc.connectivity.measures.conditions.operation import LinearMap, Norm, Operation
from llfc.connectivity.measures.conditions.sums import Four, at_least_float32
from llfc.modules.imageaxis import ImageAxis


def blending(
    features: Four, between: Callable[[Tensor], Tensor], axis: ImageAxis | None, count: int
) -> Linearity:
    """The sums of a batch for a norm: u = (N_A(h_A) + N_B(h_B)) / 2, v = N((h_A + h_B) / 2).

    Args:
        features: inputs of the norm in A and in B, and its outputs.
        between: N, that of the network half way between them.
        axis: where the images are; None for all as one.
        count: their number.
    """
    h_a, h_b, f_a, f_b = features
    v, both = between(torch.lerp(h_a, h_b, 0.5)), at_least_float32(f_a) + at_least_float32(f_b)
    return sums_of(*(rows_of((at_least_float32(v), both), axis, count)))


@dataclass(frozen=True)
class Folding:
    """Which linear maps a norm with fixed statistics directly follows, and its factor per channel.

    Attributes:
        scales: by the layer's place among the operations, of A and of B, one number per channel
            [C].
    """

    scales: Mapping[int, tuple[Tensor, Tensor]]

    @staticmethod
    def of(a: Sequence[Operation], b: Sequence[Operation]) -> "Folding":
        """That of two networks, from the operations of each on an example, held together."""
        found: dict[int, tuple[Tensor, Tensor]] = {}
        for norm, other in zip(a, b, strict=True):
            if not (isinstance(norm, Norm) and isinstance(other, Norm)):
                continue
            if norm.scale is None or other.scale is None:
                continue
            for index, layer in enumerate(a):
                if isinstance(layer, LinearMap) and _gives(layer, norm):
                    found[index] = norm.scale, other.scale
        return Folding(found)

    def apply(self, index: int, a: LinearMap, b: LinearMap) -> tuple[LinearMap, LinearMap] | None:
        """Both layers times the scale of the norm after them; None if no such norm follows."""
        if index not in self.scales:
            return None
        of_a, of_b = self.scales[index]
        return channels_scaled(a, of_a), channels_scaled(b, of_b)


def _gives(layer: LinearMap, norm: Norm) -> bool:
    """Whether the norm reads just what the layer gave, its channels along dimension 1.

    In any view of it, as of tokens whose channels were brought to where the norm has them. Where
    memory has no gaps, size and stride of the channels say of which channel each number is.
    """
    x, y = layer.output, norm.input
    if layer.outputs is None or x.data_ptr() != y.data_ptr() or x.numel() != y.numel():
        return False
    channels = x.shape[1] == y.shape[1] and (x.stride(1) == y.stride(1) or x.shape[1] == 1)
    return channels and _is_dense(x) and _is_dense(y)


def _is_dense(tensor: Tensor) -> bool:
    """Whether its numbers fill their part of memory, in some order of the dimensions."""
    expected = 1
    for stride, size in sorted(zip(tensor.stride(), tensor.shape, strict=True)):
        if size != 1 and stride != expected:
            return False
        expected *= size
    return True


def channels_scaled(layer: LinearMap, scale: Tensor) -> LinearMap:
    """The layer whose output channels are multiplied by `scale`."""
    assert layer.outputs is not None
    weight, output, bias = layer.weight, layer.output, layer.bias
    return replace(
        layer,
        weight=weight * _along(scale, weight, layer.outputs),
        output=output * _along(scale, output, 1),
        bias=None if bias is None else bias * scale.view(bias.shape),
    )


def _along(scale: Tensor, tensor: Tensor, dim: int) -> Tensor:
    return scale.to(tensor.dtype).view(-1, *[1] * (tensor.ndim - 1 - dim))
