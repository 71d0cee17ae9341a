"""The linear maps, activations and norms of a forward pass, wherever in the code they are called.

They are captured where PyTorch runs them, below modules and functions, so `nn.ReLU()`, `F.relu(x)`
and `x.relu_()` are one and the same. An operation bears the name of the module whose forward code
calls it; a linear map whose weight is another module's, as inside nn.MultiheadAttention, bears that
module's. From the second one of a kind on, `#2` and so on follow the name.
"""

import functools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import ParametrizationList
from torch.utils._python_dispatch import TorchDispatchMode

from llfc.connectivity.measures.conditions.normcalls import CaptureNorms, NormCall
from llfc.connectivity.measures.conditions.operation import (
    Activation,
    LinearMap,
    Norm,
    Operation,
)
from llfc.connectivity.probes import ACTIVATIONS, LINEAR_MODULES
from llfc.devices import fused_attention_disabled
from llfc.modules.hooks import calls_followed
from llfc.modules.inputs import Inputs, run

# Products of matrices: where the two stand among the arguments, and where what is added does.
MATRIX_PRODUCTS: Mapping[str, tuple[int, int, int | None]] = {
    "mm": (0, 1, None),
    "bmm": (0, 1, None),
    "addmm": (1, 2, 0),
    "baddbmm": (1, 2, 0),
}
CAPTURED = ACTIVATIONS | MATRIX_PRODUCTS.keys() | {"convolution"}


def operations(model: nn.Module, images: Inputs) -> list[Operation]:
    """The activations, linear maps and norms of one pass of `model`, in the order they ran.

    Memory is that of all their inputs and outputs; what is overwritten in place is copied first.

    A linear map is a convolution, or a product of a feature with a matrix, whose weight is a
    parameter or buffer of `model`, or is computed for a module that is an nn.Linear or a
    convolution, as of a parametrised one. Not captured are activations with a weight of their own
    (PReLU) or made of several operations (softsign), products of two features, nn.Bilinear, and
    what PyTorch runs as one, such as nn.LSTM; nn.MultiheadAttention is kept from being so. A norm
    is what `torch.nn.functional` calls one, so not what is written out as several operations.
    """
    kept: list[Operation] = []
    _run(model, images, kept.append, kept)
    return kept


def stream_operations(
    model: nn.Module, images: Inputs, receive: Callable[[Operation], None]
) -> None:
    """Hand each of the `operations` of one forward pass to `receive`, as soon as it ran.

    Its tensors are as they were only until `receive` returns. Nothing is kept, so memory is that of
    the forward pass, and what is received is still in the cache.
    """
    _run(model, images, receive, [])


@torch.no_grad()
def _run(
    model: nn.Module,
    images: Inputs,
    receive: Callable[[Operation], None],
    kept: Sequence[Operation],
) -> None:
    watch = _Watch(model, receive, kept)
    told = calls_followed(model, watch.enter, watch.leave, around_hooks=True)
    with told, fused_attention_disabled(), watch, CaptureNorms(watch.norm):
        run(model, images)


class _Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Records the operations that run."""

    def __init__(
        self,
        model: nn.Module,
        receive: Callable[[Operation], None],
        kept: Sequence[Operation],
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._receive = receive
        self._kept = kept  # what must stay as it was
        self._running: list[tuple[str, nn.Module]] = [("", model)]  # innermost last
        self._owners: dict[int, list[str]] = {}  # of each weight's memory
        self._counts: Counter[tuple[type[Operation], str]] = Counter()
        for name, module in model.named_modules():
            for tensor in (*module.parameters(recurse=False), *module.buffers(recurse=False)):
                self._owners.setdefault(_memory(tensor), []).append(name)

    def enter(self, name: str, module: nn.Module) -> None:
        """A call of a module begins."""
        self._running.append((name, module))

    def leave(self, name: str, module: nn.Module, output: Any) -> None:
        """The innermost call ends."""
        del name, module, output
        self._running.pop()

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Not to import torch._dynamo, which takes seconds, only to keep it off this class."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        del types
        kwargs = kwargs or {}
        function, writes = _facts(func)
        copies = self._keep(_overwritten(func, args, kwargs)) if writes else []
        if function not in CAPTURED or self._computes_weight():
            return func(*args, **kwargs)
        if _is_activation(function, args, kwargs) and not self._is_own(args[0]):
            before = args[0]
            if writes:
                known = [copy for original, copy in copies if original is before]
                before = known[0] if known else before.clone()
            output = func(*args, **kwargs)
            self._activation(function, before, output, args[1:], kwargs)
            return output
        output = func(*args, **kwargs)
        if function == "convolution":
            self._convolution(args, output)
        elif function in MATRIX_PRODUCTS and not kwargs:
            self._product(function, args, output)
        return output

    def _computes_weight(self) -> bool:
        return any(isinstance(module, ParametrizationList) for _, module in self._running)

    def _keep(self, overwritten: Sequence[Tensor]) -> list[tuple[Tensor, Tensor]]:
        """Copy what was noted and is about to be overwritten; pairs of original and copy."""
        copies: list[tuple[Tensor, Tensor]] = []
        memory = {_memory(tensor) for tensor in overwritten}
        for noted in self._kept:
            for name in ("input", "output"):
                tensor = getattr(noted, name)
                if _memory(tensor) in memory:
                    known = [copy for original, copy in copies if original is tensor]
                    if not known:
                        known = [tensor.clone()]
                        copies.append((tensor, known[0]))
                    setattr(noted, name, known[0])
        return copies

    def _activation(
        self,
        function: str,
        before: Tensor,
        output: Tensor,
        settings: Sequence[Any],
        named: Mapping[str, Any],
    ) -> None:
        packet = getattr(torch.ops.aten, function)
        self._receive(
            Activation(
                self._unique(Activation, self._running[-1][0]),
                function,
                before,
                output,
                lambda feature: packet(feature, *settings, **named),
            )
        )

    def _convolution(self, args: Sequence[Any], output: Tensor) -> None:
        feature, weight, bias, *settings = args
        if self._is_weight(weight) and not self._is_own(feature):
            per_channel = None if bias is None else bias.view(-1, *[1] * (output.ndim - 2))
            self._linear(
                "convolution",
                feature,
                output,
                weight,
                per_channel,
                lambda x, w: torch.ops.aten.convolution(x, w, None, *settings),
                _outputs_of_convolution(*settings),
            )

    def _product(self, function: str, args: Sequence[Any], output: Tensor) -> None:
        left, right, added = MATRIX_PRODUCTS[function]
        x, y = args[left], args[right]
        bias = None if added is None else args[added]
        if bias is not None and bias.ndim > 1:  # may differ from image to image
            output, bias = output - bias, None
        if self._is_weight(y) and not self._is_own(x):
            outputs = 1 if output.ndim == 2 else None
            self._linear(function, x, output, _one_matrix(y), bias, torch.matmul, outputs)
        elif self._is_own(x) and not self._is_own(y):
            self._linear(function, y, output, _one_matrix(x), bias, lambda f, w: torch.matmul(w, f))

    def _linear(
        self,
        function: str,
        feature: Tensor,
        output: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        apply: Callable[[Tensor, Tensor], Tensor],
        outputs: int | None = None,
    ) -> None:
        running, module = self._running[-1]
        owners = self._owners.get(_memory(weight), [])
        name = running if isinstance(module, LINEAR_MODULES) or running in owners else owners[0]
        name = self._unique(LinearMap, name)
        constant = bool(owners)
        given = (weight, bias, apply, constant, outputs)
        self._receive(LinearMap(name, function, feature, output, *given))

    def norm(self, name: str, output: Tensor, call: NormCall) -> None:
        """Note a norm that ran."""
        layer = self._unique(Norm, self._running[-1][0])
        self._receive(Norm(layer, name, call.input, output, call.apply, call.scale()))

    def _is_own(self, tensor: Tensor) -> bool:
        return _memory(tensor) in self._owners

    def _is_weight(self, tensor: Tensor) -> bool:
        """Whether a tensor is the network's own, or computed as the weight of a linear module."""
        return self._is_own(tensor) or isinstance(self._running[-1][1], LINEAR_MODULES)

    def _unique(self, kind: type[Operation], module: str) -> str:
        self._counts[kind, module] += 1
        number = self._counts[kind, module]
        return (module or "model") + (f"#{number}" if number > 1 else "")


@functools.cache
def _facts(func: Any) -> tuple[str, bool]:
    """An operator's name without the mark of in-place variants, and whether it is in place."""
    return func.overloadpacket.__name__.rstrip("_"), func._schema.is_mutable


def _memory(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _outputs_of_convolution(
    stride: Any, padding: Any, dilation: Any, transposed: bool, spread: Any, groups: int
) -> int | None:
    """The weight's dimension that is the output's channels; None if these are in two of them."""
    del stride, padding, dilation, spread
    if not transposed:
        return 0
    return 1 if groups == 1 else None


def _one_matrix(weight: Tensor) -> Tensor:
    """The weight itself where it was expanded to one matrix per image."""
    return weight[0] if weight.ndim == 3 and weight.stride(0) == 0 else weight


def _overwritten(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Tensor]:
    written = []
    for place, argument in enumerate(func._schema.arguments):
        value = args[place] if place < len(args) else kwargs.get(argument.name)
        if argument.is_write and isinstance(value, Tensor):
            written.append(value)
    return written


def _is_activation(function: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    if function not in ACTIVATIONS or "out" in kwargs or not args[0].is_floating_point():
        return False
    if function in ("clamp", "clamp_min"):
        low = args[1] if len(args) > 1 else kwargs.get("min")
        return not isinstance(low, Tensor) and low == 0
    return True
