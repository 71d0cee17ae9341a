"""Walk an exported graph from its inputs to its outputs, one rule an operator."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx

from llfc.matching.symmetry.layout import Layout, Refusal, pin, plain, settle
from llfc.matching.symmetry.units import Units

Value = Any  # a Layout, a list of them, or a plain argument
Rule = Callable[["Call"], Value]
RULES: dict[str, Rule] = {}


def rule(*names: str) -> Callable[[Rule], Rule]:
    """Register a function as the rule of ATen operators, by name without overload."""

    def register(function: Rule) -> Rule:
        RULES.update(dict.fromkeys(names, function))
        return function

    return register


@dataclass
class Call:
    """One operator's call: its arguments, with layouts for tensors, and its result's shape."""

    units: Units
    node: fx.Node
    values: dict[str, Value]
    owner: str
    training: bool = False

    def __getitem__(self, name: str) -> Value:
        return self.values[name]

    def tensor(self, name: str) -> Layout:
        """An argument that must be a tensor."""
        value = self.values[name]
        assert isinstance(value, Layout), name
        return value

    def part(self, word: str) -> str:
        """A name for what an operator finds in its tensors: the heads of this module."""
        return f"{self.owner}.{word}".lstrip(".")

    @property
    def first(self) -> Layout:
        """The first tensor argument."""
        return self.tensors()[0]

    def tensors(self) -> list[Layout]:
        """All tensor arguments, those in lists too."""
        return layouts_in(list(self.values.values()))

    @property
    def result(self) -> Any:
        """The fake tensor, or tensors, that the operator returns."""
        return self.node.meta["val"]

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the result."""
        return tuple(int(n) for n in self.result.shape)

    def dim(self, dim: int, of: Layout | None = None) -> int:
        """A dimension counted from the front."""
        return dim % max(len((of or self.first).raw), 1)

    def dims(self, dims: int | Sequence[int] | None, of: Layout | None = None) -> list[int]:
        """Dimensions counted from the front; all, if none is named."""
        layout = of or self.first
        if dims is None or (not isinstance(dims, int) and not len(dims)):
            return list(range(len(layout.raw)))
        return [self.dim(d, layout) for d in ([dims] if isinstance(dims, int) else dims)]


def layouts_in(value: Value) -> list[Layout]:
    """The layouts in nested lists, in order."""
    if isinstance(value, Layout):
        return [value]
    if isinstance(value, list | tuple):
        return [layout for part in value for layout in layouts_in(part)]
    return []


def is_still(layout: Layout) -> bool:
    """Whether no unit can move anything in a tensor."""
    return not layout.space.labels and not layout.space.free


def stilled(units: Units, value: Any) -> Value:
    """Fixed layouts in the place of a result's tensors."""
    if isinstance(value, Tensor):
        return plain(units, [int(n) for n in value.shape], "fixed")
    if isinstance(value, list | tuple):
        return [stilled(units, part) for part in value]
    return value


def module_path(node: fx.Node) -> str:
    """The path of the module in whose forward a node was made; empty for the model itself."""
    stack = node.meta.get("nn_module_stack") or {}
    paths = [path for path, _ in stack.values()]
    return str(paths[-1]).split("@")[0] if paths else ""


@dataclass
class Walk:
    """The layouts of a graph's values, and what had to be frozen on the way."""

    units: Units
    strict: bool
    values: dict[fx.Node, Value] = field(default_factory=dict)
    roots: dict[fx.Node, fx.Node] = field(default_factory=dict)
    frozen: list[str] = field(default_factory=list)

    def run(self, graph: fx.Graph) -> None:
        """Derive the layout of every node; placeholders must have theirs.

        Raises:
            ValueError: an operator that no rule covers; one line with the node and the module.
        """
        for node in graph.nodes:
            if node.op == "call_function":
                self.values[node] = self.derive(node)
            elif node.op == "output":
                for layout in layouts_in(self.lookup(node.args)):
                    pin(settle(layout), layout.slots())
            elif node.op not in ("placeholder", "get_attr"):
                raise ValueError(f"permutation spec: node {node.name} is a {node.op}")

    def lookup(self, value: Any) -> Value:
        """An argument with layouts in the place of nodes."""
        if isinstance(value, fx.Node):
            return self.values[value]
        if isinstance(value, list | tuple):
            return [self.lookup(part) for part in value]
        return value

    def derive(self, node: fx.Node) -> Value:
        """The layout of one node, by its rule; refused or frozen if there is none."""
        call = self.call(node)
        name = operator_name(node)
        try:
            found = RULES[name] if name in RULES else fallback(node, call)
            result = found(call)
            self.mutate(node, call, result)
            return result
        except Refusal as refusal:
            path = module_path(node) or "(the model itself)"
            line = f"{node.target} at node {node.name} in module {path}: {refusal}"
            if self.strict:
                raise ValueError(f"permutation spec: {line}") from None
            self.frozen.append(line)
            for layout in call.tensors():
                pin(settle(layout), layout.slots())
            result = stilled(self.units, node.meta.get("val"))
            self.mutate(node, call, result)
            return result

    def call(self, node: fx.Node) -> Call:
        """The arguments by name, with the operator's defaults."""
        args = self.lookup(node.args)
        schema = getattr(node.target, "_schema", None)
        if schema is None:
            values = {str(i): value for i, value in enumerate(args)}
        else:
            values = {
                a.name: a.default_value if a.has_default_value() else None for a in schema.arguments
            }
            values |= dict(zip((a.name for a in schema.arguments), args, strict=False))
            values |= {name: self.lookup(value) for name, value in node.kwargs.items()}
        return Call(self.units, node, values, module_path(node))

    def mutate(self, node: fx.Node, call: Call, result: Value) -> None:
        """Follow views and writes: a write through a view freezes what it is a view of."""
        source = next((a for a in node.all_input_nodes), None)
        schema = getattr(node.target, "_schema", None)
        if schema is None or source is None:
            return
        if is_view(node):
            self.roots[node] = self.roots.get(source, source)
        for argument, value in zip(schema.arguments, node.args, strict=False):
            if argument.alias_info is None or not argument.alias_info.is_write:
                continue
            if isinstance(value, fx.Node):
                self.written(value, call, result)
                self.roots[node] = self.roots.get(value, value)

    def is_told(self, root: fx.Node) -> bool:
        """Whether every slot is fixed or has units, so that a slice of it is a set of its own."""
        for layout in layouts_in(self.values[root]):
            space = layout.space
            known = space.fixed | {s for label in space.labels for s in label.slots}
            if not set(layout.slots()) <= known:
                return False
        return True

    def written(self, target: fx.Node, call: Call, result: Value) -> None:
        """A tensor was overwritten by a result."""
        root = self.roots.get(target, target)
        if isinstance(result, Layout) and root is target:
            self.values[target] = result
        if root is target or self.values[root] is self.values[target]:
            return
        if len(call.tensors()) == 1 and (whole_view(target, root) or self.is_told(root)):
            return
        for layout in layouts_in(self.values[root]):
            pin(settle(layout), layout.slots())
            self.values[root] = plain(self.units, layout.shape, "fixed")


def whole_view(target: fx.Node, root: fx.Node) -> bool:
    """Whether a view shows all of what it is a view of."""
    one, other = target.meta.get("val"), root.meta.get("val")
    return isinstance(one, Tensor) and isinstance(other, Tensor) and one.numel() == other.numel()


def is_view(node: fx.Node) -> bool:
    """Whether the result may share memory with the first argument, unwritten."""
    schema = getattr(node.target, "_schema", None)
    if operator_name(node) in ("reshape", "flatten", "contiguous", "getitem", "to", "dropout"):
        return True
    returned = schema.returns[0].alias_info if schema and schema.returns else None
    return returned is not None and not returned.is_write


def operator_name(node: fx.Node) -> str:
    """The operator's name without namespace, overload and the mark of an in-place operator."""
    target = node.target
    if isinstance(target, torch._ops.OpOverload):
        space, _, name = target._schema.name.partition("::")
        if name.endswith("_") and not name.startswith("_"):
            name = name.rstrip("_")
        return name if space == "aten" else f"{space}::{name}"
    return getattr(target, "__name__", str(target))


def is_pointwise(node: fx.Node) -> bool:
    """Whether PyTorch declares an operator, or its twin that writes elsewhere, elementwise."""
    target = node.target
    if not isinstance(target, torch._ops.OpOverload):
        return False
    if torch.Tag.pointwise in target.tags:
        return True
    twin = getattr(torch.ops.aten, operator_name(node), None)
    overloads = [getattr(twin, name) for name in twin.overloads()] if twin is not None else []
    return any(torch.Tag.pointwise in overload.tags for overload in overloads)


def fallback(node: fx.Node, call: Call) -> Rule:
    """What to do with an operator that has no rule of its own.

    Raises:
        Refusal: units meet an operator that nobody has described.
    """
    if is_pointwise(node):
        return RULES["pointwise"]
    if all(is_still(layout) for layout in call.tensors()):
        return lambda call: stilled(call.units, call.node.meta.get("val"))
    raise Refusal("no rule says how this operator treats hidden units")
