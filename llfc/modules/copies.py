"""Copies of networks: whatever is run, hooked or put in another mode is one, never the caller's."""

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from llfc.devices import fastest_layout
from llfc.oneline import first_line


class _ComputedToo(TorchFunctionMode):
    """Within it, `copy.deepcopy` takes tensors that were computed, as the numbers that they are.

    A weight that is derived from others (weight norm, spectral norm, pruning) is one once the
    network has run; by itself torch copies only tensors that have no history.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        del types
        if func is Tensor.__deepcopy__ and not args[0].is_leaf:
            tensor, known = args
            return known.setdefault(id(tensor), tensor.detach().clone())
        return func(*args, **kwargs or {})


def copy_of(model: nn.Module, role: str = "model") -> nn.Module:
    """A copy of `model` that shares no tensor with it: modules, modes, hooks, attributes.

    Raises:
        ValueError: in one line, if something in `model` cannot be copied, or refuses to be.
    """
    try:
        with torch.no_grad(), _ComputedToo():
            copied = copy.deepcopy(model, _overlapping(model))
    except Exception as error:  # whatever the parts of a model raise
        reason = first_line(error)
        raise ValueError(
            f"{role} must support copy.deepcopy, as only copies of it are run: {reason}"
        ) from error
    mine = {id(tensor) for tensor in tensors(model).values()}
    for name, tensor in tensors(copied).items():
        if id(tensor) in mine:
            raise ValueError(f"{role} must be copied completely, but copies share {name!r} with it")
    return copied


def _overlapping(model: nn.Module) -> dict[int, Any]:
    """Copies of the tensors that share memory with others, which share theirs alike; by identity.

    By itself `copy.deepcopy` gives every parameter memory of its own.
    """
    held: dict[int, list[Tensor]] = {}
    for tensor in tensors(model).values():
        if type(tensor) in (Tensor, nn.Parameter) and tensor.layout == torch.strided:
            held.setdefault(tensor.untyped_storage().data_ptr(), []).append(tensor)
    known: dict[int, Any] = {}
    for memory, sharing in held.items():
        if len(sharing) > 1 and memory:
            storage = sharing[0].untyped_storage().clone()  # type: ignore[no-untyped-call]
            for tensor in sharing:
                copied = torch.empty(0, dtype=tensor.dtype, device=tensor.device)
                copied.set_(storage, tensor.storage_offset(), tensor.shape, tensor.stride())
                if isinstance(tensor, nn.Parameter):
                    copied = nn.Parameter(copied, tensor.requires_grad)
                known[id(tensor)] = copied
    return known


def eval_copy(model: nn.Module, role: str = "model") -> nn.Module:
    """A copy of `model` in eval mode, whose tensors want no gradient.

    Modules that change when they go into eval mode (adapters that merge their weights) change in
    the copy alone; one that is in eval mode already is not put there again.

    Raises:
        ValueError: in one line, if `model` cannot be copied, or has no eval mode.
    """
    copied = copy_of(model, role)
    try:
        if any(module.training for module in copied.modules()):
            copied.eval()
        for tensor in tensors(copied).values():
            tensor.requires_grad_(False)
    except Exception as error:  # whatever a model's own code raises
        reason = first_line(error)
        raise ValueError(f"{role} must have an eval mode: {reason}") from error
    return copied


def frozen_copy(model: nn.Module) -> nn.Module:
    """As `eval_copy`, in the fastest layout."""
    copied = eval_copy(model)
    layout = fastest_layout(copied)
    return copied.to(memory_format=layout)  # type: ignore[call-overload, no-any-return]


def device_of(model: nn.Module) -> torch.device:
    """Where `model` is."""
    first = next(iter(tensors(model).values()), None)
    return torch.device("cpu") if first is None else first.device


def tensors(model: nn.Module) -> dict[str, Tensor]:
    """Every parameter and buffer by its name, a shared one once; temporary buffers included."""
    return dict(model.named_parameters()) | dict(model.named_buffers())


@torch.no_grad()
def copy_into(model: nn.Module, values: Mapping[str, Tensor]) -> None:
    """Put `values` into the parameters and buffers of `model`, whole numbers aside.

    Whole numbers, such as a norm's count of batches, stay as they are: there is nothing between
    two of them.
    """
    for name, tensor in tensors(model).items():
        if tensor.is_floating_point() or tensor.is_complex():
            tensor.copy_(values[name])
