"""From the layout of a tensor to its axes.

Example: the 2 channels of a convolution over 3 pixels are flattened, and a linear layer reads them.

>>> import torch
>>> from torch import nn
>>> from llfc.symmetry.derive import Derivation
>>> from llfc.symmetry.graph.export import exported
>>> from llfc.symmetry.groups.families import families
>>> from llfc.symmetry.groups.naming import group_names
>>> from llfc.symmetry.groups.quotient import quotient
>>> model = nn.Sequential(nn.Conv1d(1, 2, 3, padding=1), nn.Flatten(), nn.Linear(6, 4))
>>> derivation = Derivation(model, strict=True)
>>> walk = derivation.walk(exported(model, [torch.zeros(1, 1, 3)], training=False))
>>> found = families(quotient(derivation.units, []))
>>> placing = Placing(found, group_names(derivation.units, found))

The second dimension of the linear layer's weight is two slots, channel and pixel. Every position
has the coordinates (group, unit) of its channel:

>>> weight = derivation.layouts["2.weight"]
>>> [weight.space.sizes[slot] for slot in weight.dims[1]]
[2, 3]
>>> groups, units, _ = placing.coordinates(weight, weight.dims[1])
>>> groups.tolist(), units.tolist()
([[0, 0, 0, 0, 0, 0]], [[0, 0, 0, 1, 1, 1]])

That is one segment of two factors: the channels, moved by the group, and in each 3 pixels that
nothing moves.

>>> (segment,) = placing.axes(weight)[1]
>>> [(factor.size, factor.groups) for factor in segment]
[(2, ('0',)), (3, ())]
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from llfc.symmetry.groups.families import Families, Irregular
from llfc.symmetry.groups.parsing import parse_axis
from llfc.symmetry.layouts.layout import Layout, spread
from llfc.symmetry.layouts.units import Nodes
from llfc.symmetry.spec.axes import Axis, axis_groups


@dataclass
class Placing:
    """Converts layouts to axes, given the groups and their names."""

    families: Families
    names: list[str]

    def all_axes(
        self, layouts: Mapping[str, Layout]
    ) -> tuple[dict[str, tuple[Axis, ...]], dict[str, Nodes]]:
        """The axes of all tensors; and tensors that have none, with the classes to fix.

        Of the latter only some: no two of them with common groups, as one may be why the other is.
        """
        axes: dict[str, tuple[Axis, ...]] = {}
        without: dict[str, Nodes] = {}
        touched: set[int] = set()
        for name, layout in layouts.items():
            try:
                axes[name] = self.axes(layout)
            except Irregular as irregular:
                roots = set(self.families.coordinates(irregular.classes)[0][0].tolist()) - {-1}
                if not roots & touched:
                    without[name] = irregular.classes
                touched |= roots
        return axes, without

    def axes(self, layout: Layout) -> tuple[Axis, ...]:
        """An axis for each dimension; dimensions that depend on one another share one.

        Raises:
            Irregular: units that no axis can say; carries the classes to fix.
        """
        shape, found, dim = layout.shape, [], 0
        while dim < len(shape):
            end = self.reach(layout, dim)
            run = range(dim, end + 1)
            groups, units, kinds = self.coordinates(
                layout, [s for d in run for s in layout.dims[d]]
            )
            apart = separated(groups, units, kinds, [shape[d] for d in run])
            try:
                found += [parse_axis(self.families, self.names, *each) for each in apart]
            except Irregular:
                raise Irregular(self.classes(layout, run)) from None
            dim = end + 1
        return tuple(found)

    def reach(self, layout: Layout, dim: int) -> int:
        """The last dimension that a label ties to this one, directly or through others."""
        end = at = dim
        while at <= end:
            for slot in layout.dims[at]:
                for label in layout.space.covering(slot):
                    holders = [
                        d for d, own in enumerate(layout.dims) if set(own) & set(label.slots)
                    ]
                    end = max(end, *holders)
            at += 1
        return end

    def coordinates(self, layout: Layout, slots: Sequence[int]) -> tuple[Nodes, Nodes, Nodes]:
        """Groups and units of each position of the slots' product, [coordinates, positions].

        And their kinds, [labels, positions]: only positions of one kind can change places.
        """
        space = layout.space
        shape = [space.sizes[s] for s in slots]
        total = math.prod(shape)
        found: dict[bytes, tuple[Nodes, Nodes]] = {}
        kinds: list[Nodes] = []
        for label in space.labels:
            if not set(label.slots) & set(slots):
                continue
            nodes = np.broadcast_to(spread(label.nodes, label.slots, slots), shape)
            classes = self.families.quotient.of[nodes.reshape(-1)]
            groups, units = self.families.coordinates(classes)
            kinds.append(
                np.where((groups >= 0).any(axis=0), self.families.quotient.colour[classes], -1)
            )
            for g, u in zip(groups, units, strict=True):
                found.setdefault(g.tobytes() + u.tobytes(), (g, u))
        if not found:
            empty = np.empty((0, total), dtype=np.int64)
            return empty, empty, empty
        return (
            np.stack([g for g, _ in found.values()]),
            np.stack([u for _, u in found.values()]),
            np.stack(kinds),
        )

    def groups_of(self, layout: Layout) -> set[str]:
        """The groups whose permutations move some entry of a tensor."""
        groups, _, _ = self.coordinates(layout, layout.slots())
        return {self.names[group] for group in np.unique(groups).tolist() if group >= 0}

    def classes(self, layout: Layout, dims: Sequence[int]) -> Nodes:
        """All classes of units on some dimensions."""
        slots = {s for d in dims for s in layout.dims[d]}
        labels = [label for label in layout.space.labels if set(label.slots) & slots]
        return np.unique(
            np.concatenate([self.families.quotient.of[lb.nodes.reshape(-1)] for lb in labels])
        )

    def carried(self, layout: Layout) -> list[tuple[tuple[int, ...], Axis | None]]:
        """The dimensions of a value that units move, and how they are laid out.

        Dimensions that depend on one another are together: read in row-major order, they have one
        axis; None where no axis says how units lie on them, as where each place has those of the
        row that was looked up for it.
        """
        shape, labels = layout.shape, layout.space.labels
        picked = {s for pick in layout.picks for s in layout.space.leaves(pick.slots)}
        found: list[tuple[tuple[int, ...], Axis | None]] = []
        waiting = list(range(len(shape)))
        while waiting:
            dims = self.linked(layout, waiting[0])
            waiting = [dim for dim in waiting if dim not in dims]
            slots = [slot for dim in dims for slot in layout.dims[dim]]
            spoken = {slot for label in labels if {*slots} & {*label.slots} for slot in label.slots}
            rows = sorted(picked & spoken)
            coordinates = self.coordinates(layout, [*rows, *slots])
            count = math.prod(layout.space.sizes[slot] for slot in rows)
            tables = [t.reshape(len(t), count, t.shape[1] // count) for t in coordinates]
            if any(varies(table, 1) for table in tables[:2]):  # other units in other rows
                found.append((dims, None))
                continue
            groups, units, kinds = (table[:, 0] for table in tables)
            apart = separated(groups, units, kinds, [shape[dim] for dim in dims])
            runs = [(dim,) for dim in dims] if len(apart) > 1 else [dims]
            for run, each in zip(runs, apart, strict=True):
                try:
                    axis = parse_axis(self.families, self.names, *each)
                except Irregular:
                    found.append((run, None))
                    continue
                if axis_groups(axis):
                    found.append((run, axis))
        return found

    def linked(self, layout: Layout, dim: int) -> tuple[int, ...]:
        """The dimensions that labels tie to this one, directly or through others; itself too."""
        found = {dim}
        while True:
            slots = {slot for d in found for slot in layout.dims[d]}
            labels = [label for label in layout.space.labels if slots & {*label.slots}]
            tied = slots.union(*(label.slots for label in labels))
            more = {d for d, own in enumerate(layout.dims) if tied & {*own}}
            if more <= found:
                return tuple(sorted(found))
            found |= more


def separated(
    groups: Nodes, units: Nodes, kinds: Nodes, shape: Sequence[int]
) -> list[tuple[Nodes, Nodes, Nodes]]:
    """The arrays per dimension if no coordinate depends on two, otherwise one for all of them."""
    if len(shape) == 1:
        return [(groups, units, kinds)]
    apart: list[tuple[list[Nodes], list[Nodes]]] = [([], []) for _ in shape]
    for g, u in zip(groups, units, strict=True):
        tables = g.reshape(shape), u.reshape(shape)
        varying = [d for d in range(len(shape)) if varies(tables[0], d) or varies(tables[1], d)]
        if len(varying) > 1:
            return [(groups, units, kinds)]
        dim = varying[0] if varying else 0
        index = tuple(slice(None) if d == dim else 0 for d in range(len(shape)))
        apart[dim][0].append(tables[0][index])
        apart[dim][1].append(tables[1][index])
    turned: Nodes = kinds.reshape(-1, *shape)
    return [
        (
            np.array(g).reshape(len(g), size),
            np.array(u).reshape(len(u), size),
            turned.swapaxes(dim + 1, -1).reshape(-1, size),
        )
        for dim, ((g, u), size) in enumerate(zip(apart, shape, strict=True))
    ]


def varies(table: Nodes, dim: int) -> bool:
    """Whether an array is not constant along a dimension."""
    return bool((table != table.take([0], axis=dim)).any())
