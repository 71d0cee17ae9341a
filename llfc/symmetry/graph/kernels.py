"""Weights that a layer computes from parameters first (weight standardisation, low rank).

Such maths works on every entry, so that each entry of the parameter would be a unit of its own
until the layer shows how they move together. So its units are given to it beforehand.
"""

from collections.abc import Iterator, Mapping

from torch import fx

from llfc.symmetry.layouts.layout import Label, Layout, fix
from llfc.symmetry.layouts.units import SHOWN
from llfc.symmetry.layouts.views import reshape
from llfc.symmetry.rules.operators import arguments, operator_name


def shape_kernels(graph: fx.Graph, parameters: Mapping[fx.Node, Layout]) -> None:
    """Give units to unused parameters of a weight's shape that the weight is made of."""
    for weight, groups, sources in kernels(graph, parameters):
        for source in sources:
            layout = parameters[source]
            if layout.shape == tuple(weight.meta["val"].shape):
                shape_kernel(layout, groups)


def kernels(
    graph: fx.Graph, parameters: Mapping[fx.Node, Layout]
) -> Iterator[tuple[fx.Node, int, set[fx.Node]]]:
    """Weights that are made of parameters alone: the groups of their layer, the parameters."""
    made: dict[fx.Node, set[fx.Node]] = {node: {node} for node in parameters}
    for node in graph.nodes:
        if node.op != "call_function":
            continue
        name = operator_name(node)
        if name == "linear" or name.startswith("conv"):
            given = arguments(node)
            weight = given["weight"]
            if weight in made and weight not in parameters:
                yield weight, int(given.get("groups", 1)), made[weight]
        sources = node.all_input_nodes
        if sources and all(source in made for source in sources):
            made[node] = set().union(*(made[source] for source in sources))


def shape_kernel(layout: Layout, groups: int) -> None:
    """Units of both ends of a weight, [groups x ends, others, *taps]: in each group their own."""
    space = layout.space
    if not space.free.issuperset(layout.slots()) or space.labels:
        return
    first, second, *taps = layout.shape
    split = reshape(layout, [groups, first // groups, second, *taps])
    group, one, other, *rest = split.dims
    fix(layout, [slot for own in rest for slot in own], SHOWN)  # offsets, which are no units
    for end in (one, other):
        if slots := (*group, *end):
            shape = tuple(space.sizes[slot] for slot in slots)
            space.labels.append(Label(slots, space.units.fresh(shape, space.owner)))
            space.free -= {*slots}
