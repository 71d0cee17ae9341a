"""The constants of a graph: its nodes whose values no weight and no input changes."""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, fx

from llfc.symmetry.layouts.constants import is_knowable
from llfc.symmetry.rules.operators import written


@dataclass
class Constants:
    """The constants of a graph, which are computed where they are asked for.

    Attributes:
        given: placeholders that are constants, and what they hold.
        nodes: all of them.
    """

    graph: fx.Graph
    given: Mapping[fx.Node, Tensor]
    nodes: set[fx.Node] = field(default_factory=set)
    values: dict[fx.Node, Tensor | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.nodes |= self.given.keys()
        self.values |= self.given
        for node in self.graph.nodes:
            drawn = torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ())
            if node.op == "get_attr" or (node.op == "call_function" and not drawn):
                if self.nodes.issuperset(node.all_input_nodes):
                    self.nodes.add(node)
        changed = (target for node in self.graph.nodes for target in written(node))
        self.written = not self.nodes.isdisjoint(changed)

    def value(self, node: fx.Node) -> Tensor | None:
        """What a node holds; None if it is none, is too large, or one is written to."""
        if node not in self.nodes or self.written:
            return None
        if node not in self.values:
            self.values[node] = self.computed(node)
        return self.values[node]

    def computed(self, node: fx.Node) -> Tensor | None:
        """What a call of constants returns, or what the graph's module holds."""
        if node.op == "get_attr":
            held = getattr(self.graph.owning_module, str(node.target))
            return held if isinstance(held, Tensor) else None
        sources = {each: self.value(each) for each in node.all_input_nodes}
        known = isinstance(node.target, torch._ops.OpOverload) and is_knowable(node.meta.get("val"))
        if not known or any(value is None for value in sources.values()):
            return None
        args, kwargs = fx.node.map_arg((node.args, node.kwargs), sources.__getitem__)
        with contextlib.suppress(Exception):  # of PyTorch's own: on these numbers it does not run
            found = node.target(*args, **kwargs)  # type: ignore[operator]
            return found if isinstance(found, Tensor) else None
        return None
