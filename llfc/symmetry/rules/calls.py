"""Operators' calls, and the rules that say what each does to the layouts of its arguments."""

import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx
from torch.utils._pytree import tree_leaves

from llfc.symmetry.layouts.layout import Layout, Refusal, pin, plain
from llfc.symmetry.layouts.units import SHOWN, Units

Value = Any  # a Layout, a list of them, or a plain argument
Rule = Callable[["Call"], Value]
RULES: dict[str, Rule] = {}
UNKNOWN_SIZE = (
    "the size of its result depends on the data; compute all rows and choose from the results with"
    " torch.where, or by a factor of 0 or 1"
)
ALONE = "one of them is picked out by its position"
# Operators that rearrange a tensor and leave its entries as they are.
VIEWS = (
    *("view", "reshape", "flatten", "unflatten", "_unsafe_view", "view_as", "reshape_as"),
    *("permute", "transpose", "swapaxes", "t", "mT", "movedim", "squeeze", "unsqueeze", "slice"),
    *("expand", "expand_as", "broadcast_to", "select", "narrow", "repeat", "repeat_interleave"),
    *("clone", "alias", "contiguous", "detach", "to", "_to_copy", "type_as", "flip", "roll"),
)
# Operators whose rules know what whole numbers that name units are (`Layout.into`).
LOOKUPS = (
    *("embedding", "index_select", "index", "_unsafe_index", "one_hot", "eq", "gather"),
    *("take_along_dim", "scatter", "scatter_add", "getitem", "zeros_like", "ones_like"),
)
# Operators whose rules know picked axes (`Layout.picks`), beside those that work entry by entry.
PICKING = (
    *("linear", "matmul", "bmm", "mm", "mv", "addmm", "baddbmm", "einsum", "permute", "transpose"),
    *("swapaxes", "t", "mT", "movedim", "squeeze", "unsqueeze", "clone", "alias", "contiguous"),
    *("detach", "to", "_to_copy", "dropout", "gelu", "silu", "elu", "leaky_relu", "softplus"),
    *("mean", "sum", "amax", "amin", "softmax", "log_softmax", "layer_norm", "rms_norm"),
    *("view", "reshape", "flatten", "unflatten", "_unsafe_view", "view_as", "reshape_as", "select"),
)
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

    @property
    def name(self) -> str:
        """The operator's name."""
        return operator_name(self.node)

    def __getitem__(self, name: str) -> Value:
        return self.values[name]

    def tensor(self, name: str) -> Layout:
        """An argument that must be a tensor."""
        value = self.values[name]
        if not isinstance(value, Layout):
            raise Refusal(f"its {name} is no tensor")
        return value

    def pin(self, layout: Layout, dims: Iterable[int], why: str) -> list[str]:
        """Make dimensions fixed because of this call; the reason of each, as `layout.pin` says."""
        return [pin(layout, layout.dims[dim], self.why(why)) for dim in dims if layout.raw]

    def used_as_numbers(self) -> None:
        """Positions of units that are used other than to look up what is theirs tell them apart."""
        for layout in self.tensors():
            if isinstance(layout.into, np.ndarray):
                why = "positions of units are used as numbers, not only to look up"
                self.units.freeze(layout.into, self.why(why))

    def why(self, reason: str) -> str:
        """A reason, as a line of `PermutationSpec.frozen`."""
        return f"{where(self.node)}: {reason}"

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
        if has_unknown_size(self.node):
            raise Refusal(UNKNOWN_SIZE)
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
    named = isinstance(layout.into, np.ndarray)
    return not layout.space.labels and not layout.space.free and not named


def has_unknown_size(node: fx.Node) -> bool:
    """Whether a node's tensors are as large as the data make them."""
    fakes = [x for x in tree_leaves(node.meta.get("val")) if isinstance(x, Tensor)]
    return any(isinstance(n, torch.SymInt) for x in fakes for n in x.shape)


def is_number(call: Call) -> bool:
    """Whether a call makes one number, or several of them, of others: there are no axes."""
    fakes = [x for x in tree_leaves(call.node.meta.get("val")) if isinstance(x, Tensor)]
    alone = all(not x.slots() and x.into is None for x in call.tensors())
    return bool(call.tensors()) and alone and all(fake.numel() == 1 for fake in fakes)


def stilled(units: Units, value: Any, why: str) -> Value:
    """Fixed layouts in the place of a result's tensors; `why` as in `layout.pin`."""
    if isinstance(value, Tensor):
        return plain(units, [int(n) for n in value.shape], "fixed", why=why)
    if isinstance(value, list | tuple):
        return [stilled(units, part, why) for part in value]
    return value


def module_path(node: fx.Node) -> str:
    """The path of the module in whose forward a node was made; empty for the model itself."""
    stack = node.meta.get("nn_module_stack") or {}
    paths = [path for path, _ in stack.values()]
    return str(paths[-1]).split("@")[0] if paths else ""


def where(node: fx.Node) -> str:
    """An operator's call in words: the operator, the node and the module."""
    path = module_path(node) or "(the model itself)"
    return f"{node.target} at node {node.name} in module {path}"


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
    if not isinstance(value, Tensor) or value.layout is not torch.strided:
        return None
    return int(value.untyped_storage()._cdata)


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


def rule_of(node: fx.Node) -> Rule | None:
    """The rule of an operator; Python's arithmetic, of sizes, has none."""
    known = isinstance(node.target, torch._ops.OpOverload) or node.target is operator.getitem
    return RULES.get(operator_name(node)) if known else None


def fallback(node: fx.Node, call: Call) -> Rule | None:
    """What to do with an operator that has no rule of its own; None: units meet it."""
    if is_pointwise(node):
        return RULES["pointwise"]
    if all(is_still(layout) for layout in call.tensors()):
        if node.users and node.meta.get("val") is None:
            raise Refusal("what it returns is not known")
        if has_unknown_size(node):
            raise Refusal(UNKNOWN_SIZE)
        return lambda call: stilled(call.units, call.node.meta.get("val"), SHOWN)
    return None
