"""What an exported graph says of one operator's call, whatever is known of its tensors."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, fx
from torch.utils._pytree import tree_leaves

# Operators that rearrange a tensor and leave its entries as they are.
VIEWS = (
    *("view", "reshape", "flatten", "unflatten", "_unsafe_view", "view_as", "reshape_as"),
    *("permute", "transpose", "swapaxes", "t", "mT", "movedim", "squeeze", "unsqueeze", "slice"),
    *("expand", "expand_as", "broadcast_to", "select", "narrow", "repeat", "repeat_interleave"),
    *("clone", "alias", "contiguous", "detach", "to", "_to_copy", "type_as", "flip", "roll"),
)
SPLITTING = (  # operators that return consecutive runs of one dimension
    *("chunk", "split", "split_with_sizes", "tensor_split"),
    *("unsafe_chunk", "unsafe_split", "unsafe_split_with_sizes", "hsplit", "vsplit", "dsplit"),
)
SPLIT_BY_NAME = {"vsplit": 0, "hsplit": 1, "dsplit": 2}  # the dimension of those that take none


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


def module_path(node: fx.Node) -> str:
    """The path of the module in whose forward a node was made; empty for the model itself."""
    stack = node.meta.get("nn_module_stack") or {}
    paths = [path for path, _ in stack.values()]
    return str(paths[-1]).split("@")[0] if paths else ""


def where(node: fx.Node) -> str:
    """An operator's call in words: the operator, the node and the module."""
    path = module_path(node) or "(the model itself)"
    return f"{node.target} at node {node.name} in module {path}"


def has_unknown_size(node: fx.Node) -> bool:
    """Whether a node's tensors are as large as the data make them."""
    fakes = [x for x in tree_leaves(node.meta.get("val")) if isinstance(x, Tensor)]
    return any(isinstance(n, torch.SymInt) for x in fakes for n in x.shape)


def is_pointwise(node: fx.Node) -> bool:
    """Whether PyTorch declares an operator, or its variant that writes elsewhere, elementwise."""
    target = node.target
    if not isinstance(target, torch._ops.OpOverload):
        return False
    if torch.Tag.pointwise in target.tags:
        return True
    variant = getattr(torch.ops.aten, operator_name(node), None)
    overloads = (
        [getattr(variant, name) for name in variant.overloads()] if variant is not None else []
    )
    return any(torch.Tag.pointwise in overload.tags for overload in overloads)


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


def is_view(node: fx.Node, source: fx.Node) -> bool:
    """Whether a node shares memory with its first argument, unwritten."""
    if operator_name(node) == "dropout":  # in eval mode it returns its input
        return True
    memory = memory_of(node)
    return memory is not None and memory == memory_of(source) and not any(written(node))
