"""A mode in which every random draw returns one number for all entries.

In train mode a network may draw random numbers per unit (dropout). Permuting its units changes
which unit gets which, and so the outputs, though not their distribution. The self-check therefore
makes all draws equal.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

OFF = {"dropout_p": 0.0, "dropout": 0.0, "train": False, "training": False}


def heads_or_tails(given: Mapping[str, Any]) -> Any:
    """1 (heads); where each entry has its own probability, the more likely of 0 and 1."""
    chance = given.get("p", given["self"])
    return chance.ge(0.5) if isinstance(chance, Tensor) else 1


TYPICAL: dict[str, Callable[[Mapping[str, Any]], Any]] = {
    "rand": lambda given: 0.5,
    "rand_like": lambda given: 0.5,
    "randn": lambda given: 0.5,
    "randn_like": lambda given: 0.5,
    "uniform": lambda given: (given["from"] + given["to"]) / 2,
    "normal": lambda given: given["mean"] + given["std"] / 2,
    "exponential": lambda given: 1 / given["lambd"],
    "cauchy": lambda given: given["median"],
    "log_normal": lambda given: math.exp(given["mean"]),
    "geometric": lambda given: 1,
    "bernoulli": heads_or_tails,
}


class OneDraw(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Within the context, a draw gives all entries one number, and dropout is the identity."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if torch.Tag.nondeterministic_seeded not in func.tags:
            return func(*args, **kwargs)
        schema = func._schema
        given = {a.name: a.default_value for a in schema.arguments if a.has_default_value()}
        given |= dict(zip((a.name for a in schema.arguments), args, strict=False)) | kwargs
        off = {name: value for name, value in OFF.items() if name in given}
        if off:
            return func(**(given | off))
        result = func(*args, **kwargs)
        typical = TYPICAL.get(schema.name.removeprefix("aten::").rstrip("_"))
        return result if typical is None else result.copy_(torch.as_tensor(typical(given)))
