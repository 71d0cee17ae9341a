"""How the dimensions of one tensor carry units.

A dimension is the row-major product of slots. A label says which node each position of one or
several slots is: a label over the two slots (head, unit) is a table of nodes, [heads, units], whose
units may be permuted differently in each head. A slot may be fixed (its positions differ in kind:
pixels, tokens), neutral (the tensor is constant along it), or free (a parameter that nothing has
used yet; its first use gives it its labels).
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from llfc.matching.symmetry.units import Nodes, Units

# Distinct entries of a constant; of larger ones each dimension by itself tells units apart.
LARGEST_CONSTANT = 1 << 20


class Refusal(Exception):
    """What could not be derived, in words; the walk adds the operator, the node and the module."""


@dataclass(eq=False)
class Label:
    """The node of each position of the slots, an array with one axis for each slot."""

    slots: tuple[int, ...]
    nodes: Nodes


@dataclass(eq=False)
class Space:
    """The slots of one tensor and of all views of it; splitting one splits it in all of them."""

    units: Units
    owner: str
    sizes: list[int] = field(default_factory=list)
    parts: dict[int, tuple[int, int]] = field(default_factory=dict)
    labels: list[Label] = field(default_factory=list)
    fixed: set[int] = field(default_factory=set)
    free: set[int] = field(default_factory=set)

    def slot(self, size: int) -> int:
        """A new slot."""
        self.sizes.append(size)
        return len(self.sizes) - 1

    def leaves(self, slots: Iterable[int]) -> list[int]:
        """The slots, with those that were split replaced by their parts."""
        found: list[int] = []
        for slot in slots:
            if slot in self.parts:
                found += self.leaves(self.parts[slot])
            else:
                found.append(slot)
        return found

    def split(self, slot: int, inner: int) -> None:
        """Split a slot into an outer and an inner one of the given size."""
        outer = self.sizes[slot] // inner
        new = (self.slot(outer), self.slot(inner))
        self.parts[slot] = new
        for kind in (self.fixed, self.free):
            if slot in kind:
                kind.remove(slot)
                kind.update(new)
        for label in self.labels:
            if slot in label.slots:
                at = label.slots.index(slot)
                shape = label.nodes.shape
                label.nodes = label.nodes.reshape(*shape[:at], outer, inner, *shape[at + 1 :])
                label.slots = (*label.slots[:at], *new, *label.slots[at + 1 :])

    def covering(self, slot: int) -> list[Label]:
        """The labels that speak of a slot."""
        return [label for label in self.labels if slot in label.slots]


@dataclass(eq=False)
class Layout:
    """A tensor: its dimensions as slots of a space; slots of size one are left out.

    Attributes:
        space: the slots.
        raw: those of each dimension, as they were when the layout was made.
        value: of a constant, the tensor itself.
    """

    space: Space
    raw: tuple[tuple[int, ...], ...]
    value: Tensor | None = None

    @property
    def dims(self) -> tuple[tuple[int, ...], ...]:
        return tuple(tuple(self.space.leaves(slots)) for slots in self.raw)

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(math.prod(self.space.sizes[s] for s in slots) for slots in self.raw)

    def slots(self) -> list[int]:
        """All slots, in order of the dimensions."""
        return [slot for slots in self.dims for slot in slots]

    def moves(self, dim: int) -> bool:
        """Whether units could move a dimension."""
        return any(self.space.covering(slot) for slot in self.dims[dim])

    def permuted(self, order: Sequence[int]) -> "Layout":
        """The same tensor with its dimensions in another order."""
        return Layout(self.space, tuple(self.raw[dim] for dim in order))


def plain(units: Units, shape: Sequence[int], kind: str, owner: str = "") -> Layout:
    """A tensor all of whose dimensions are "fixed", "neutral" or "free"."""
    space = Space(units, owner)
    raw = tuple((space.slot(size),) if size != 1 else () for size in shape)
    slots = {slot for dim in raw for slot in dim}
    if kind == "fixed":
        space.fixed |= slots
    elif kind == "free":
        space.free |= slots
    return Layout(space, raw)


def with_fixed(layout: Layout, dim: int, sizes: Sequence[int]) -> Layout:
    """With new fixed dimensions in front of dimension `dim`."""
    new: list[tuple[int, ...]] = []
    for size in sizes:
        slot = layout.space.slot(int(size))
        layout.space.fixed.add(slot)
        new.append((slot,) if size != 1 else ())
    return Layout(layout.space, (*layout.raw[:dim], *new, *layout.raw[dim:]))


def constant(units: Units, tensor: Tensor) -> Layout:
    """A constant is neutral along the dimensions along which it does not change."""
    layout = plain(units, tensor.shape, "neutral")
    layout.value = tensor
    for dim, slots in enumerate(layout.raw):
        if slots and not bool((tensor == tensor[(slice(None),) * dim + (slice(1),)]).all()):
            layout.space.fixed |= set(slots)
    return layout


def by_kind(layout: Layout, dims: Sequence[int], owner: str) -> Layout:
    """A constant whose positions along some dimensions move wherever that leaves it as it is.

    Positions of equal entries are of one kind and change places freely. Kinds of two dimensions
    change places together, if the entries where they meet stay the same: those of an identity.
    """
    assert layout.value is not None
    units, count = layout.space.units, len(dims)
    value = layout.value.movedim(tuple(dims), tuple(range(count))).cpu()
    value = torch.view_as_real(value) if value.is_complex() else value
    rows = value.reshape(math.prod(value.shape[:count]), -1)
    entries = torch.unique(rows, dim=0, return_inverse=True)[1].reshape(value.shape[:count]).numpy()
    found = plain(units, layout.shape, "neutral", owner)
    fixed = {d for d, slots in enumerate(layout.dims) if layout.space.fixed & {*slots}}
    found.space.fixed = {slot for d in fixed - {*dims} for slot in found.raw[d]}
    sides = [
        np.unique(
            np.moveaxis(entries, k, 0).reshape(size, -1),
            axis=0,
            return_index=True,
            return_inverse=True,
        )[1:]
        for k, size in enumerate(entries.shape)
    ]
    met = entries[np.ix_(*(first for first, _ in sides))]
    joint = count > 1 and met.size <= LARGEST_CONSTANT
    kinds = [units.fresh((n,), owner) if joint else units.still(n) for n in met.shape]
    if joint:
        nodes = units.fresh(met.shape, owner)
        units.relate(nodes, units.still(int(met.max()) + 1)[met])
        for k, kind in enumerate(kinds):
            units.relate(nodes, spread(kind, (k,), range(count)))
    for dim, kind, (_, of) in zip(dims, kinds, sides, strict=True):
        nodes = units.fresh((len(of),), owner)
        units.relate(nodes, kind[of.reshape(-1)])
        found.space.labels.append(Label(found.raw[dim], nodes))
    return found


def project(units: Units, label: Label, keep: Iterable[int], owner: str) -> Label:
    """The nodes of some slots of a label alone: new ones, to which the label's nodes belong."""
    kept = tuple(slot for slot in label.slots if slot in set(keep))
    shape = tuple(n for n, s in zip(label.nodes.shape, label.slots, strict=True) if s in kept)
    parents = units.fresh(shape, owner)
    units.relate(label.nodes, spread(parents, kept, label.slots))
    return Label(kept, parents)


def spread(nodes: Nodes, slots: Sequence[int], over: Sequence[int]) -> Nodes:
    """An array over `slots`, arranged to broadcast over the slots `over`."""
    order = [slots.index(slot) for slot in over if slot in slots]
    shape = [nodes.shape[slots.index(slot)] if slot in slots else 1 for slot in over]
    return nodes.transpose(order).reshape(shape)


def pin(layout: Layout, slots: Iterable[int]) -> None:
    """Make slots fixed: nothing that speaks of them may move them."""
    space = layout.space
    for slot in slots:
        if slot in space.fixed:
            continue
        space.free.discard(slot)
        space.fixed.add(slot)
        for label in space.covering(slot):
            hold(space.units, label, slot)


def hold(units: Units, label: Label, slot: int) -> None:
    """The positions of one slot of a label stay."""
    if len(label.slots) == 1:
        units.freeze(label.nodes)
    else:
        positions = units.still(label.nodes.shape[label.slots.index(slot)])
        units.relate(label.nodes, spread(positions, (slot,), label.slots))


def settle(layout: Layout) -> Layout:
    """Give a parameter's free dimensions nodes of their own, one set for each dimension."""
    space = layout.space
    for slots in layout.dims:
        free = tuple(slot for slot in slots if slot in space.free)
        if free:
            shape = tuple(space.sizes[slot] for slot in free)
            space.labels.append(Label(free, space.units.fresh(shape, space.owner)))
            space.free -= set(free)
    return layout


def merged(layout: Layout, dim: int) -> Layout:
    """The tensor with one slot for dimension `dim`, in a space of its own.

    Where several labels, or a label and fixed slots, share the dimension, its positions become new
    nodes that belong to them all.
    """
    slots = settle(layout).dims[dim]
    if len(slots) <= 1:
        return layout
    old = layout.space
    space = Space(old.units, old.owner)
    new = {s: space.slot(old.sizes[s]) for s in layout.slots() if s not in slots}
    whole = space.slot(math.prod(old.sizes[s] for s in slots))
    space.fixed = {new[s] for s in old.fixed if s in new}
    raw = tuple(
        (whole,) if d == dim else tuple(new[s] for s in other)
        for d, other in enumerate(layout.dims)
    )
    touching = [label for label in old.labels if set(label.slots) & set(slots)]
    for label in old.labels:
        if label not in touching:
            space.labels.append(Label(tuple(new[s] for s in label.slots), label.nodes))
    if touching:
        over, nodes = joint(layout, touching, slots)
        rest = over[len(slots) :]
        nodes = nodes.reshape(-1, *nodes.shape[len(slots) :])
        space.labels.append(Label((whole, *(new[s] for s in rest)), nodes))
    elif any(slot in old.fixed for slot in slots):
        space.fixed.add(whole)
    return Layout(space, raw)


def joint(layout: Layout, labels: list[Label], slots: Sequence[int]) -> tuple[list[int], Nodes]:
    """One array of nodes over `slots` and all other slots of the labels, in that order."""
    space = layout.space
    rest = dict.fromkeys(s for label in labels for s in label.slots if s not in slots)
    over = [*slots, *rest]
    if len(labels) == 1 and set(labels[0].slots) == set(over):
        return over, spread(labels[0].nodes, labels[0].slots, over)
    shape = tuple(space.sizes[s] for s in over)
    if math.prod(shape) > 1 << 22:
        raise Refusal(f"a product of units too large to follow: {list(shape)}")
    nodes = space.units.fresh(shape, space.owner)
    for label in labels:
        space.units.relate(nodes, spread(label.nodes, label.slots, over))
    covered = {s for label in labels for s in label.slots}
    for slot in over:
        if slot not in covered:  # fixed or neutral: its positions stay
            at = space.units.still(space.sizes[slot])
            space.units.relate(nodes, spread(at, (slot,), over))
    return over, np.asarray(nodes)
