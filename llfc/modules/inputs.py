"""What a model takes: one tensor, several, or tensors by name; a sample along dimension 0 of each.

A tuple or list is taken as positional arguments, a dictionary as keyword arguments, as Hugging
Face's models are called. Each may hold further containers. Tensors without a dimension, and what is
no tensor, are handed on as they are.
"""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

Inputs = Tensor | tuple[Any, ...] | list[Any] | Mapping[str, Any]


def run(model: nn.Module, inputs: Inputs) -> Any:
    """What `model` gives on a batch."""
    if isinstance(inputs, Mapping):
        return model(**inputs)
    return model(*inputs) if isinstance(inputs, tuple | list) else model(inputs)


def positional(model: nn.Module, inputs: Inputs) -> tuple[Any, ...]:
    """`inputs` as positional arguments, in the order of the forward code's own, for an export.

    Raises:
        ValueError: if a name in them is none of the forward code's, or of a keyword argument alone.
    """
    if not isinstance(inputs, Mapping):
        return tuple(inputs) if isinstance(inputs, tuple | list) else (inputs,)
    names = list(inspect.signature(model.forward).parameters.values())
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    order = {each.name: each.default for each in names if each.kind in kinds}
    for name in inputs:
        if name not in order:
            raise ValueError(
                f"inputs must be positional arguments of {type(model).__name__}, and {name!r} is"
                " none: wrap the model in a module whose forward names it"
            )
    last = max(list(order).index(name) for name in inputs)
    found = {name: inputs.get(name, default) for name, default in list(order.items())[: last + 1]}
    return tuple(None if x is inspect.Parameter.empty else x for x in found.values())


def batched(inputs: Any) -> list[Tensor]:
    """The tensors that hold a sample along dimension 0."""
    return [x for x in pytree.tree_leaves(inputs) if isinstance(x, Tensor) and x.ndim]


def count_of(inputs: Any) -> int:
    """How many samples are in a batch; 0 if it holds no tensor."""
    found = batched(inputs)
    return len(found[0]) if found else 0


def each_of(inputs: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """`inputs` with `change` made to every tensor that holds samples."""
    if isinstance(inputs, Tensor):
        return change(inputs) if inputs.ndim else inputs
    return pytree.tree_map_only(Tensor, lambda x: change(x) if x.ndim else x, inputs)


def taken(inputs: Any, rows: slice | Tensor) -> Any:
    """Some of the samples: a part, or those with the indices `rows`."""
    if isinstance(rows, slice):
        return each_of(inputs, lambda x: x[rows])
    return each_of(inputs, lambda x: x[rows.to(x.device)])


def joined(batches: list[Any]) -> Any:
    """Batches of one structure as one.

    Raises:
        ValueError: if samples of different batches have different shapes.
    """
    leaves = [pytree.tree_flatten(batch) for batch in batches]
    columns = zip(*(parts for parts, _ in leaves), strict=True)
    if any(x.shape[1:] != y.shape[1:] for b in batches for x, y in _pairs(batches[0], b)):
        raise ValueError(
            "samples of different batches must have one shape to be compared: pad them alike"
        )
    whole = [
        torch.cat(parts) if isinstance(parts[0], Tensor) and parts[0].ndim else parts[0]
        for parts in columns
    ]
    return pytree.tree_unflatten(whole, leaves[0][1])


def _pairs(one: Any, other: Any) -> Any:
    return zip(batched(one), batched(other), strict=True)


def backwards(inputs: Any) -> Any:
    """`inputs` with all numbers of each tensor in reverse order: others, of the same kind."""
    return each_of(inputs, lambda x: x.reshape(-1).flip(0).view_as(x))


def equal(one: Any, other: Any) -> bool:
    """Whether two batches hold the same numbers."""
    return all(torch.equal(x, y) for x, y in _pairs(one, other))


def alike(one: Any, other: Any) -> bool:
    """Whether two batches have the same shapes."""
    return [x.shape for x in batched(one)] == [x.shape for x in batched(other)]


def cloned(inputs: Any) -> Any:
    """`inputs` in memory of their own."""
    if isinstance(inputs, Tensor):
        return inputs.clone()
    return pytree.tree_map_only(Tensor, Tensor.clone, inputs)


def check_dense(role: str, inputs: Any) -> None:
    """Refuse tensors in `inputs` that are sparse or nested.

    Args:
        role: what the caller calls `inputs`.
        inputs: of any structure.

    Raises:
        ValueError: if there is one.
    """
    for leaf in pytree.tree_leaves(inputs):
        if isinstance(leaf, Tensor) and (leaf.layout != torch.strided or leaf.is_nested):
            kind = "nested" if leaf.is_nested else str(leaf.layout)
            raise ValueError(
                f"{role} must be dense tensors, got one that is {kind}: call .to_dense()"
                " on it, or pad it"
            )


def outside_inference(inputs: Any) -> Any:
    """`inputs` in which copies stand for tensors that were made in inference mode."""
    return pytree.tree_map_only(Tensor, lambda x: x.clone() if x.is_inference() else x, inputs)


def versions(inputs: Any) -> list[int]:
    """How often each tensor in `inputs` was written into."""
    return [x._version for x in pytree.tree_leaves(inputs) if isinstance(x, Tensor)]


def on_device(inputs: Any, device: torch.device) -> Any:
    """`inputs` with all tensors on `device`."""
    if isinstance(inputs, Tensor):
        return inputs.to(device)
    return pytree.tree_map_only(Tensor, lambda x: x.to(device), inputs)
