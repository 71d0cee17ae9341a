"""The values of a graph as they are while it runs: views share memory, and may be written to."""

from dataclasses import dataclass, field
from typing import Any

from torch import fx

from llfc.symmetry.graph.writing import put
from llfc.symmetry.layouts.combine import tied
from llfc.symmetry.layouts.constants import constant_layouts, value_of
from llfc.symmetry.layouts.layout import Layout, Value, fix, is_fixed, layouts_in, settle
from llfc.symmetry.layouts.units import SHOWN, Units
from llfc.symmetry.rules.calls import Call, fixed_layouts
from llfc.symmetry.rules.operators import (
    arguments,
    is_pointwise,
    is_view,
    memory_of,
    module_path,
    operator_name,
    written,
)
from llfc.symmetry.rules.parts.twins import Twins
from llfc.symmetry.rules.registry import PICKING, RULES


def without_picks(value: Value) -> Value:
    """A value with the picked axes of its layouts tied (see `tied`)."""
    if isinstance(value, list):
        return [without_picks(part) for part in value]
    return tied(value) if isinstance(value, Layout) else value


@dataclass
class Memory:
    """The layouts of a graph's values, and which of them are views of which.

    Attributes:
        units: where the facts are gathered.
        training: whether the graph is that of train mode.
        values: the layout of each node, or its list of them, or a plain value.
        roots: for each view the node that it is a view of.
        twins: what the graph treats alike.
    """

    units: Units
    training: bool = False
    values: dict[fx.Node, Value] = field(default_factory=dict)
    roots: dict[fx.Node, fx.Node] = field(default_factory=dict)
    twins: Twins = field(default_factory=Twins)

    def root(self, node: fx.Node) -> fx.Node:
        """The node whose memory a node's tensor is, or is a part of."""
        return self.roots.get(node, node)

    def lookup(self, value: Any) -> Value:
        """An argument with layouts in the place of nodes."""
        if isinstance(value, fx.Node):
            return self.values[value]
        if isinstance(value, list | tuple):
            return [self.lookup(part) for part in value]
        return value

    def call(self, node: fx.Node) -> Call:
        """The arguments by name, with the operator's defaults."""
        values = {name: self.lookup(value) for name, value in arguments(node).items()}
        if operator_name(node) not in PICKING and not is_pointwise(node):
            values = {name: without_picks(value) for name, value in values.items()}
        owner = module_path(node)
        return Call(self.units, node, values, owner, self.training, self.twins, self.values)

    def follow(self, node: fx.Node, result: Value) -> None:
        """Record what a node is a view of, and apply its in-place writes."""
        source = next(iter(node.all_input_nodes), None)
        apart = operator_name(node) == "getitem" and source not in self.roots
        if source is not None and not apart and is_view(node, source):
            self.roots[node] = self.root(source)
        for target in written(node):
            self.overwrite(target, result)
            self.roots[node] = self.root(target)

    def overwrite(self, target: fx.Node, result: Value) -> None:
        """A tensor, or a part of one, now holds a result; so do all views of it."""
        root = self.root(target)
        whole = layouts_in(self.values[root])
        self.values[target] = result
        if target is root:
            return self.refresh(root, {target})
        if all(is_fixed(layout) for layout in [*whole, *layouts_in(result)]):
            return self.fix_root(root, SHOWN)
        chain, result = {target}, without_picks(result)
        while target is not root:
            changed = next(written(target), None)
            if changed is not None:  # an in-place operator returned what it wrote to
                target = changed
                self.values[target] = result
                chain.add(target)
                continue
            part = 0
            if operator_name(target) == "getitem":  # of what a split returned
                part = int(str(target.args[1]))
                target = target.all_input_nodes[0]
            result = put(self.call(target), part, result)
            target = target.all_input_nodes[0]
            self.values[target] = result
            chain.add(target)
        self.refresh(root, chain)

    def fix_root(self, root: fx.Node, why: str) -> None:
        """A tensor was overwritten in a way that leaves no unit free."""
        for layout in layouts_in(self.values[root]):
            fix(settle(layout), layout.slots(), why)
        self.values[root] = fixed_layouts(self.units, root.meta.get("val"), why)
        self.refresh(root, {root})

    def refresh(self, root: fx.Node, known: set[fx.Node]) -> None:
        """Derive the views of an overwritten tensor again that are still to be used."""
        for view, of in self.roots.items():
            if of is root and view not in known and set(view.users) - self.values.keys():
                name = operator_name(view)
                if not any(written(view)):
                    self.values[view] = RULES[name](self.call(view))

    def hold_constant(self, node: fx.Node, result: Value) -> None:
        """A call returned constants; if it wrote to one, all that share its memory hold others."""
        self.values[node] = result
        source = next(iter(node.all_input_nodes), None)
        if source is None or memory_of(node) != memory_of(source):
            return
        self.roots[node] = root = self.root(source)
        if any(written(node)):
            shared = {root, *(view for view, of in self.roots.items() if of is root)}
            held = {view: value_of(self.values[view]) for view in shared}
            shown = {view: value for view, value in held.items() if value is not None}
            self.values |= {n: constant_layouts(self.units, value) for n, value in shown.items()}
            self.refresh(root, {*shown})
