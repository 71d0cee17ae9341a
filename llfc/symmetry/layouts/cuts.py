"""Cutting dimensions into slots of the same sizes, so that what meets in them can be compared."""

import itertools
import math
from collections.abc import Iterable, Sequence

from llfc.symmetry.layouts.layout import Layout, Space
from llfc.symmetry.layouts.merging import merged


def split_at(space: Space, slots: Sequence[int], cuts: Iterable[int]) -> list[int]:
    """The slots of a dimension, split so that each cut (an inner size) falls between two."""
    inner = 1
    for slot in reversed(slots):
        size = space.sizes[slot]
        for cut in sorted({c for c in cuts if inner < c < inner * size}, reverse=True):
            space.split(slot, cut // inner)
            slot = space.parts[slot][1]
        inner *= size
    return space.leaves(slots)


def cuts_of(sizes: Sequence[int]) -> set[int]:
    """The inner sizes at which a product of sizes can be cut: of (2, 3, 5), 5 and 15."""
    return {math.prod(sizes[k:]) for k in range(1, len(sizes))}


def is_chain(cuts: Iterable[int]) -> bool:
    """Whether each cut divides the next."""
    ordered = sorted(cuts)
    return all(b % a == 0 for a, b in itertools.pairwise(ordered))


def align(layouts: list[Layout], places: Sequence[tuple[int, int]]) -> None:
    """Give (tensor, dimension) places that meet the same slot sizes; may replace layouts."""
    for attempt in (0, 1):
        factors = [
            tuple(layouts[i].space.sizes[s] for s in layouts[i].dims[dim]) for i, dim in places
        ]
        if len(set(factors)) == 1:
            return
        cuts = set().union(*map(cuts_of, factors))
        total = math.prod(factors[0])
        if is_chain([*cuts, total]):
            for i, dim in places:
                split_at(layouts[i].space, layouts[i].dims[dim], cuts)
            return
        assert attempt == 0
        for i, dim in places:
            layouts[i] = merged(layouts[i], dim)
