"""What the features of a layer are: before or after an activation function, or logits.

A forward pass is seen as the linear maps and activation functions that PyTorch runs in it, whether
a module or a function calls them.
"""

import functools
from collections.abc import Callable
from typing import Any

from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

LINEAR_MODULES = (
    nn.Linear,
    nn.Bilinear,
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
)
RECURRENT_MODULES = (nn.RNNBase, nn.RNNCellBase)
# Elementwise, with no weight of their own; a clamp where it is a ReLU, with or without a ceiling.
ACTIVATIONS = frozenset(
    "relu leaky_relu elu celu gelu silu mish hardswish softplus softshrink hardshrink threshold"
    " tanh hardtanh sigmoid hardsigmoid clamp clamp_min".split()
)
OTHER_ACTIVATIONS = frozenset("erf _prelu_kernel rrelu_with_noise glu log_sigmoid_forward".split())
# Products, with a weight or of two features; an embedding is one with a row of a table.
MAPS = frozenset(
    "mm bmm addmm baddbmm addbmm mv addmv dot linear convolution _trilinear embedding"
    " _embedding_bag".split()
)


def is_activation(kind: type[nn.Module]) -> bool:
    """Whether modules of this class are activation functions of PyTorch."""
    return kind.__module__ == "torch.nn.modules.activation" and kind is not nn.MultiheadAttention


def is_layer(kind: type[nn.Module]) -> bool:
    """Whether modules of this class are layers of a plain network, or its activation functions."""
    return issubclass(
        kind, (*LINEAR_MODULES, *RECURRENT_MODULES, nn.MultiheadAttention)
    ) or is_activation(kind)


class Course(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Within the context, counts the linear maps that run, and notes what came last.

    Attributes:
        linear: how many linear maps have run; a recurrent layer is one or more.
        last: `linear` or `activation`, whichever ran last; empty before either.
    """

    def __init__(self, ran: Callable[[str, str], None]) -> None:
        """Each is told to `ran`: `linear`, `activation` or `attention`, and its name in PyTorch."""
        super().__init__()  # type: ignore[no-untyped-call]
        self.linear, self.last = 0, ""
        self._ran = ran

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Not to import torch._dynamo, which takes seconds, only to keep it off this class."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        del types
        name = func.overloadpacket.__name__.rstrip("_")
        if _is_linear(name):
            self.linear, self.last = self.linear + 1, "linear"
            self._ran(self.last, name)
        elif "softmax" in name or "scaled_dot_product" in name:
            self._ran("attention", name)
        elif name in ACTIVATIONS | OTHER_ACTIVATIONS and _rectifies(name, args, kwargs or {}):
            self.last = "activation"
            self._ran(self.last, name)
        return func(*args, **kwargs or {})


@functools.cache
def _is_linear(name: str) -> bool:
    return name in MAPS or any(word in name for word in ("rnn", "lstm", "gru"))


def _rectifies(name: str, args: Any, kwargs: Any) -> bool:
    """Whether it is an activation function; a clamp is one from zero on."""
    if not name.startswith("clamp"):
        return True
    low = args[1] if len(args) > 1 else kwargs.get("min")
    return isinstance(low, int | float) and low == 0
