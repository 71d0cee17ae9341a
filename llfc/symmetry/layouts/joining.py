"""Concatenation along a dimension, and stacking along a new one."""

from collections.abc import Sequence

import numpy as np

from llfc.symmetry.layouts.combine import combine
from llfc.symmetry.layouts.cuts import align
from llfc.symmetry.layouts.layout import Label, Layout, Space, fix_slot, project, settle, spread
from llfc.symmetry.layouts.merging import merged
from llfc.symmetry.layouts.units import SHOWN, Nodes, Units


def stacked(units: Units, parts: Sequence[Layout], dim: int) -> Layout | None:
    """Along a new dimension, with units of its own in each part; None if the parts are not alike.

    What is stacked may be taken apart again (the states of the layers of an LSTM), so that only
    later uses tie the units of different parts.
    """
    layouts = [settle(part) for part in parts]
    for d in range(len(layouts[0].raw)):
        if all(part.dims[d] for part in layouts):
            align(layouts, [(i, d) for i in range(len(layouts))])
    (first, *_), (fixed, *others) = layouts, [fixed_places(part) for part in layouts]
    found = [labels_by_place(part) for part in layouts]
    alike = all(labels.keys() == found[0].keys() for labels in found)
    if len(parts) < 2 or not alike or any(other.keys() != fixed.keys() for other in others):
        return None
    space = Space(units, first.space.owner)
    new = [space.slot(first.space.sizes[slot]) for slot in first.slots()]
    part = space.slot(len(parts))
    space.fixed = {part: SHOWN} | {new[place]: why for place, why in fixed.items()}
    for places in found[0]:
        nodes = np.stack([labels[places] for labels in found])
        label = Label((part, *(new[place] for place in places)), nodes)
        if (nodes == nodes[:1]).all():
            label = Label(label.slots[1:], nodes[0])
        else:
            fix_slot(units, label, part, SHOWN)
        space.labels.append(label)
    left = iter(new)
    raw = [tuple(next(left) for _ in own) for own in first.dims]
    return Layout(space, (*raw[:dim], (part,), *raw[dim:]))


def labels_by_place(layout: Layout) -> dict[tuple[int, ...], Nodes]:
    """The labels of a tensor by where their slots stand among its slots."""
    slots = layout.slots()
    return {tuple(map(slots.index, lb.slots)): lb.nodes for lb in layout.space.labels}


def fixed_places(layout: Layout) -> dict[int, str]:
    """Which of a tensor's slots are fixed, and why."""
    fixed = layout.space.fixed
    return {place: fixed[slot] for place, slot in enumerate(layout.slots()) if slot in fixed}


def join(units: Units, parts: Sequence[Layout], dim: int, owner: str) -> Layout:
    """The concatenation along a dimension; the other dimensions are tied."""
    sizes = [part.shape[dim] for part in parts]
    wholes = [merged(settle(part), dim) for part in parts]
    names = [str(d) for d in range(len(wholes[0].raw))]
    common = combine(
        units,
        [(whole, [*names[:dim], f"part {i}", *names[dim + 1 :]]) for i, whole in enumerate(wholes)],
        [*names[:dim], *(f"part {i}" for i in range(len(wholes))), *names[dim + 1 :]],
        owner,
    )
    return joined(common, dim, sizes)


def joined(common: Layout, dim: int, sizes: Sequence[int]) -> Layout:
    """Put the neighbouring dimensions from `dim` on, one for each part, end to end."""
    old = common.space
    count = len(sizes)
    ends = [common.dims[dim + i] for i in range(count)]
    inside = {slot for end in ends for slot in end}
    space = Space(old.units, old.owner)
    rest = [s for s in common.slots() if s not in inside]
    new = {s: space.slot(old.sizes[s]) for s in rest}
    whole = space.slot(sum(sizes))
    space.fixed = {new[s]: why for s, why in old.fixed.items() if s in new}
    touching = [label for label in old.labels if set(label.slots) & inside]
    for label in old.labels:
        if label not in touching:
            space.labels.append(Label(tuple(new[s] for s in label.slots), label.nodes))
    if touching:
        aside = dict.fromkeys(s for label in touching for s in label.slots if s not in inside)
        blocks = [
            block(old, end, size, tuple(aside)) for end, size in zip(ends, sizes, strict=True)
        ]
        nodes = old.units.together(told_apart(old.units, blocks))
        label = Label((whole, *(new[s] for s in aside)), nodes)
        space.labels.append(label)
        if aside:
            project(old.units, label, label.slots[1:], old.owner)
    else:
        space.fixed[whole] = old.why(inside)
    dims = [tuple(new[s] for s in own) for own in common.dims[:dim]]
    after = [tuple(new[s] for s in own) for own in common.dims[dim + count :]]
    return Layout(space, (*dims, (whole,), *after))


def told_apart(units: Units, blocks: list[Nodes]) -> Nodes:
    """The nodes of concatenated parts, of which no unit is identified with its copy in another.

    Of `cat([h, -h])` both halves move alike, but no unit of one may be taken for its twin.
    """
    nodes = np.concatenate(blocks)
    if len(np.unique(nodes)) == sum(len(np.unique(part)) for part in blocks):
        return nodes
    part = np.repeat(units.fixed_axis(len(blocks)), [len(own) for own in blocks])
    twins = units.fresh(nodes.shape, "")
    units.relate(twins, nodes)
    units.relate(twins, part.reshape(-1, *[1] * (nodes.ndim - 1)))
    return twins


def block(space: Space, end: Sequence[int], size: int, aside: tuple[int, ...]) -> Nodes:
    """The nodes of one part of a join, [size, *aside]."""
    over = (*end, *aside)
    labels = [label for label in space.labels if set(label.slots) & set(end)]
    exact = [label for label in labels if set(label.slots) == set(over)]
    if exact and len(labels) == 1:
        return spread(exact[0].nodes, exact[0].slots, over).reshape(
            size, *(space.sizes[s] for s in aside)
        )
    shape = (size, *(space.sizes[s] for s in aside))
    nodes = space.units.fresh(shape, space.owner)
    if any(slot in space.fixed for slot in end) or not end:
        places = space.units.fixed_axis(size).reshape(size, *[1] * len(aside))
        space.units.fix_places(nodes, places, space.why(end))
    for label in space.labels:
        if set(label.slots) <= set(over):
            at = over if end else (-1, *aside)  # a part of size one has no slot
            space.units.relate(nodes, spread(label.nodes, label.slots, at))
    return nodes
