"""From the coordinates of the positions of an axis to its segments and factors."""

from collections.abc import Sequence

import numpy as np

from llfc.symmetry.groups.families import Families, Irregular
from llfc.symmetry.layouts.units import Nodes
from llfc.symmetry.spec.axes import Axis, Factor, Segment


def parse_axis(
    families: Families, names: Sequence[str], groups: Nodes, units: Nodes, kinds: Nodes
) -> Axis:
    """The axis whose positions have these coordinates.

    Args:
        families: the sizes of the groups.
        names: the name of each group.
        groups: [coordinates, positions], the number of a group, from the outermost; -1: none.
        units: [coordinates, positions], the unit in it.
        kinds: [rows, positions]; only positions whose rows are all equal can change places.

    Raises:
        Irregular: units that do not lie in a product, in whatever order.
    """
    straight = segments_of(families, names, groups, units)
    if straight is not None:
        return straight
    order = product_order(families, groups, units, kinds)
    inside = segments_of(families, names, groups[:, order], units[:, order])
    if inside is None:
        raise Irregular(np.empty(0, dtype=np.int64))
    return ((Factor(len(order), order=tuple(np.argsort(order).tolist()), inside=inside),),)


def segments_of(
    families: Families, names: Sequence[str], groups: Nodes, units: Nodes
) -> tuple[Segment, ...] | None:
    """The segments, or None where units do not lie in the order of a product."""
    segments: list[Segment] = []
    start = 0
    while start < groups.shape[1]:
        found = segment_at(families, names, groups[:, start:], units[:, start:])
        if found is None:
            return None
        length, segment = found
        segments.append(segment)
        start += length
    return tuple(segments)


def segment_at(
    families: Families, names: Sequence[str], groups: Nodes, units: Nodes
) -> tuple[int, Segment] | None:
    """The segment that begins here and its length, or None where units do not lie in order."""
    columns = np.flatnonzero(groups[:, 0] >= 0)
    if not len(columns):
        moved = np.flatnonzero((groups >= 0).any(axis=0))
        length = int(moved[0]) if len(moved) else groups.shape[1]
        return length, (Factor(length),)
    factors = []
    for column in columns.tolist():
        size = families.sizes[groups[column, 0]]
        factors.append((stride_of(units[column], groups[column]), size, column))
    factors.sort(reverse=True)
    length = factors[0][0] * factors[0][1]
    here = slice(0, length)
    if groups.shape[1] < length or ((groups[:, here] >= 0).sum(axis=0) != len(columns)).any():
        return None
    segment: list[Factor] = []
    before = length
    for stride, size, column in factors:
        if before % (stride * size):
            return None
        if before > stride * size:
            segment.append(Factor(before // (stride * size)))
        names_of = regular(groups[column, here], units[column, here], stride, size)
        if names_of is None:
            return None
        segment.append(Factor(size, tuple(names[g] for g in names_of)))
        before = stride
    if before > 1:
        segment.append(Factor(before))
    return length, tuple(segment)


def stride_of(units: Nodes, groups: Nodes) -> int:
    """The number of positions until the unit or group changes."""
    changes = np.flatnonzero((units != units[0]) | (groups != groups[0]))
    return int(changes[0]) if len(changes) else len(units)


def regular(groups: Nodes, units: Nodes, stride: int, size: int) -> list[int] | None:
    """The groups at each place of the factors before, if the units count up in order."""
    place = np.arange(len(units))
    if (units != place // stride % size).any():
        return None
    blocks = groups.reshape(-1, stride * size)
    if (blocks != blocks[:, :1]).any():
        return None
    first: list[int] = blocks[:, 0].tolist()
    return first[:1] if len(set(first)) == 1 else first


def product_order(families: Families, groups: Nodes, units: Nodes, kinds: Nodes) -> Nodes:
    """The positions sorted by kind of unit, then by appearance, then by unit from the outermost.

    Where one unit has several positions of a kind, the first of all units come first.
    """
    depth = np.array([*map(len, families.places), len(groups)])
    colours = np.array([*families.colours, -1])
    outward = np.lexsort((colours[groups], depth[groups]), axis=0)
    groups, units = (np.take_along_axis(array, outward, axis=0) for array in (groups, units))
    position = np.arange(groups.shape[1])
    kind = column_numbers(np.concatenate([colours[groups], kinds]))
    place = column_numbers(np.concatenate([kind[None], groups, units]))
    by_place = np.lexsort((position, place))
    starts = np.flatnonzero(np.diff(place[by_place], prepend=-1))
    appearance = np.empty_like(position)
    appearance[by_place] = position - np.repeat(starts, np.diff([*starts, len(position)]))
    order: Nodes = np.lexsort((*units[::-1], appearance, kind))
    return order


def column_numbers(rows: Nodes) -> Nodes:
    """For each column, the index of its value among the distinct columns."""
    return np.unique(rows, axis=1, return_inverse=True)[1].reshape(-1)
