"""Tensors of a state dict that share memory."""

from collections.abc import Mapping

from torch import Tensor


def shared_names(state: Mapping[str, Tensor]) -> dict[str, str]:
    """For each tensor, the first name with the same memory: that of tied parameters is shared."""
    first: dict[object, str] = {}
    found = {}
    for name, tensor in state.items():
        key: object = name
        if tensor.numel():
            key = (tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype)
        found[name] = first.setdefault(key, name)
    return found


def overlapping(state: Mapping[str, Tensor]) -> list[str]:
    """Tensors that share some memory with another one but are not the same."""
    spans = sorted(
        (tensor.data_ptr(), tensor.data_ptr() + extent(tensor), name)
        for name, first in shared_names(state).items()
        if first == name and (tensor := state[name]).numel()
    )
    found: set[str] = set()
    reach, holder = 0, ""
    for start, end, name in spans:
        if start < reach:
            found |= {holder, name}
        if end > reach:
            reach, holder = end, name
    return sorted(found)


def extent(tensor: Tensor) -> int:
    """Bytes from a tensor's first entry to behind its last."""
    steps = sum((n - 1) * s for n, s in zip(tensor.shape, tensor.stride(), strict=True))
    return (steps + 1) * tensor.element_size()
