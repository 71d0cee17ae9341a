"""Tensors that a network computes with and that its state dict does not hold.

No permutation moves them and no line between two networks blends them: plain attributes, buffers
that are not persistent, the weights of layers in a Python list. What is written into the code of
`forward` is no such tensor: it is the same for every network of that code.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

INTERNAL = {*vars(nn.Module())}  # where a module holds what its state dict is made of


def outside(model: nn.Module, constants: Mapping[str, Tensor]) -> list[str]:
    """The names, in the model, of those of its graph's constants that are tensors of the model.

    Args:
        model: the network.
        constants: any name -> a tensor that the graph uses and the state dict does not hold.

    >>> model = nn.Linear(2, 3)
    >>> model.layers = [nn.Linear(3, 1, bias=False)]
    >>> outside(model, {"lifted_tensor_0": model.layers[0].weight.detach()})
    ['layers[0].weight']
    """
    used = {memory(tensor) for tensor in constants.values()}
    found = {memory(tensor): name for name, tensor in reversed([*attributes(model)])}
    return sorted(name for key, name in found.items() if key in used)


def memory(tensor: Tensor) -> tuple[object, ...]:
    """Equal for two tensors only if they are the same numbers at the same place."""
    if tensor.layout is not torch.strided:
        return (id(tensor),)
    return tensor.data_ptr(), tensor.dtype, tuple(tensor.shape), tuple(tensor.stride())


def attributes(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Every tensor that can be reached from a model and is not in its state dict, by name."""
    state = {*model.state_dict(keep_vars=False)}
    seen: set[int] = {id(module) for module in model.modules()}
    for path, module in model.named_modules():
        prefix = f"{path}." if path else ""
        for name, buffer in module.named_buffers(recurse=False):
            if prefix + name not in state:
                yield prefix + name, buffer
        for name, value in vars(module).items():
            if name not in INTERNAL:
                yield from tensors_in(prefix + name, value, seen)


def tensors_in(name: str, value: Any, seen: set[int]) -> Iterator[tuple[str, Tensor]]:
    """The tensors of nested lists, dicts and modules that are no submodules."""
    if isinstance(value, Tensor):
        yield name, value
        return
    if id(value) in seen or not isinstance(value, list | tuple | Mapping | nn.Module):
        return
    seen.add(id(value))
    if isinstance(value, nn.Module):
        held = [*value.named_parameters(recurse=False), *value.named_buffers(recurse=False)]
        parts = [(f"{name}.{key}", part) for key, part in [*held, *value.named_children()]]
        own = [(key, part) for key, part in vars(value).items() if key not in INTERNAL]
        parts += [(f"{name}.{key}", part) for key, part in own]
    elif isinstance(value, Mapping):
        parts = [(f"{name}[{key!r}]", part) for key, part in value.items()]
    else:
        parts = [(f"{name}[{key}]", part) for key, part in enumerate(value)]
    for inner, part in parts:
        yield from tensors_in(inner, part, seen)
