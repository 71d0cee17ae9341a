"""Where groups lie: the rows of a tensor that hold a group's units, and the power of its map there.

A group's map acts on its rows [units, rest] at each of its places, and the places of one group
share no numbers with one another unless it lies on two sides of one tensor.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from llfc.symmetry.spec import PermutationSpec
from llfc.symmetry.spec.axes import Axis, Segment, arrangement, plain_segments, segment_size
from llfc.symmetry.spec.kinds import Powers


@dataclass(frozen=True, eq=False)
class Place:
    """A group on one dimension of a tensor, by one factor of one segment of its axis.

    Attributes:
        tensor: its name.
        dim: the dimension, of the tensor folded as the spec says.
        power: of the group's map there.
        positions: on the dimension, int64 [units, repeats].
        others: the groups whose maps move what a row holds: those of the other dimensions, and of
            other factors of the segment.
    """

    tensor: str
    dim: int
    power: int
    positions: Tensor
    others: frozenset[str]

    @cached_property
    def _start(self) -> int | None:
        """Where the positions begin, if they are one run; then rows are a view."""
        flat, first = self.positions.flatten(), int(self.positions[0, 0])
        return first if torch.equal(flat, first + torch.arange(len(flat))) else None

    def _part(self, tensor: Tensor) -> Tensor:
        """The rows as they lie, [units, ...]; a view if the positions are one run."""
        if self._start is None:
            part = tensor.index_select(self.dim, self.positions.flatten().to(tensor.device))
        else:
            part = tensor.narrow(self.dim, self._start, self.positions.numel())
        shape = (*part.shape[: self.dim], *self.positions.shape, *part.shape[self.dim + 1 :])
        return part.reshape(shape).movedim(self.dim, 0)

    def rows(self, tensor: Tensor) -> Tensor:
        """What belongs to each unit, [units, rest]; a view if it can be."""
        part = self._part(tensor)
        return part.reshape(len(part), -1)

    def put(self, tensor: Tensor, rows: Tensor) -> None:
        """Write other rows, [units, rest], into the tensor."""
        part = self._part(tensor)
        rows = rows.reshape(part.shape)
        if self._start is not None:
            part.copy_(rows)
            return
        flat = rows.movedim(0, self.dim).flatten(self.dim, self.dim + 1)
        tensor.index_copy_(self.dim, self.positions.flatten().to(tensor.device), flat)


class Places:
    """All places of the groups of a spec on some of its tensors.

    Attributes:
        spec: the symmetry.
        of: group -> its places, in one order for all groups of a family.
        top: groups that are nested in no other, in forward order.
    """

    def __init__(self, spec: PermutationSpec, tensors: Iterable[str]) -> None:
        self.spec = spec
        self.of: dict[str, list[Place]] = defaultdict(list)
        nested: dict[str, tuple[str, int]] = {}
        for name in tensors:
            axes, powers = spec.axes[name], spec.kinds.powers[name]
            for dim, axis in enumerate(axes):
                beside = frozenset(_groups(axes[:dim] + axes[dim + 1 :]))
                for group, power, positions, others in _on_axis(axis, powers[dim], nested):
                    place = Place(name, dim, power, positions, beside | others)
                    self.of[group].append(place)
        self.top = tuple(g for g in spec.groups if g in self.of and g not in nested)
        inside: dict[str, dict[int, list[str]]] = defaultdict(lambda: defaultdict(list))
        for group, (root, unit) in nested.items():
            inside[root][unit].append(group)
        self._inside = {
            root: [units[unit] for unit in range(spec.groups[root])]
            for root, units in inside.items()
        }

    def families(self, root: str) -> list[tuple[str, ...]]:
        """What is nested in the units of a group: families of groups, of one for each unit."""
        return list(zip(*self._inside.get(root, ()), strict=True))

    def nested(self, root: str) -> tuple[str, ...]:
        """The groups nested in a group, those of one unit after those of the other."""
        return tuple(name for names in self._inside.get(root, ()) for name in names)

    def tensors(self, groups: Iterable[str]) -> list[str]:
        """The tensors on which any of the groups lie."""
        return list(dict.fromkeys(place.tensor for group in groups for place in self.of[group]))

    def bends(self, group: str) -> bool:
        """Whether the group lies on two sides of one tensor."""
        return any(group in place.others for place in self.of[group])


def _groups(axes: Iterable[Axis]) -> Iterator[str]:
    for axis in axes:
        for segment in plain_segments(axis):
            for factor in segment:
                yield from factor.groups


def _on_axis(
    axis: Axis, powers: Powers, nested: dict[str, tuple[str, int]]
) -> Iterator[tuple[str, int, Tensor, frozenset[str]]]:
    """Each group on an axis: its power, its positions, and the other groups of the segment.

    Notes in `nested` which unit of which other group each nested group belongs to.
    """
    arranged = arrangement(axis)
    place_P = torch.tensor(arranged.order).argsort() if arranged else None
    start = 0
    for segment, own in zip(plain_segments(axis), powers, strict=True):
        for depth, (factor, power) in enumerate(zip(segment, own, strict=True)):
            for group in dict.fromkeys(factor.groups):
                found = start + _positions(segment, depth, group)
                others = {g for k, f in enumerate(segment) if k != depth for g in f.groups}
                if len(factor.groups) > 1:
                    root = _root(segment, depth, group)
                    if root is not None:
                        nested.setdefault(group, root)
                        others -= {root[0]}
                else:
                    others -= {
                        g for f in segment[depth + 1 :] if len(f.groups) > 1 for g in f.groups
                    }
                yield group, power, found if place_P is None else place_P[found], frozenset(others)
        start += segment_size(segment)


def _positions(segment: Segment, depth: int, group: str) -> Tensor:
    """Where a group's units lie on a segment, by its factor at `depth`; [units, repeats]."""
    factor = segment[depth]
    before = math.prod(other.size for other in segment[:depth])
    at = torch.arange(segment_size(segment)).reshape(before, factor.size, -1)
    if len(factor.groups) > 1:
        at = at[[name == group for name in factor.groups]]
    return at.transpose(0, 1).reshape(factor.size, -1)


def _root(segment: Segment, depth: int, group: str) -> tuple[str, int] | None:
    """The group, and its unit, in which a group of the factor at `depth` is nested."""
    outer = [k for k, factor in enumerate(segment[:depth]) if len(factor.groups) == 1]
    if not outer:
        return None
    sizes = [factor.size for factor in segment[:depth]]
    first = segment[depth].groups.index(group)
    coordinates = torch.unravel_index(torch.tensor(first), tuple(sizes))
    return segment[outer[-1]].groups[0], int(coordinates[outer[-1]])
