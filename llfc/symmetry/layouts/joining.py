"""Concatenation along a dimension, and stacking along a new one."""

from collections.abc import Sequence

import numpy as np

from llfc.symmetry.layouts.combine import combine
from llfc.symmetry.layouts.cuts import align
from llfc.symmetry.layouts.layout import (
    Label,
    Layout,
    Space,
    copied,
    fix,
    fix_slot,
    project,
    settle,
    spread,
)
from llfc.symmetry.layouts.meeting import mirrored
from llfc.symmetry.layouts.merging import merged
from llfc.symmetry.layouts.units import SHOWN, Nodes, Units


def stacked(units: Units, parts: Sequence[Layout], dim: int, apart: bool = True) -> Layout | None:
    """Along a new dimension, with units of its own in each part; None if the parts are not alike.

    What is stacked may be taken apart again (the states of the layers of an LSTM), so that only
    later uses tie the units of different parts. Unless these are told `apart`, units change places
    between them as well.
    """
    layouts = aligned(parts)
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
        elif apart:
            fix_slot(units, label, part, SHOWN)
        else:
            space.fixed.pop(part, None)
        space.labels.append(label)
    left = iter(new)
    raw = [tuple(next(left) for _ in own) for own in first.dims]
    return Layout(space, (*raw[:dim], (part,), *raw[dim:]))


def aligned(parts: Sequence[Layout]) -> list[Layout]:
    """Tensors of one shape with slots of the same sizes."""
    layouts = [settle(part) for part in parts]
    for d in range(len(layouts[0].raw)):
        if all(part.dims[d] for part in layouts):
            align(layouts, [(i, d) for i in range(len(layouts))])
    return layouts


def exchangeable(units: Units, parts: Sequence[Layout]) -> Layout | None:
    """Tensors of one shape as the operands of a function that minds no order of them.

    Where they have other units, new ones stand for one of each part: these belong to it, and may
    change places in it.

    Returns:
        One tensor in the place of all; None if units are part of several of these, as in a ring.
    """
    layouts = aligned(parts)
    found, places = [labels_by_place(part) for part in layouts], range(len(layouts[0].slots()))
    alike = all(labels.keys() == found[0].keys() for labels in found)
    even = all(len(part.slots()) == len(places) for part in layouts)
    differ = [p for p in found[0] if alike and any((lb[p] != found[0][p]).any() for lb in found)]
    nodes = [np.stack([labels[place] for labels in found]) for place in differ]
    pairs = mirrored(*nodes[0]) if len(nodes) == 1 and len(parts) == 2 else None
    apart = all(len(np.unique(each)) == each.size for each in nodes)
    if not (alike and even) or len(nodes) > 1 or not (apart or pairs is not None):
        for label in (label for part in layouts for label in part.space.labels):
            units.together(label.nodes)
        return None
    result = copied(layouts[0])
    for place, own in zip(differ, nodes, strict=True):
        label = labels_of(result)[place]
        label.nodes = units.fresh(label.nodes.shape, result.space.owner)
        if pairs is None:
            units.relate(own, label.nodes)
        else:
            both = units.fresh((int(pairs.max()) + 1,), result.space.owner)[pairs]
            units.relate(own[0], both)
            units.relate(label.nodes, both)
    for part in layouts[1:]:
        for at, why in fixed_places(part).items():
            fix(result, [result.slots()[at]], why)
    return result


def labels_of(layout: Layout) -> dict[tuple[int, ...], Label]:
    """The labels of a tensor by where their slots stand among its slots."""
    slots = layout.slots()
    return {tuple(map(slots.index, lb.slots)): lb for lb in layout.space.labels}


def labels_by_place(layout: Layout) -> dict[tuple[int, ...], Nodes]:
    """The nodes of each label of a tensor, by where its slots stand among the tensor's."""
    return {place: label.nodes for place, label in labels_of(layout).items()}


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
