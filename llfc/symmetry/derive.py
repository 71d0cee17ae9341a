"""Derive the permutation spec of any module that torch.export can follow."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils import _pytree as pytree

from llfc.devices import give_back_freed_memory
from llfc.modules import check_inputs, check_network, check_state, copy_of
from llfc.modules.few_values import few_values_told
from llfc.modules.inputs import outside_inference
from llfc.seeds import generators_left
from llfc.symmetry.graph.export import Graph, exported, owner_of
from llfc.symmetry.graph.kernels import shape_kernels
from llfc.symmetry.graph.outside import outside
from llfc.symmetry.graph.walk import GraphWalk
from llfc.symmetry.groups.exchanges import Exchanges
from llfc.symmetry.groups.families import Families
from llfc.symmetry.groups.largest import Grouping, fixed_by_rules
from llfc.symmetry.groups.naming import forward_order
from llfc.symmetry.groups.placing import Placing
from llfc.symmetry.groups.readings import features
from llfc.symmetry.kinds.checking import checked
from llfc.symmetry.kinds.finding import Finding
from llfc.symmetry.layouts.constants import constant_layout
from llfc.symmetry.layouts.layout import Layout, fix, new_layout
from llfc.symmetry.layouts.units import SHOWN, Units
from llfc.symmetry.layouts.unread import unread_rows
from llfc.symmetry.rules.draws import chooses
from llfc.symmetry.rules.operators import where
from llfc.symmetry.spec import PermutationSpec
from llfc.symmetry.spec.axes import Axis, axis_groups
from llfc.symmetry.spec.kinds import Kinds
from llfc.symmetry.spec.sharing import overlapping, shared_names


@dataclass
class Derivation:
    """What is known of a model so far: facts about units, and the layout of each tensor."""

    model: nn.Module
    strict: bool
    units: Units = field(default_factory=Units)
    frozen: list[str] = field(default_factory=list)
    used: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.state: dict[str, Tensor] = self.model.state_dict()
        self.first = shared_names(self.state)
        self.layouts: dict[str, Layout] = {
            name: new_layout(self.units, tuple(tensor.shape), "free", owner_of(name))
            for name, tensor in self.state.items()
            if self.first[name] == name
        }
        for name in overlapping(self.state):
            self.fix(name, "it shares a part of its memory with another tensor")

    def walk(self, graph: Graph, training: bool = False) -> GraphWalk:
        """Gather the facts of one graph.

        Raises:
            ValueError: an operator that no rule covers, unless strict is False.
        """
        walk = GraphWalk(self.units, self.strict, training)
        for node in graph.graph.nodes:
            if node.op != "placeholder":
                continue
            if node.name in graph.state_names:
                walk.values[node] = self.layouts[self.first[graph.state_names[node.name]]]
            elif node.name in graph.constants:
                walk.values[node] = constant_layout(self.units, graph.constants[node.name].clone())
            elif isinstance(value := node.meta.get("val"), Tensor):
                walk.values[node] = new_layout(self.units, tuple(value.shape), "fixed")
            else:
                walk.values[node] = value
        tensors = {n: v for n, v in walk.values.items() if n.name in graph.state_names}
        shape_kernels(graph.graph, tensors)
        walk.run(graph.graph)
        self.frozen += walk.frozen
        self.used |= {
            self.first[graph.state_names[name]] for name in graph.used & graph.state_names.keys()
        }
        return walk

    def unused(self) -> list[str]:
        """Tensors that no graph uses, except integer counters, which are not weights."""
        return [
            name
            for name, layout in self.layouts.items()
            if set(layout.slots()) & layout.space.free
            or (name not in self.used and is_weight(self.state[name]))
        ]

    def fix_unread(self, walks: Sequence[GraphWalk]) -> None:
        """Rows of tensors that no graph reads, beside others that are read, are fixed."""
        values = [value for walk in walks for value in walk.values.values()]
        for name, nodes, size in unread_rows(self.units, self.layouts, values):
            self.units.fix(nodes, SHOWN)
            self.frozen.append(
                f"{name}: {nodes.size} of {size} rows are not read on the example, and may be on"
                " others"
            )

    def fix(self, name: str, reason: str) -> None:
        """A tensor is fixed."""
        line = f"{name}: {reason}"
        fix(self.layouts[name], self.layouts[name].slots(), line)
        self.frozen.append(line)

    def settled(self, walk: GraphWalk) -> tuple[Families, Placing, dict[str, tuple[Axis, ...]]]:
        """Groups, names and axes, once no unit moves that the network draws for in eval mode.

        Raises:
            ValueError: there is one, and the walk is strict.
        """
        while True:
            grouping = Grouping(self.units, self.layouts)
            found, placing, axes = grouping.largest()
            self.frozen += grouping.lines
            moving = {name for each in axes.values() for axis in each for name in axis_groups(axis)}
            drawn = {line: placing.groups_of(layout) & moving for line, layout in walk.drawn}
            lines = [
                f"{line}: it draws at random for each unit of {min(groups)}, in eval mode too"
                for line, groups in drawn.items()
                if groups
            ]
            if not lines:
                return found, placing, axes
            if self.strict:
                raise ValueError(f"permutation spec: {lines[0]}")
            self.frozen += lines
            for line, layout in walk.drawn:
                if drawn[line]:
                    fix(layout, layout.slots(), line)


def is_weight(tensor: Tensor) -> bool:
    """Whether a tensor is floating or complex: a weight or statistic, not an integer counter."""
    return tensor.is_floating_point() or tensor.is_complex()


@few_values_told()
@generators_left()
@torch.inference_mode(False)
def permutation_spec(
    model: nn.Module, *example_inputs: Any, strict: bool = True
) -> PermutationSpec:
    """The symmetry of a model under permutations of its hidden units, derived from its graph.

    A copy of the model is traced and run; the random state is left as it was.

    Args:
        model: any module that torch.export can follow.
        example_inputs: inputs as the model takes them: tensors, numbers, None, and lists, tuples
            and dicts of them; the values of tensors do not matter.
        strict: raise where a symmetry cannot be derived; if False, fix the units concerned and
            list the reason in `frozen`.

    Returns:
        The spec, checked: permuting every group at random keeps the outputs in eval and in train
        mode to 1e-4 of their scale, in float64 where the model's own precision is coarser.

    Raises:
        ValueError: in one line, the operator, node and module that no rule covers; or that the
            model cannot be exported; or that the self-check failed.
    """
    check_network("model", model)
    check_inputs("example inputs", model, example_inputs)
    check_state("model", model)
    original, model = model, copy_of(model)
    example_inputs = outside_inference(example_inputs)
    spec = derive(model, example_inputs, strict, original=original)
    try:
        spec.check(model, *example_inputs)
    except ValueError as error:
        lines = random_calls(model, example_inputs)
        raise ValueError(f"{error}; drawn at random: {lines[0]}") if lines else error from None
    return spec


def random_calls(model: nn.Module, example_inputs: Sequence[Any]) -> list[str]:
    """The calls of train mode that draw a permutation or a choice, which the check cannot fix."""
    try:
        graph = exported(model, example_inputs, training=True).graph
    except ValueError:
        return []
    return [where(node) for node in graph.nodes if chooses(node)]


@dataclass(frozen=True, eq=False)
class Derived:
    """A walked graph with the groups of its units, their names and the axes of all tensors."""

    derivation: Derivation
    graph: Graph
    walk: GraphWalk
    found: Families
    placing: Placing
    axes: dict[str, tuple[Axis, ...]]

    def finding(self) -> Finding:
        """What finds the kinds of the groups; it has visited nothing yet."""
        first, names = self.derivation.first, self.graph.state_names
        return Finding(self.walk, self.placing, {at: first[name] for at, name in names.items()})


def finding_of(model: nn.Module, example_inputs: Sequence[Any]) -> tuple[Finding, fx.Graph]:
    """What is known of the places of a model's units, and its graph.

    Raises:
        ValueError: as `permutation_spec`.
    """
    derived = derived_from(model, example_inputs, strict=True)
    finding = derived.finding()
    finding.visit(derived.graph.graph)
    return finding, derived.graph.graph


def derived_from(
    model: nn.Module, example_inputs: Sequence[Any], strict: bool, graph: Graph | None = None
) -> Derived:
    """All that a spec is made of; the graph may be at hand already."""
    derivation = Derivation(model, strict)
    graph = graph or exported(model, example_inputs, training=False)
    walk = derivation.walk(graph)
    walks = [walk]
    reason = "no graph uses it"
    if derivation.unused():
        try:
            graph_in_training = exported(model, example_inputs, training=True)
            walks.append(derivation.walk(graph_in_training, training=True))
        except ValueError as error:
            line = str(error).removeprefix("permutation spec: ")
            reason = f"no graph in eval mode uses it, and there is none in train mode: {line}"
    for name in derivation.unused():
        derivation.fix(name, reason)
    derivation.fix_unread(walks)
    derivation.frozen += [
        f"{name}: the graph uses it as a constant, as it is not in the state dict"
        for name in outside(model, graph.constants)
    ]
    found, placing, axes = derivation.settled(walk)
    return Derived(derivation, graph, walk, found, placing, axes)


def derive(
    model: nn.Module,
    example_inputs: Sequence[Any],
    strict: bool,
    graph: Graph | None = None,
    original: nn.Module | None = None,
) -> PermutationSpec:
    """The spec, not yet checked; see `permutation_spec`.

    Args:
        model: any; it is kept until the kinds are asked for, unless there is an `original`.
        example_inputs: as for `permutation_spec`.
        strict: likewise.
        graph: the model's, if it is at hand already.
        original: what `model` is a copy of, which is kept in its place.
    """
    derived = derived_from(model, example_inputs, strict, graph)
    derivation, walk, found = derived.derivation, derived.walk, derived.found
    graph, placing, axes = derived.graph, derived.placing, derived.axes
    moving = {name for each in axes.values() for axis in each for name in axis_groups(axis)}
    told = {*derivation.frozen}
    lines = fixed_by_rules(derivation.units, found.quotient)
    derivation.frozen += [f"{units}: {why}" for units, why in lines if why not in told]
    for inner in walk.graphs:
        exchanges = Exchanges(inner, walk.values, found.quotient, {*graph.state_names})
        derivation.frozen += exchanges.lines()
    order = [g for g in forward_order(found) if placing.names[g] in moving]
    spec = PermutationSpec(
        groups={placing.names[g]: found.sizes[g] for g in order},
        axes={name: axes[first] for name, first in derivation.first.items()},
        features=features(walk, placing, graph.graph, [placing.names[g] for g in order]),
        frozen=tuple(dict.fromkeys(derivation.frozen)),
    )

    kept = pytree.tree_map_only(Tensor, alone, tuple(example_inputs))
    shown, parts = original or model, [derived]

    def kinds() -> Kinds:
        unchecked = parts[0].finding().kinds(parts[0].graph.graph, spec)
        found = checked(spec, unchecked, shown, kept)
        parts.clear()  # which hold a copy of the model
        give_back_freed_memory(shown)
        return found

    return spec.with_kinds(kinds)


def alone(tensor: Tensor) -> Tensor:
    """The tensor, or a copy if it is a part of a larger one, which would be kept with it."""
    whole = tensor.untyped_storage().nbytes() if tensor.layout == torch.strided else 0
    return tensor.clone() if whole > tensor.numel() * tensor.element_size() else tensor
