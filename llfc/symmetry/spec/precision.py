"""A network run in float64, whatever precision its code asks for.

A network in float16 or bfloat16 rounds by more than any tolerance that a false symmetry would fail,
and upcasting a copy of it does not help where its own code says `.float()` or `.half()`. So its
tensors are upcast, and every operator that would leave float64 stays in it.
"""

from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode


def double_type(dtype: torch.dtype) -> torch.dtype:
    """The double of a floating or complex type; others as they are.

    >>> double_type(torch.bfloat16), double_type(torch.complex64), double_type(torch.int8)
    (torch.float64, torch.complex128, torch.int8)
    """
    if dtype.is_complex:
        return torch.complex128
    return torch.float64 if dtype.is_floating_point else dtype


def in_double(value: Any) -> Any:
    """Tensors and types in double, whatever else as it is."""
    if isinstance(value, Tensor):
        return value.to(double_type(value.dtype))
    return double_type(value) if isinstance(value, torch.dtype) else value


class InDouble(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Every operator computes in float64 and returns it."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        shared = [a.alias_info for a in func._schema.arguments if a.alias_info is not None]
        if shared and not any(alias.is_write for alias in shared):
            return func(*args, **(kwargs or {}))  # a view is of the memory that it is of
        written = {a.name for a in func._schema.arguments if a.alias_info is not None}
        names = [a.name for a in func._schema.arguments]
        given = [
            value if name in written else pytree.tree_map(in_double, value)
            for name, value in zip(names, args, strict=False)
        ]
        rest = {
            name: value if name in written else pytree.tree_map(in_double, value)
            for name, value in (kwargs or {}).items()
        }
        result = func(*given, **rest)
        return result if written else pytree.tree_map(in_double, result)


class Lowest(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes the coarsest floating type that an operator returns.

    Attributes:
        eps: its distance from one to the next number.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.eps = torch.finfo(torch.float32).eps

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        for x in pytree.tree_leaves((args, result)):
            if isinstance(x, Tensor) and (x.is_floating_point() or x.is_complex()):
                self.eps = max(self.eps, torch.finfo(x.dtype).eps)
        return result
