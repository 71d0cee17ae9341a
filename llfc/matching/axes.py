"""How an axis of a tensor factors into groups of units.

An axis is the concatenation of segments, a segment the row-major product of factors.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Factor:
    """A part of an axis: `size` positions, and what moves them.

    Attributes:
        groups: none: nothing moves them. One: that group does, the same everywhere. As many as
            the factors before it in the segment have positions (their row-major product): nested,
            one group for each such place, as the units inside attention heads are. The group is
            that of the new place: `new[h, u] = old[p_heads[h], p_{g_h}[u]]`.
        units: empty, or the factor is scattered: position k is unit `units[k]` of `groups[k]`
            (the group "" is for a position that stays). Used where the units of one group do not
            lie side by side, as after a channel shuffle or a zero-padded shortcut.
    """

    size: int
    groups: tuple[str, ...] = ()
    units: tuple[int, ...] = ()


Segment = tuple[Factor, ...]  # a contiguous block of an axis: the row-major product of its factors
Axis = tuple[Segment, ...]  # the concatenation of its segments


@dataclass(frozen=True)
class Feature:
    """A module whose output, a single tensor, carries groups of units along dimension `dim`."""

    module: str
    dim: int
    axis: Axis


def segment_size(segment: Segment) -> int:
    """How many positions a segment has."""
    return math.prod(factor.size for factor in segment)


def axis_size(axis: Axis) -> int:
    """How many positions an axis has."""
    return sum(map(segment_size, axis))


def axis_groups(axis: Axis) -> tuple[str, ...]:
    """The groups that move an axis, each once, in order."""
    names = (g for segment in axis for factor in segment for g in factor.groups)
    return tuple(dict.fromkeys(g for g in names if g))


def scattered_index(perm: Mapping[str, Tensor], factor: Factor) -> Tensor:
    """The gather index of a scattered factor: k-th appearance of a unit for k-th appearance."""
    seen: dict[tuple[str, int], int] = {}
    keys: list[tuple[str, int, int]] = []
    for group, unit in zip(factor.groups, factor.units, strict=True):
        count = seen[group, unit] = seen.get((group, unit), -1) + 1
        keys.append((group, unit, count))
    place = {key: position for position, key in enumerate(keys)}
    index = {group: perm[group].tolist() for group in set(factor.groups) - {""}}
    found = [place[g, index[g][u] if g else u, count] for g, u, count in keys]
    return torch.tensor(found, dtype=torch.int64)


def segment_index(perm: Mapping[str, Tensor], segment: Sequence[Factor]) -> Tensor:
    """For each position of a segment, the old position that comes to stand there."""
    old_P = torch.zeros(1, dtype=torch.int64)
    for factor in segment:
        if factor.units:
            inner = scattered_index(perm, factor)
        elif not factor.groups:
            inner = torch.arange(factor.size)
        elif len(factor.groups) == 1:
            inner = perm[factor.groups[0]]
        else:
            inner = torch.stack([perm[group] for group in factor.groups])
        old_P = (old_P[:, None] * factor.size + inner).flatten()
    return old_P


def axis_index(perm: Mapping[str, Tensor], axis: Axis) -> Tensor:
    """For each position of an axis, the old position that comes to stand there; [size]."""
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
        if factor.units or len(factor.groups) > 1:
            rows = torch.tensor([name == group for name in factor.groups])
            mine_P = rows[at_P] if factor.units else rows[place_P // (stride * factor.size)]
            at_P = torch.tensor(factor.units)[at_P] if factor.units else at_P
            unit_P = torch.where(mine_P, at_P, unit_P)
        else:
            unit_P = at_P
    return unit_P


def axis_positions(axis: Axis, group: str, units: int) -> Tensor:
    """Where the units of a group lie on an axis while everything is in place.

    Returns:
        [units, repeats]: row u holds the positions of unit u, in one order for all u; repeats is
        0 if the group does not move the axis.
    """
    unit_P = torch.cat([torch.empty(0).long(), *(units_of_segment(s, group) for s in axis)])
    found = (unit_P >= 0).nonzero().flatten()
    return found[unit_P[found].argsort(stable=True)].reshape(units, -1)
