"""Where in a network the units of each group can be read: at which values of its graph.

The values are those of the exported graph, whoever made them: a module, a function such as `F.relu`
or the inside of an attention. A value is *new* to a group if the operator that made it computes
something; what only moves, picks, joins or pools entries tells nothing new of a unit. A group is
read at each new value after which, in the order in which values depend on one another, no other is
new to it: a residual stage after its last addition and activation, a query and a key each at its
own end.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, fx

from llfc.symmetry.graph.walk import GraphWalk
from llfc.symmetry.groups.placing import Placing
from llfc.symmetry.layouts.layout import Layout, settle
from llfc.symmetry.rules import views
from llfc.symmetry.rules.calls import Rule
from llfc.symmetry.rules.elementwise import reduction, same
from llfc.symmetry.rules.indexing import index_select, indexed
from llfc.symmetry.rules.operators import module_path, operator_name, written
from llfc.symmetry.rules.registry import RULES
from llfc.symmetry.rules.spatial import pooling
from llfc.symmetry.spec.axes import Axis, Feature, axis_groups
from llfc.symmetry.spec.blocks import blocks

# Rules of operators whose results hold entries of their inputs, or means or maxima of them.
PASSING: tuple[Rule, ...] = (reduction, same, pooling, indexed, index_select)


@dataclass
class Place:
    """A node of the graph, and what it says of units.

    Attributes:
        name: of the value: the node's, after those of the graphs that hold its graph.
        needs: the nodes on which the value depends directly.
        parts: the runs of dimensions that units move, each with the axis that it is laid out as.
        carried, new, apart: sets of groups, as bits: those that can be read here; those to which
            the value is new; those whose units no others lie beside, on another dimension.
    """

    name: str
    node: fx.Node
    needs: Sequence[fx.Node]
    parts: Sequence[tuple[tuple[int, ...], Axis | None]] = ()
    carried: int = 0
    new: int = 0
    apart: int = 0


@dataclass
class Readings:
    """The places of a graph, in the order in which they run."""

    walk: GraphWalk
    placing: Placing
    bit: Mapping[str, int]
    places: dict[fx.Node, Place] = field(default_factory=dict)
    writes: dict[fx.Node, list[fx.Node]] = field(default_factory=dict)

    def visit(self, graph: fx.Graph, prefix: str = "", given: Sequence[Any] = ()) -> None:
        """Note the places of a graph, and of the graphs in it, whose inputs are `given`."""
        inputs = iter(given)
        for node in graph.nodes:
            needs = list(node.all_input_nodes)
            if node.op == "placeholder":
                needs = [x for x in [next(inputs, None)] if isinstance(x, fx.Node)]
            for at, inner in enumerate(node.args):
                held = self.walk.values.get(inner) if isinstance(inner, fx.Node) else None
                if isinstance(inner, fx.Node) and isinstance(held, fx.GraphModule):
                    self.visit(held.graph, f"{prefix}{inner.target}.", node.args[at + 1 :])
                    needs += held.graph.find_nodes(op="output")
            self.place(node, f"{prefix}{node.name}", needs)

    def place(self, node: fx.Node, name: str, needs: Sequence[fx.Node]) -> None:
        """Note one node."""
        roots = [self.walk.memory.root(source) for source in needs]
        found = Place(
            name, node, [*needs, *(w for root in roots for w in self.writes.get(root, ()))]
        )
        for target in written(node):
            self.writes.setdefault(self.walk.memory.root(target), []).append(node)
        layout = self.walk.values.get(node)
        if node.op == "call_function" and isinstance(layout, Layout) and is_read(node):
            found.parts = self.placing.carried(settle(layout))
            for _, axis in found.parts:
                bits = sum(self.bit[group] for group in innermost(axis) if group in self.bit)
                found.carried |= bits
                found.apart |= bits if len(found.parts) == 1 else 0
        found.new = found.carried
        if passes(node):
            before = 0
            for source in needs:
                before |= self.places[source].carried
            found.new &= ~before
            found.carried |= before
        self.places[node] = found

    def last(self, among: Mapping[fx.Node, int]) -> dict[fx.Node, int]:
        """Of the groups `among` which each place is, those that are in no place after it."""
        later: dict[fx.Node, int] = {}
        found: dict[fx.Node, int] = {}
        for node, place in reversed(self.places.items()):
            after = later.get(node, 0)
            found[node] = among[node] & ~after
            for source in place.needs:
                later[source] = later.get(source, 0) | after | among[node]
        return found


def features(
    walk: GraphWalk, placing: Placing, graph: fx.Graph, names: Sequence[str]
) -> dict[str, tuple[Feature, ...]]:
    """For each group, the values of the graph that carry it, in the order in which they are made.

    Where its units lie beside those of other groups, on another dimension, a group is read only if
    there is no other place for it.
    """
    readings = Readings(walk, placing, {name: 1 << k for k, name in enumerate(names)})
    readings.visit(graph)
    places = readings.places
    alone = readings.last({node: place.new & place.apart for node, place in places.items()})
    read = 0
    for bits in alone.values():
        read |= bits
    beside = readings.last({node: place.new & ~read for node, place in places.items()})
    found: dict[str, list[Feature]] = {name: [] for name in names}
    for node, place in places.items():
        last = alone[node] | beside[node]
        for dims, axis in place.parts:
            others = tuple(d for own, _ in place.parts for d in own if own != dims)
            inner = {group: readings.bit.get(group, 0) for group in innermost(axis)}
            for group in axis_groups(axis or ()):
                if group in found:
                    is_last = bool(last & inner.get(group, sum(inner.values())))
                    found[group].append(
                        Feature(place.name, module_path(node), dims, axis or (), others, is_last)
                    )
    return {group: tuple(items) for group, items in found.items()}


def innermost(axis: Axis | None) -> Iterator[str]:
    """The groups that can be read off an axis: of those nested in one another, the inner ones."""
    seen = set()
    for block in blocks(axis) if axis else ():
        if len(block.clusters) == 1:
            cluster = block.clusters[0]
            seen |= {name for factor in cluster[1:] or cluster for name in factor.groups}
    yield from sorted(seen)


def is_read(node: fx.Node) -> bool:
    """Whether a value is a tensor of numbers that are not counted."""
    fake = node.meta.get("val")
    return isinstance(fake, Tensor) and (fake.is_floating_point() or fake.is_complex())


def passes(node: fx.Node) -> bool:
    """Whether an operator computes nothing: it moves, picks, joins or pools entries."""
    found = RULES.get(operator_name(node)) if node.op == "call_function" else None
    moves = found is not None and found.__module__ == views.__name__ and found is not views.glu
    return moves or found in PASSING
