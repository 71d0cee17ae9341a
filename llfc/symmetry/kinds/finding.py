"""From a walked graph to the kind of each group and the powers of its map on each axis."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx
from torch.utils._pytree import tree_leaves

from llfc.oneline import with_its_type
from llfc.symmetry.graph.walk import GraphWalk, RuleError
from llfc.symmetry.groups.placing import Placing
from llfc.symmetry.kinds.carried import Carried, Operation, Place, Run, carried_in
from llfc.symmetry.kinds.commuting import BY_OPERATOR, KIND_OF
from llfc.symmetry.kinds.relating import reduced, same
from llfc.symmetry.kinds.strands import Strands
from llfc.symmetry.kinds.viewing import MOVING, taken_from, tie_equal, viewed
from llfc.symmetry.layouts.layout import Layout, settle
from llfc.symmetry.layouts.units import Nodes
from llfc.symmetry.rules import elementwise
from llfc.symmetry.rules.operators import arguments, operator_name, where, written
from llfc.symmetry.rules.registry import RULES
from llfc.symmetry.spec import PermutationSpec
from llfc.symmetry.spec.axes import Axis, axis_groups, axis_size, plain_segments
from llfc.symmetry.spec.kinds import SMALLER, Powers
from llfc.symmetry.spec.table import family

REDUCING = frozenset("mean sum nansum amax amin".split())
SHAPES_ALONE = (elementwise.uniform, elementwise.ignored)  # rules of what reads no entry


@dataclass
class Finding:
    """What each value of a walked graph carries.

    Attributes:
        walk: which knows the layout of each value.
        placing: which knows how groups lie on layouts.
        parameters: placeholder name -> name of its tensor in the state dict.
        strands: what is said of places.
    """

    walk: GraphWalk
    placing: Placing
    parameters: Mapping[str, str]
    strands: Strands = field(default_factory=Strands)
    carried: dict[fx.Node, Any] = field(default_factory=dict)
    tensors: dict[str, Carried] = field(default_factory=dict)
    one_of: dict[str, int] = field(default_factory=dict)

    def visit(self, graph: fx.Graph) -> Any:
        """Relate what the values of a graph carry; what its outputs do."""
        for node in graph.nodes:
            if node.op == "placeholder" and node.name in self.parameters:
                name = self.parameters[node.name]
                if name not in self.tensors:
                    self.tensors[name] = self.carries(self.walk.values[node], True)
                self.carried[node] = self.tensors[name]
            elif node.op == "output":
                return self.lookup(node.args)
            elif node not in self.carried:
                self.carried[node] = self.carries(self.walk.values.get(node))
                if node.op == "call_function":
                    self.relate(node)
        return []

    def lookup(self, value: Any) -> Any:
        """An argument with what it carries in the place of nodes."""
        if isinstance(value, fx.Node):
            return self.carried[value]
        if isinstance(value, list | tuple):
            return [self.lookup(part) for part in value]
        return value

    def relate(self, node: fx.Node) -> None:
        """Relate what a call reads and writes."""
        if isinstance(node.target, torch._ops.HigherOrderOperator):
            self.through(node)
            return
        values = {name: self.lookup(value) for name, value in arguments(node).items()}
        op = Operation(node, self.strands, values, self.carried[node], self.one_of)
        touched = [*op.tensors(), *carried_in(op.result)]
        if not any(x.families for x in touched) or RULES.get(operator_name(node)) in SHAPES_ALONE:
            return
        op.limit({name for x in touched for name in x.unsaid}, "permutation")
        try:
            relate_call(op)
        except Exception as error:
            raise RuleError(
                f"kinds: {where(node)}: its relation failed, which is a bug of llfc and not of the "
                f"model ({with_its_type(error)})"
            ) from error
        for target in written(node):
            held = carried_in(self.carried[target])
            for one, other in zip(held, carried_in(op.result), strict=True):
                tie_equal(op, one, other)

    def through(self, node: fx.Node) -> None:
        """A call of a graph inside the graph."""
        held = [k for k, arg in enumerate(node.args) if self.walk.is_graph(arg)]
        if len(held) != 1:
            values = {str(k): self.lookup(arg) for k, arg in enumerate(node.args)}
            op = Operation(node, self.strands, values, self.carried[node], self.one_of)
            op.limit_all("permutation")
            return
        inner = self.walk.memory.lookup(node.args[held[0]]).graph
        outer = node.args[held[0] + 1 :]
        for inside, given in zip(inner.find_nodes(op="placeholder"), outer, strict=True):
            self.carried[inside] = self.lookup(given)
        (self.carried[node],) = self.visit(inner)

    def carries(self, value: Any, is_parameter: bool = False) -> Any:
        """What a value carries: a Carried for each tensor, other things as they are."""
        if isinstance(value, list | tuple):
            return [self.carries(part) for part in value]
        if not isinstance(value, Layout):
            return value
        found = Carried(value, is_parameter=is_parameter or value.value is not None)
        unsaid = self.named(value.into) if isinstance(value.into, np.ndarray) else set()
        for dims, axis in self.placing.carried(settle(value)):
            if axis is None:
                slots = {slot for d in dims for slot in value.dims[d]}
                labels = [label for label in value.space.labels if slots & {*label.slots}]
                unsaid |= {name for label in labels for name in self.named(label.nodes.ravel())}
            else:
                found.runs.append(self.run(dims, axis, is_parameter))
        found.unsaid = frozenset(unsaid)
        for name in unsaid:
            self.named_place(name)
        return found

    def named_place(self, name: str) -> int:
        """The place of a family that stands for those that no run says."""
        if name not in self.one_of:
            self.one_of[name] = self.strands.place(name)
        return self.one_of[name]

    def run(self, dims: tuple[int, ...], axis: Axis, on_tensor: bool) -> Run:
        """A run with places of its own; groups that others are nested in are only permuted."""
        places: list[Place] = []
        for s, segment in enumerate(plain_segments(axis)):
            deepest = max((f for f, each in enumerate(segment) if len(each.groups) > 1), default=0)
            for f, factor in enumerate(segment):
                for name in dict.fromkeys(map(family, factor.groups)):
                    number = self.strands.place(name, on_tensor)
                    places.append(Place(name, s, f, number))
                    if f < deepest or len({*map(family, factor.groups)}) > 1:
                        self.strands.limit(number, "permutation")
        return Run(dims, axis, tuple(places))

    def named(self, nodes: Nodes) -> set[str]:
        """The families of some nodes."""
        groups, _ = self.placing.families.coordinates(self.placing.families.quotient.of[nodes])
        return {family(self.placing.names[g]) for g in np.unique(groups).tolist() if g >= 0}

    def on_axes(self, name: str, axes: tuple[Axis, ...]) -> list[dict[tuple[int, int], int]]:
        """For each axis of a tensor, the place of each segment and factor that a group moves."""
        carried = self.tensors.get(name)
        found: list[dict[tuple[int, int], int]] = []
        dim = 0
        for axis in axes:
            end, shape = dim + 1, carried.layout.shape if carried else ()
            while carried and math.prod(shape[dim:end]) != axis_size(axis) and end < len(shape):
                end += 1
            dims = tuple(range(dim, end))
            runs = [run for run in carried.runs if run.dims == dims] if carried else []
            dim = end
            if len(runs) == 1 and runs[0].axis == axis:
                found.append({(p.segment, p.factor): p.number for p in runs[0].places})
                continue
            found.append({})
            for group in axis_groups(axis):
                self.strands.only_permuted.add(family(group))
        return found

    def kinds(self, graph: fx.Graph, spec: PermutationSpec) -> "Found":
        """The largest kind of each family of a spec, and where its maps are on each axis."""
        self.visit(graph)
        tensors = {id(axes): name for name, axes in reversed(spec.axes.items())}  # of shared ones
        places = {name: self.on_axes(tensors[id(axes)], axes) for name, axes in spec.axes.items()}
        names = dict.fromkeys(map(family, spec.groups))
        kinds = {name: self.strands.kind(name) for name in names}
        return Found(self.strands, kinds, spec.axes, places)


def relate_call(op: Operation) -> None:
    """Relate what one call reads and writes, by its operator."""
    name = operator_name(op.node)
    fakes = [x for x in tree_leaves(op.node.meta.get("val")) if isinstance(x, Tensor)]
    if not all(fake.is_floating_point() or fake.is_complex() for fake in fakes[:1]):
        op.limit_all("permutation")  # counted, compared or rounded
    elif name in BY_OPERATOR:
        BY_OPERATOR[name](op)
    elif name == "getitem":
        taken_from(op)
    elif name in MOVING:
        viewed(op)
    else:
        kind = KIND_OF.get(name, "permutation")
        op.limit_all(kind)
        if kind != "permutation":
            (reduced if name in REDUCING else same)(op)


@dataclass
class Found:
    """The kinds of families, of which some may still be made smaller.

    Attributes:
        strands: what allows them.
        kinds: family -> its kind.
        axes: those of the spec.
        places: for each axis, the place of each segment and factor.
    """

    strands: Strands
    kinds: dict[str, str]
    axes: Mapping[str, tuple[Axis, ...]]
    places: Mapping[str, list[dict[tuple[int, int], int]]]

    def make_smaller(self, name: str) -> str:
        """The next smaller kind of a family that its strands allow; it is the family's now."""
        smaller = SMALLER[self.kinds[name]]
        self.kinds[name] = next(kind for kind in smaller if self.strands.allows(name, kind))
        return self.kinds[name]

    def powers(self) -> dict[str, tuple[Powers, ...]]:
        """The power of its group's map at each factor of each axis of each tensor."""
        powers: dict[int, int] = {}
        for name, kind in self.kinds.items():
            powers |= self.strands.powers(name, kind)
        return {
            name: tuple(powers_on(axis, at, powers) for axis, at in zip(own, places, strict=True))
            for (name, own), places in zip(self.axes.items(), self.places.values(), strict=True)
        }


def powers_on(
    axis: Axis, places: Mapping[tuple[int, int], int], powers: Mapping[int, int]
) -> Powers:
    """The power at each segment and factor of an axis."""
    return tuple(
        tuple(powers.get(places.get((s, f), -1), 0) for f in range(len(segment)))
        for s, segment in enumerate(plain_segments(axis))
    )
