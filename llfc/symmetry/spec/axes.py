"""How an axis of a tensor factors into groups of units.

An axis is the concatenation of segments, a segment the row-major product of factors. An axis on
which units lie in any other order is arranged: it is one factor, which holds an axis as above.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Factor:
    """A factor of an axis: `size` positions, and the groups that permute them.

    Attributes:
        groups: none: nothing moves them. One: that group does, the same everywhere. As many as
            the factors before it in the segment have positions (their row-major product): nested,
            one group for each such place, as the units inside attention heads are. The group is
            that of the new place: `new[h, u] = old[p_heads[h], p_{g_h}[u]]`.
        order, inside: empty, or the axis is arranged: its position k is position `order[k]` of the
            axis `inside`. Used after a channel shuffle or a zero-padded shortcut, for heads that
            vary faster than the units in them, and for runs of several kinds inside a head.
    """

    size: int
    groups: tuple[str, ...] = ()
    order: tuple[int, ...] = ()
    inside: "Axis" = ()


Segment = tuple[Factor, ...]  # a contiguous block of an axis: the row-major product of its factors
Axis = tuple[Segment, ...]  # the concatenation of its segments


@dataclass(frozen=True)
class Feature:
    """A value inside the network that carries units of a group.

    Attributes:
        value: its name in the exported graph.
        module: the innermost module in whose forward it is made; empty for the model itself.
        dims: the dimensions on which the units lie; read together in row-major order, they are
            laid out as `axis`.
        axis: where the units lie.
        others: dimensions that other groups move, whose order says nothing.
        last: whether this is where the group is read: nothing that depends on the value tells
            anything new of the group.
    """

    value: str
    module: str
    dims: tuple[int, ...]
    axis: Axis
    others: tuple[int, ...] = ()
    last: bool = True

    @property
    def dim(self) -> int:
        """The first dimension on which the units lie, usually the only one."""
        return self.dims[0]


def segment_size(segment: Segment) -> int:
    """The number of positions of a segment: the product of its factors' sizes."""
    return math.prod(factor.size for factor in segment)


def axis_size(axis: Axis) -> int:
    """The number of positions of an axis: the sum over its segments."""
    return sum(map(segment_size, axis))


def arrangement(axis: Axis) -> Factor | None:
    """The one factor of an arranged axis; None if the axis is not arranged."""
    factor = axis[0][0] if axis and axis[0] else None
    return factor if factor is not None and factor.inside else None


def plain_segments(axis: Axis) -> Iterator[Segment]:
    """The segments of an axis; of an arranged one, those of the axis inside."""
    arranged = arrangement(axis)
    yield from arranged.inside if arranged else axis


def axis_groups(axis: Axis) -> tuple[str, ...]:
    """The groups that permute an axis, without repetition, in order."""
    names = (g for segment in plain_segments(axis) for factor in segment for g in factor.groups)
    return tuple(dict.fromkeys(names))


def segment_index(perm: Mapping[str, Tensor], segment: Sequence[Factor]) -> Tensor:
    """For each position of a segment, the old position that comes to stand there."""
    old_P = torch.zeros(1, dtype=torch.int64)
    for factor in segment:
        if not factor.groups:
            inner = torch.arange(factor.size)
        elif len(factor.groups) == 1:
            inner = perm[factor.groups[0]]
        else:
            inner = torch.stack([perm[group] for group in factor.groups])
        old_P = (old_P[:, None] * factor.size + inner).flatten()
    return old_P


def axis_index(perm: Mapping[str, Tensor], axis: Axis) -> Tensor:
    """For each position of an axis, the old position that comes to stand there; [size]."""
    if arranged := arrangement(axis):
        order_P = torch.tensor(arranged.order)
        return order_P.argsort()[axis_index(perm, arranged.inside)[order_P]]
    parts, start = [torch.empty(0, dtype=torch.int64)], 0
    for segment in axis:
        parts.append(start + segment_index(perm, segment))
        start += segment_size(segment)
    return torch.cat(parts)


def units_of_segment(segment: Segment, group: str) -> Tensor:
    """For each position, the unit of the group that it belongs to, or -1; [segment size]."""
    unit_P = torch.full((segment_size(segment),), -1, dtype=torch.int64)
    place_P = torch.arange(len(unit_P))
    stride = len(unit_P)
    for factor in segment:
        stride //= factor.size
        if group not in factor.groups:
            continue
        at_P = place_P // stride % factor.size
        if len(factor.groups) > 1:
            mine = torch.tensor([name == group for name in factor.groups])
            at_P = torch.where(mine[place_P // (stride * factor.size)], at_P, unit_P)
        unit_P = at_P
    return unit_P


def axis_positions(axis: Axis, group: str, units: int) -> Tensor:
    """Where the units of a group lie on an axis while everything is in place.

    Returns:
        [units, repeats]: row u holds the positions of unit u, in one order for all u; repeats is
        0 if the group does not move the axis.
    """
    if arranged := arrangement(axis):
        place_P = torch.tensor(arranged.order).argsort()
        return place_P[axis_positions(arranged.inside, group, units)]
    unit_P = torch.cat([torch.empty(0).long(), *(units_of_segment(s, group) for s in axis)])
    found = (unit_P >= 0).nonzero().flatten()
    return found[unit_P[found].argsort(stable=True)].reshape(units, -1)
