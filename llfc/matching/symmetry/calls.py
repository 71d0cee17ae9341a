"""Operators' calls, and the rules that say what each does to the layouts of its arguments."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx

from llfc.matching.symmetry.layout import Layout, plain
from llfc.matching.symmetry.units import Units

Value = Any  # a Layout, a list of them, or a plain argument
Rule = Callable[["Call"], Value]
RULES: dict[str, Rule] = {}
SPLITS = (  # operators that return consecutive runs of one dimension
    *("chunk", "split", "split_with_sizes", "tensor_split"),
    *("unsafe_chunk", "unsafe_split", "unsafe_split_with_sizes"),
)


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


def is_view(node: fx.Node, source: fx.Node) -> bool:
    """Whether a node shares memory with its first argument, unwritten."""
    if operator_name(node) == "dropout":  # in eval mode it returns its input
        return True
    memory = memory_of(node)
    return memory is not None and memory == memory_of(source) and not any(written(node))


def written(node: fx.Node) -> Iterator[fx.Node]:
    """The nodes that a call writes to."""
    schema = getattr(node.target, "_schema", None)
    for argument, value in zip(schema.arguments if schema else (), node.args, strict=False):
        is_write = argument.alias_info is not None and argument.alias_info.is_write
        if is_write and isinstance(value, fx.Node):
            yield value


def memory_of(node: fx.Node) -> int | None:
    """What memory a node's tensor, or the first of them, lies in."""
    value = node.meta.get("val")
    while isinstance(value, list | tuple) and value:
        value = value[0]
    return value.untyped_storage()._cdata if isinstance(value, Tensor) else None


def operator_name(node: fx.Node) -> str:
    """The operator's name without namespace, overload and the mark of an in-place operator."""
    target = node.target
    if isinstance(target, torch._ops.OpOverload):
        space, _, name = target._schema.name.partition("::")
        if name.endswith("_") and not name.startswith("_"):
            name = name.rstrip("_")
        return name if space == "aten" else f"{space}::{name}"
    return getattr(target, "__name__", str(target))


def arguments(node: fx.Node) -> dict[str, Any]:
    """An operator's arguments by name, with its defaults."""
    schema = getattr(node.target, "_schema", None)
    if schema is None:
        return {str(i): value for i, value in enumerate(node.args)}
    values = {a.name: a.default_value if a.has_default_value() else None for a in schema.arguments}
    values |= dict(zip((a.name for a in schema.arguments), node.args, strict=False))
    return values | node.kwargs


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


def fallback(node: fx.Node, call: Call) -> Rule | None:
    """What to do with an operator that has no rule of its own; None: units meet it."""
    if is_pointwise(node):
        return RULES["pointwise"]
    if all(is_still(layout) for layout in call.tensors()):
        return lambda call: stilled(call.units, call.node.meta.get("val"))
    return None
