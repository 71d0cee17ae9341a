"""Merging the slots of a dimension into one."""

import math
from collections.abc import Sequence

import numpy as np

from llfc.symmetry.layouts.layout import Label, Layout, Refusal, Space, settle, spread
from llfc.symmetry.layouts.units import SHOWN, Nodes


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
    space.fixed = {new[s]: why for s, why in old.fixed.items() if s in new}
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
        space.fixed[whole] = old.why(slots)
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
            at = space.units.fixed_axis(space.sizes[slot])
            space.units.fix_places(nodes, spread(at, (slot,), over), space.fixed.get(slot, SHOWN))
    return over, np.asarray(nodes)
