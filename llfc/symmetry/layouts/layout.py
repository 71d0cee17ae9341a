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
from typing import Any

import numpy as np
from torch import Tensor

from llfc.symmetry.layouts.units import SHOWN, Nodes, Units

Value = Any  # a Layout, a list of them, or a plain argument


class Refusal(Exception):
    """No layout could be derived: the reason; the walk adds operator, node and module."""


@dataclass(eq=False)
class Label:
    """The node of each position of the slots, an array with one axis for each slot."""

    slots: tuple[int, ...]
    nodes: Nodes


@dataclass(eq=False)
class Space:
    """The slots of one tensor and of all views of it; splitting one splits it in all of them.

    Attributes:
        units: where the facts are gathered.
        owner: what new units are named after.
        sizes: of each slot.
        parts: the two slots that a slot was split into.
        labels: which node each position is.
        fixed: slots that do not move, each with the reason of the rule that fixed it, or SHOWN.
        free: slots that nothing has used yet.
    """

    units: Units
    owner: str
    sizes: list[int] = field(default_factory=list)
    parts: dict[int, tuple[int, int]] = field(default_factory=dict)
    labels: list[Label] = field(default_factory=list)
    fixed: dict[int, str] = field(default_factory=dict)
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
        if slot in self.fixed:
            self.fixed |= dict.fromkeys(new, self.fixed.pop(slot))
        if slot in self.free:
            self.free.remove(slot)
            self.free.update(new)
        for label in self.labels:
            if slot in label.slots:
                at = label.slots.index(slot)
                shape = label.nodes.shape
                label.nodes = label.nodes.reshape(*shape[:at], outer, inner, *shape[at + 1 :])
                label.slots = (*label.slots[:at], *new, *label.slots[at + 1 :])

    def why(self, slots: Iterable[int]) -> str:
        """Why slots do not move: SHOWN if the function itself shows it of one of them."""
        reasons = [self.fixed[slot] for slot in slots if slot in self.fixed]
        return SHOWN if SHOWN in reasons else next(iter(reasons), SHOWN)

    def covering(self, slot: int) -> list[Label]:
        """The labels over a slot, alone or together with others."""
        return [label for label in self.labels if slot in label.slots]


@dataclass(frozen=True)
class Pick:
    """An axis of which each place of a tensor has one position: in `w[index]`, the rows of w.

    Hidden units may be permuted differently in each row, and a place has those of its row. So the
    rows stay in the tensor's space, as slots of no dimension, and labels speak of them.

    Attributes:
        index: equal only for the same index.
        dims: the tensor's dimensions that are those of the index.
        slots: the axis.
    """

    index: str
    dims: tuple[int, ...]
    slots: tuple[int, ...]


@dataclass(eq=False)
class Layout:
    """A tensor: its dimensions as slots of a space; slots of size one are left out.

    Attributes:
        space: the slots.
        raw: those of each dimension, as they were when the layout was made.
        value: of a constant, the tensor itself.
        into: of whole numbers that are positions on an axis, as an argmax returns them: the node
            of each position, [size]; or, where that axis is fixed, the reason why.
        picks: axes of which each place has one position; most rules know of none: see `tied`.
    """

    space: Space
    raw: tuple[tuple[int, ...], ...]
    value: Tensor | None = None
    into: Nodes | str | None = None
    picks: tuple[Pick, ...] = ()

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
        """Whether some permutation of units could permute a dimension."""
        return any(self.space.covering(slot) for slot in self.dims[dim])

    def permuted(self, order: Sequence[int]) -> "Layout":
        """The same tensor with its dimensions in another order."""
        to = [order.index(dim) for dim in range(len(order))]
        return self.arranged([self.raw[dim] for dim in order], to)

    def arranged(self, raw: Sequence[tuple[int, ...]], to: Sequence[int]) -> "Layout":
        """The tensor with other dimensions, where dimension `d` became dimension `to[d]`."""
        picks = (Pick(p.index, tuple(to[d] for d in p.dims), p.slots) for p in self.picks)
        return Layout(self.space, tuple(raw), picks=tuple(picks))


def new_layout(
    units: Units, shape: Sequence[int], kind: str, owner: str = "", why: str = SHOWN
) -> Layout:
    """A tensor all of whose dimensions are "fixed", with a reason, "neutral" or "free"."""
    space = Space(units, owner)
    raw = tuple((space.slot(size),) if size != 1 else () for size in shape)
    slots = {slot for dim in raw for slot in dim}
    if kind == "fixed":
        space.fixed |= dict.fromkeys(slots, why)
    elif kind == "free":
        space.free |= slots
    return Layout(space, raw)


def with_fixed(layout: Layout, dim: int, sizes: Sequence[int], whys: Sequence[str]) -> Layout:
    """With new fixed dimensions, each with the reason why, in front of dimension `dim`."""
    new: list[tuple[int, ...]] = []
    for size, why in zip(sizes, whys, strict=True):
        slot = layout.space.slot(int(size))
        layout.space.fixed[slot] = why
        new.append((slot,) if size != 1 else ())
    return Layout(layout.space, (*layout.raw[:dim], *new, *layout.raw[dim:]))


def copied(layout: Layout) -> Layout:
    """A copy with its own slots, to which facts can be added that do not hold for the original."""
    settle(layout)
    old, copy = layout.space, Space(layout.space.units, layout.space.owner)
    new = {s: copy.slot(old.sizes[s]) for s in layout.slots()}
    copy.fixed = {new[s]: why for s, why in old.fixed.items() if s in new}
    copy.labels = [Label(tuple(new[s] for s in lb.slots), lb.nodes) for lb in old.labels]
    return Layout(copy, tuple(tuple(new[s] for s in own) for own in layout.dims))


def project(units: Units, label: Label, keep: Iterable[int], owner: str) -> Label:
    """The nodes of some slots of a label alone: new ones, to which the label's nodes belong."""
    kept = tuple(slot for slot in label.slots if slot in set(keep))
    shape = tuple(n for n, s in zip(label.nodes.shape, label.slots, strict=True) if s in kept)
    parents = units.fresh(shape, owner)
    units.relate(label.nodes, spread(parents, kept, label.slots))
    return Label(kept, parents)


def spread(nodes: Nodes, slots: Sequence[int], over: Sequence[int]) -> Nodes:
    """An array with an axis per slot of `slots`, reshaped to broadcast against the slots `over`."""
    order = [slots.index(slot) for slot in over if slot in slots]
    shape = [nodes.shape[slots.index(slot)] if slot in slots else 1 for slot in over]
    return nodes.transpose(order).reshape(shape)


def fix(layout: Layout, slots: Iterable[int], why: str) -> str:
    """Make slots fixed: nothing that speaks of them may move them.

    Args:
        layout: a tensor.
        slots: some of its slots.
        why: the reason in words, which `PermutationSpec.frozen` repeats if units would move
            without it; or SHOWN, where the function itself tells the positions apart.

    Returns:
        Why the slots do not move: the reason given, or the one that fixed them before.
    """
    space, slots = layout.space, [*slots]
    before = [slot for slot in slots if slot in space.fixed]
    for slot in slots:
        if slot in space.fixed:
            continue
        space.free.discard(slot)
        space.fixed[slot] = why
        for label in space.covering(slot):
            fix_slot(space.units, label, slot, why)
    return space.why(before) if before else why


def fix_slot(units: Units, label: Label, slot: int, why: str) -> None:
    """The positions of one slot of a label stay; `why` as in `fix`."""
    if len(label.slots) == 1:
        units.fix(label.nodes, why)
    else:
        positions = units.fixed_axis(label.nodes.shape[label.slots.index(slot)])
        units.fix_places(label.nodes, spread(positions, (slot,), label.slots), why)


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


def layouts_in(value: Value) -> list[Layout]:
    """The layouts in nested lists, in order."""
    if isinstance(value, Layout):
        return [value]
    if isinstance(value, list | tuple):
        return [layout for part in value for layout in layouts_in(part)]
    return []


def is_fixed(layout: Layout) -> bool:
    """Whether no permutation of units moves any entry of a tensor."""
    named = isinstance(layout.into, np.ndarray)
    return not layout.space.labels and not layout.space.free and not named
