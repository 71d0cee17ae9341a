"""Reshapes, slices and broadcasts, which change where units lie but not which units they are."""

import math
from collections.abc import Sequence

import numpy as np

from llfc.symmetry.layouts.combine import combine, tied
from llfc.symmetry.layouts.cuts import cuts_of, is_chain, split_at
from llfc.symmetry.layouts.layout import Label, Layout, Space, copied, with_fixed
from llfc.symmetry.layouts.merging import merged
from llfc.symmetry.layouts.units import SHOWN, Nodes


def matched(sizes: Sequence[int], targets: Sequence[int]) -> list[tuple[list[int], list[int]]]:
    """Runs of `sizes` and of `targets` (as indices) with equal products, as short as possible."""
    runs: list[tuple[list[int], list[int]]] = []
    i = j = 0
    while i < len(sizes):
        left, right = [i], [j]
        a, b = sizes[i], targets[j]
        while a != b:
            if a < b:
                i += 1
                a *= sizes[i]
                left.append(i)
            else:
                j += 1
                b *= targets[j]
                right.append(j)
        runs.append((left, right))
        i, j = i + 1, j + 1
    return runs


def reshape(layout: Layout, shape: Sequence[int]) -> Layout:
    """The tensor read in row-major order into another shape."""
    slots = layout.slots()
    sizes = [layout.space.sizes[s] for s in slots]
    targets = [size for size in shape if size != 1]
    runs = matched(sizes, targets)
    view = Layout(layout.space, tuple(tuple(slots[i] for i in left) for left, _ in runs))
    for at, (left, right) in enumerate(runs):
        have, want = [sizes[i] for i in left], [targets[j] for j in right]
        if not is_chain(cuts_of(have) | cuts_of(want)):
            view = merged(view, at)
    dims: list[tuple[int, ...]] = []
    for at, (_, right) in enumerate(runs):
        want = [targets[j] for j in right]
        parts = split_at(view.space, view.dims[at], cuts_of(want))
        for size in want:
            own: list[int] = []
            while math.prod(view.space.sizes[s] for s in own) < size:
                own.append(parts.pop(0))
            dims.append(tuple(own))
    left_over = iter(dims)
    return Layout(view.space, tuple(next(left_over) if size != 1 else () for size in shape))


def taken(
    layout: Layout,
    dim: int,
    picked: Nodes | Sequence[int],
    why: str = SHOWN,
    apart: bool = True,
) -> Layout:
    """The tensor at the given positions of one dimension, in their order (a slice, a flip).

    A unit that is picked out alone does not move; `why` as in `layout.fix`. Those picked out
    together stay among themselves, unless they are not told `apart` from the others.
    """
    if not layout.dims[dim]:
        return layout  # of size one, or neutral throughout
    layout = merged(layout, dim)
    old, (slot,) = layout.space, layout.dims[dim]
    positions = np.asarray(picked, dtype=np.int64)
    space = Space(old.units, old.owner)
    new = {s: space.slot(len(positions) if s == slot else old.sizes[s]) for s in layout.slots()}
    single = len(positions) == 1
    fixed = {s: why for s, why in old.fixed.items() if s in new and not (single and s == slot)}
    space.fixed = {new[s]: why for s, why in fixed.items()}
    for label in old.labels:
        slots, nodes = label.slots, label.nodes
        if slot in slots:
            at = slots.index(slot)
            nodes = nodes.take(positions, axis=at)
            if single:
                nodes, slots = nodes.squeeze(at), slots[:at] + slots[at + 1 :]
            if slots and apart:
                old.units.together(nodes)
        if slots:
            space.labels.append(Label(tuple(new[s] for s in slots), nodes))
        else:
            old.units.fix(nodes, why)
    raw = tuple(tuple(new[s] for s in own) for own in layout.dims)
    return Layout(space, tuple(() if single and d == dim else own for d, own in enumerate(raw)))


def selected_at(layout: Layout, dim: int, index: int, why: str, apart: bool = True) -> Layout:
    """The tensor at one position of a dimension, without that dimension; others as in `taken`."""
    found = taken(layout, dim, [index], why, apart)
    return Layout(found.space, found.raw[:dim] + found.raw[dim + 1 :])


def drop(layout: Layout, dims: Sequence[int]) -> Layout:
    """The tensor with some dimensions of size one removed."""
    kept = [d for d in range(len(layout.raw)) if d not in dims]
    layout = tied(layout) if any({*pick.dims} & {*dims} for pick in layout.picks) else layout
    to = [kept.index(d) if d in kept else -1 for d in range(len(layout.raw))]
    return layout.arranged([layout.raw[d] for d in kept], to)


def insert(layout: Layout, dim: int) -> Layout:
    """The tensor with a dimension of size one inserted."""
    to = [d + (d >= dim) for d in range(len(layout.raw))]
    return layout.arranged([*layout.raw[:dim], (), *layout.raw[dim:]], to)


def expand(layout: Layout, shape: Sequence[int]) -> Layout:
    """Broadcast to a shape: a dimension of size one becomes a neutral one."""
    space = layout.space
    raw = [()] * (len(shape) - len(layout.raw)) + list(layout.raw)
    if all(own or size == 1 for own, size in zip(raw, shape, strict=True)):
        return Layout(space, tuple(raw))
    copy = copied(Layout(space, tuple(raw)))
    return Layout(
        copy.space,
        tuple(
            own if own or size == 1 else (copy.space.slot(size),)
            for own, size in zip(copy.raw, shape, strict=True)
        ),
    )


def resized(x: Layout, dim: int, size: int) -> Layout:
    """The tensor with a fixed dimension resized, as space is by pooling."""
    slots, why = x.dims[dim], x.space.why(x.dims[dim])
    if len(slots) > 1:
        x = merged(x, dim)
    reduced = combine(
        x.space.units,
        [(x, [str(d) for d in range(len(x.raw))])],
        [str(d) for d in range(len(x.raw)) if d != dim],
        x.space.owner,
    )
    return with_fixed(reduced, dim, [size], [why])
