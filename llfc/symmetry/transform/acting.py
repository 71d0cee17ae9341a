"""What maps of units do to one axis of a tensor."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor

from llfc.symmetry.spec import PermutationSpec
from llfc.symmetry.spec.axes import (
    Axis,
    Segment,
    arrangement,
    axis_groups,
    plain_segments,
    segment_size,
)
from llfc.symmetry.spec.kinds import Powers


class Acting(Protocol):
    """A map of units: an `Element`, or one that is being learned."""

    def is_identity(self) -> bool:
        """Whether it moves nothing."""
        ...

    def apply(self, values: Tensor, power: int) -> Tensor:
        """The map, to a power, of the first dimension of `values`; new values."""
        ...


def moved_tensor(
    elements: Mapping[str, Acting],
    spec: PermutationSpec,
    powers: Mapping[str, Sequence[Powers]] | None,
    name: str,
    tensor: Tensor,
) -> Tensor:
    """The tensor `name` of a state dict with its units moved.

    Args:
        elements: group -> its map.
        spec: the symmetry.
        powers: those of its kinds; None: all elements are permutations.
        name: of the tensor, in the state dict.
        tensor: its values; they may want a gradient.

    Raises:
        ValueError: the spec has no such tensor, or its shape is another.
    """
    folded = spec.fold(name, tensor)
    for dim, axis in enumerate(spec.axes[name]):
        if axis_groups(axis):
            folded = act(elements, axis, powers[name][dim] if powers else None, folded, dim)
    return folded.reshape(tensor.shape)


def act(
    elements: Mapping[str, Acting], axis: Axis, powers: Powers | None, tensor: Tensor, dim: int
) -> Tensor:
    """A tensor with the groups' maps applied along one dimension.

    Args:
        elements: group -> its map.
        axis: how the groups lie on the dimension.
        powers: of their maps, by segment and factor; None: all elements are permutations.
        tensor: any.
        dim: the dimension.
    """
    rows = tensor.movedim(dim, 0)
    arranged = arrangement(axis)
    if arranged:
        order = torch.tensor(arranged.order, device=rows.device)
        rows = rows.index_select(0, order.argsort())
    sizes = [segment_size(segment) for segment in plain_segments(axis)]
    parts = [
        act_on_segment(elements, segment, powers[s] if powers else None, part)
        for s, (segment, part) in enumerate(
            zip(plain_segments(axis), torch.split(rows, sizes), strict=True)
        )
    ]
    rows = torch.cat(parts) if len(parts) != 1 else parts[0]
    if arranged:
        rows = rows.index_select(0, order)
    return rows.movedim(0, dim)


def act_on_segment(
    elements: Mapping[str, Acting], segment: Segment, powers: tuple[int, ...] | None, rows: Tensor
) -> Tensor:
    """The maps of one segment, from its outermost factor to the innermost.

    Where groups are nested, each is that of the new place.
    """
    shape, places = rows.shape, 1
    for k, factor in enumerate(segment):
        power = powers[k] if powers else 0
        if any(not elements[name].is_identity() for name in factor.groups):
            parts = rows.reshape(places, factor.size, -1)
            if len(factor.groups) == 1:
                moved = elements[factor.groups[0]].apply(parts.transpose(0, 1), power)
                rows = moved.transpose(0, 1)
            else:
                each = zip(factor.groups, parts, strict=True)
                rows = torch.stack([elements[name].apply(part, power) for name, part in each])
        places *= factor.size
    return rows.reshape(shape)
