"""Walk an exported graph from its inputs to its outputs, one rule an operator."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx
from torch.fx.experimental.symbolic_shapes import GuardOnDataDependentSymNode

from llfc.oneline import with_its_type
from llfc.symmetry.graph.inside import RECURRENT_STEPS, inside, time_of
from llfc.symmetry.graph.memory import Memory, without_picks
from llfc.symmetry.layouts.combine import tied
from llfc.symmetry.layouts.constants import (
    blank,
    constant_layout,
    constant_layouts,
    is_knowable,
    value_of,
)
from llfc.symmetry.layouts.layout import Layout, Refusal, Value, fix, is_fixed, layouts_in, settle
from llfc.symmetry.layouts.units import SHOWN, Units
from llfc.symmetry.layouts.views import resized, taken
from llfc.symmetry.rules.calls import ALONE, UNKNOWN_SIZE, Call, fixed_layouts, is_number
from llfc.symmetry.rules.draws import draws
from llfc.symmetry.rules.elementwise import uniform
from llfc.symmetry.rules.operators import (
    VIEWS,
    has_unknown_size,
    is_pointwise,
    operator_name,
    where,
    written,
)
from llfc.symmetry.rules.parts.listing import PRODUCTS, singles_out
from llfc.symmetry.rules.registry import LOOKUPS, RULES, fallback, rule_of


class RuleError(RuntimeError):
    """A rule raised an unexpected error, which is a bug of the rule; the cause is chained."""


def is_labelled(value: Value) -> bool:
    """Whether a value is a tensor that units could move."""
    return isinstance(value, Layout) and bool(value.space.labels)


@dataclass
class GraphWalk:
    """The layouts of a graph's values, and what had to be fixed on the way.

    Attributes:
        units: where the facts are gathered.
        strict: refuse what no rule covers; otherwise fix it.
        training: whether the graph is that of train mode.
        drawn: what was drawn at random, and by which call.
        frozen: a line for each call whose tensors were fixed.
        memory: the layout of each value, and which are views of which.
        depth: how many operators' insides the walk is in.
        insides: those looked into so far, by the signature of the call.
        graphs: those walked through, without the insides of operators.
    """

    units: Units
    strict: bool
    training: bool = False
    drawn: list[tuple[str, Layout]] = field(default_factory=list)
    frozen: list[str] = field(default_factory=list)
    depth: int = 0
    insides: dict[str, fx.GraphModule | None] = field(default_factory=dict)
    graphs: list[fx.Graph] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.memory = Memory(self.units, self.training)

    @property
    def values(self) -> dict[fx.Node, Value]:
        """The layout of each node, or its list of them, or a plain value."""
        return self.memory.values

    def run(self, graph: fx.Graph) -> None:
        """Derive the layout of every node; placeholders must have theirs.

        Raises:
            ValueError: an operator that no rule covers; one line with the node and the module.
        """
        for layout in layouts_in(self.through(graph)):
            fix(settle(layout), layout.slots(), SHOWN)
            if isinstance(layout.into, np.ndarray):
                self.units.fix(layout.into, SHOWN)

    def through(self, graph: fx.Graph) -> Value:
        """Derive the layout of every node, and return those of the outputs."""
        self.graphs += [] if self.depth else [graph]
        given = {n: value_of(self.values[n]) for n in graph.nodes if n.op == "placeholder"}
        self.memory.twins.add(graph, {n: v for n, v in given.items() if isinstance(v, Tensor)})
        for node in graph.nodes:
            if node.op == "call_function":
                self.values[node] = self.derive(node)
            elif node.op == "get_attr":
                held = getattr(graph.owning_module, str(node.target))
                is_tensor = isinstance(held, Tensor)
                self.values[node] = constant_layout(self.units, held.clone()) if is_tensor else held
            elif node.op == "output":
                return self.memory.lookup(node.args)
            elif node.op != "placeholder":
                raise ValueError(f"permutation spec: node {node.name} is a {node.op}")
        return []

    def derive(self, node: fx.Node) -> Value:
        """The layout of one node, by its rule; refused or fixed if there is none."""
        if isinstance(node.target, torch._ops.HigherOrderOperator):
            held = [k for k, arg in enumerate(node.args) if self.is_graph(arg)]
            if len(held) == 1:
                (at,) = held
                return self.inline(self.memory.lookup(node.args[at]), node.args[at + 1 :])
        call = self.memory.call(node)
        name, fake = operator_name(node), node.meta.get("val")
        try:
            if (known := self.known(node)) is not None:
                return known
            found = rule_of(node) or fallback(node, call)
            if found is None and (module := inside(node, self.insides)) is not None:
                self.frozen += self.held(node, picks=False)
                return self.opened(node, module)
            if found is None:
                raise Refusal("no rule says how this operator treats hidden units")
            if name not in VIEWS and name not in LOOKUPS:
                call.used_as_numbers()
            result = fixed_layouts(self.units, fake, SHOWN) if is_number(call) else found(call)
            if name in VIEWS and (into := call.first.into) is not None:
                result = Layout(result.space, result.raw, into=into)
            if draws(node):
                self.drawn.append((where(node), tied(layouts_in(result)[0])))
            self.memory.follow(node, result)
            self.frozen += [*call.lines, *self.held(node, call.picks)]
            return result
        except Refusal as refusal:
            return self.refused(node, call, str(refusal))
        except RuleError:  # of an operator inside this one
            raise
        except GuardOnDataDependentSymNode:
            return self.refused(node, call, UNKNOWN_SIZE)
        except Exception as error:
            reason = with_its_type(error)
            raise RuleError(
                f"permutation spec: {where(node)}: its rule failed, which is a bug of llfc and not "
                f"of the model ({reason})"
            ) from error

    def held(self, node: fx.Node, picks: bool) -> list[str]:
        """What a call holds back though it fixes no unit, as lines of `PermutationSpec.frozen`."""
        computes = is_pointwise(node) or (operator_name(node) in PRODUCTS and not picks)
        sources = [self.values[source] for source in node.all_input_nodes if computes]
        masks = [x.value for x in sources if isinstance(x, Layout) and x.value is not None]
        if any(map(is_labelled, sources)) and any(map(singles_out, masks)):
            return [f"{where(node)}: {ALONE}"]
        return []

    def known(self, node: fx.Node) -> Value | None:
        """The constants that a call of constants returns, after all that it writes; else None."""
        target, fakes = node.target, node.meta.get("val")
        fakes = fakes if isinstance(fakes, list | tuple) else [fakes]
        if not isinstance(target, torch._ops.OpOverload) or not all(map(is_knowable, fakes)):
            return None
        given = {source: value_of(self.values[source]) for source in node.all_input_nodes}
        if RULES.get(operator_name(node)) is uniform:  # what it holds is of no account
            given |= {s: blank(s.meta["val"]) for s in given if isinstance(self.values[s], Layout)}
        drawn = torch.Tag.nondeterministic_seeded in target.tags
        if drawn or any(value is None for value in given.values()):
            return None
        args, kwargs = fx.node.map_arg((node.args, node.kwargs), given.__getitem__)
        try:
            found = target(*args, **kwargs)
        except Exception:  # of PyTorch's own: on these numbers, or on this device, it does not run
            return None
        self.memory.hold_constant(node, constant_layouts(self.units, found))
        return self.values[node]

    def refused(self, node: fx.Node, call: Call, reason: str) -> Value:
        """Refuse a call, or fix what it touches; if no unit could move it, it is fixed anyway.

        Raises:
            ValueError: the walk is strict.
        """
        if has_unknown_size(node):  # not even fixed positions can be counted
            if self.depth:
                raise Refusal(UNKNOWN_SIZE)
            raise ValueError(f"permutation spec: {where(node)}: {UNKNOWN_SIZE}") from None
        if not all(is_fixed(layout) for layout in call.tensors()):
            if self.depth:
                raise Refusal(f"inside it, {node.target}: {reason}")
            if self.strict:
                raise ValueError(f"permutation spec: {where(node)}: {reason}") from None
            self.frozen.append(f"{where(node)}: {reason}")
        if self.depth and node.users and node.meta.get("val") is None:
            raise Refusal(f"inside it, {node.target}: {reason}")
        line = f"{where(node)}: {reason}"
        call.used_as_numbers()
        for layout in call.tensors():
            fix(settle(layout), layout.slots(), line)
        for target in written(node):
            self.memory.fix_root(self.memory.root(target), line)
        return fixed_layouts(self.units, node.meta.get("val"), line)

    def is_graph(self, value: Any) -> bool:
        """Whether an argument is a graph of its own."""
        return isinstance(value, fx.Node) and isinstance(self.values.get(value), fx.GraphModule)

    def inline(self, module: fx.GraphModule, arguments: Sequence[Any]) -> Value:
        """A graph inside the graph: a block without gradients, the inside of an operator."""
        inputs = [inner for inner in module.graph.nodes if inner.op == "placeholder"]
        for inner, outer in zip(inputs, arguments, strict=True):
            self.values[inner] = self.memory.lookup(outer)
        (outputs,) = self.through(module.graph)
        return outputs

    def opened(self, node: fx.Node, module: fx.GraphModule) -> Value:
        """An operator's result by its decomposition; a recurrent layer's by its first two steps."""
        inputs = [without_picks(self.memory.lookup(source)) for source in node.all_input_nodes]
        time = time_of(node)
        if time is not None:
            x = settle(inputs[0])
            fix(x, x.dims[time], f"{where(node)}: it runs along them, one after another")
            inputs[0] = taken(x, time, range(min(RECURRENT_STEPS, x.shape[time])))
        self.depth += 1
        try:
            result = self.inline(module, inputs)
        finally:
            self.depth -= 1
        if time is not None:
            steps = int(node.meta["val"][0].shape[time])
            result = [resized(result[0], time, steps), *result[1:]]
        return result
