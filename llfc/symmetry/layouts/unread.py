"""Rows of a tensor that a graph passes over: places of a position embedding beyond the example's.

Nothing tells them apart, and yet they are no hidden units: a longer input reads them.
"""

from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from llfc.symmetry.layouts.layout import Layout, Value, layouts_in
from llfc.symmetry.layouts.units import Nodes, Units


def unread_rows(
    units: Units, layouts: Mapping[str, Layout], values: Iterable[Value]
) -> Iterator[tuple[str, Nodes, int]]:
    """The rows of tensors that are not read, beside others that are.

    A row is read if its unit is in another tensor of the graph too, or some fact is known of it.

    Args:
        units: the facts.
        layouts: of each tensor of the state dict.
        values: all values of the graphs.

    Yields:
        A tensor's name, the nodes of its unread rows, and how many rows there are.
    """
    times = np.zeros(units.count, dtype=np.int64)
    for space in {layout.space for value in values for layout in layouts_in(value)}:
        spoken = [label.nodes.reshape(-1) for label in space.labels]
        times[np.unique(np.concatenate([np.empty(0, dtype=np.int64), *spoken]))] += 1
    read = units.met() | (times > 1)
    for name, layout in layouts.items():
        for label in layout.space.labels:
            rows = read[label.nodes]
            if rows.any() and not rows.all():
                yield name, label.nodes[~rows], rows.size
