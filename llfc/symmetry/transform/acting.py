"""What maps of units do to one axis of a tensor."""

from collections.abc import Mapping

import torch
from torch import Tensor

from llfc.symmetry.spec.axes import Axis, Segment, arrangement, plain_segments, segment_size
from llfc.symmetry.spec.kinds import Powers
from llfc.symmetry.transform.element import Element


def act(
    elements: Mapping[str, Element], axis: Axis, powers: Powers | None, tensor: Tensor, dim: int
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
    elements: Mapping[str, Element], segment: Segment, powers: tuple[int, ...] | None, rows: Tensor
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
