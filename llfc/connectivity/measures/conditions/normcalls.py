"""Calls of PyTorch's norms, as functions that can be applied to another input."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from llfc.modules.sites import NORM_FUNCTIONS

# Of torch.batch_norm, which has no signature of its own; torch.nn.functional's is another.
BATCH_NORM = (
    *("input", "weight", "bias", "running_mean", "running_var"),
    *("training", "momentum", "eps", "cudnn_enabled"),
)


@dataclass(frozen=True, eq=False)
class NormCall:
    """A call of a norm, with its arguments.

    Attributes:
        function: the function.
        input: what is normalised.
        args: the other arguments in their order.
        kwargs: those by name.
    """

    function: Callable[..., Tensor]
    input: Tensor
    args: Sequence[Any]
    kwargs: Mapping[str, Any]

    @staticmethod
    def of(
        function: Callable[..., Tensor], args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> "NormCall":
        """The call of `function` with these arguments."""
        given = dict(kwargs)
        first, *rest = args if args else (given.pop("input"),)
        return NormCall(function, first, rest, given)

    def apply(self, feature: Tensor) -> Tensor:
        """The same norm applied to another feature."""
        return self.function(feature, *self.args, **self.kwargs)

    def scale(self) -> Tensor | None:
        """The factor per channel, [C]; None if it depends on the input, as in a layer norm."""
        args = self.input, *self.args
        if self.function is F.batch_norm:
            bound = inspect.signature(F.batch_norm).bind(*args, **self.kwargs)
            bound.apply_defaults()
            given = bound.arguments
        elif self.function is torch.batch_norm:
            given = dict(zip(BATCH_NORM, args, strict=False)) | dict(self.kwargs)
        else:
            return None
        if given["training"] or given["running_var"] is None:
            return None
        scale: Tensor = (given["running_var"] + given["eps"]).rsqrt()
        return scale if given["weight"] is None else scale * given["weight"]


class CaptureNorms(TorchFunctionMode):
    """Within the context, every norm is handed to `receive`: its name, what it gave, and its call.

    At PyTorch's functions, since below them it may run a norm as several operations.
    """

    def __init__(self, receive: Callable[[str, Tensor, NormCall], None]) -> None:
        super().__init__()
        self._receive = receive

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        del types
        output, name = func(*args, **kwargs or {}), getattr(func, "__name__", "")
        if name in NORM_FUNCTIONS and isinstance(output, Tensor):
            self._receive(name, output, NormCall.of(func, args, kwargs or {}))
        return output
