"""Where a forward pass has its pre-activations, however its code is cut into modules.

A pre-activation is the output of a batch norm; of another norm directly after a linear map; or of a
linear map that no norm directly follows. The head, the last linear map to run, is left as it is.

They are found where PyTorch's functions are called: a linear map is a call of `linear`, `bilinear`
or a convolution, or a product of a feature with a matrix that is made of the network's own tensors
alone; a norm is a call of `batch_norm`, `instance_norm`, `group_norm`, `layer_norm` or `rms_norm`.
Whether `nn.Linear` makes the call, or a module with a norm, an activation or all of a network in
it, makes no difference. Directly after means: nothing lies between but what moves numbers
(`permute`, `reshape`, ...) and the adding of a bias. Channels are followed through that, so those
of a norm over the last dimension are found in a network that is channels first.

Not seen are norms that are written out in arithmetic, whose linear map is then the pre-activation,
products by einsum, and what PyTorch runs as one function, such as `nn.MultiheadAttention` and
`nn.LSTM`, which is listed as left out.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from llfc.connectivity.corrections.following import Following
from llfc.connectivity.sites import LINEAR, NORMS, PRODUCTS, WATCHED, Site, Sites, function_name
from llfc.results import LeftOut

OPAQUE = frozenset("multi_head_attention_forward lstm gru rnn_tanh rnn_relu".split())


@torch.no_grad()
def preactivations(model: nn.Module, example: Tensor) -> tuple[Sites, tuple[LeftOut, ...]]:
    """The pre-activations of `model`, and the modules with layers that were not looked into.

    Args:
        model: the network, in eval mode.
        example: a few images.
    """
    trace = _Trace(model)
    with _telling(trace, model), trace:
        model(example)
    left_out = tuple(
        LeftOut("correction", module, f"{function} is one function: what is in it stays as it is")
        for module, function in trace.opaque.items()
    )
    return _chosen(trace.calls, trace.following.biases), left_out


@dataclass(frozen=True)
class _Call:
    """A call of a function in WATCHED.

    Attributes:
        module: whose code makes it.
        within: which of that module's calls it is, in this run of the module.
        function: what is called.
        dim: the output's dimension that is the channels; None if it is neither norm nor linear map.
        follows: of a norm, the number of the linear map that it directly follows.
    """

    module: str
    within: int
    function: str
    dim: int | None
    follows: int | None = None


class _Trace(TorchFunctionMode):
    """Notes the calls of a forward pass."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.following = Following(model)
        self.calls: list[_Call] = []
        self.opaque: dict[str, str] = {}  # function by module
        self.running: list[tuple[str, Counter[str]]] = [("", Counter())]  # innermost last

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        del types
        kwargs = kwargs or {}
        output = func(*args, **kwargs)
        function, (module, counts) = function_name(func), self.running[-1]
        self.following.follow(func, function, args, kwargs, output)
        if function in OPAQUE:
            self.opaque.setdefault(module or "model", function)
        if function in WATCHED:
            counts["calls"] += 1
            given = [*args, *kwargs.values()]
            look = self._norm if function in NORMS else self._product
            self.calls.append(
                _Call(module, counts["calls"], function, *look(function, given, output))
            )
        return output

    def _norm(self, function: str, given: Sequence[Any], output: Tensor) -> tuple[int, int | None]:
        del function
        value = self.following.value(given[0])
        dim = None if value is None else value.dim()
        if value is None or dim is None:
            return 1 - output.ndim, None  # where PyTorch's batch norms have their channels
        return dim, value.call

    def _product(self, function: str, given: Sequence[Any], output: Tensor) -> tuple[int | None]:
        start = PRODUCTS.get(function, 0)
        x, y = given[start : start + 2]
        fixed = [self.following.is_constant(tensor) for tensor in (x, y)]
        dim = None
        if function in LINEAR:
            dim = None if fixed[0] else LINEAR[function]
        elif fixed == [False, True] and y.ndim > 1:
            dim = -1
        elif fixed == [True, False] and x.ndim > 1:
            dim = -2 if y.ndim > 1 else -1
        if dim is not None:
            self.following.begin(output, dim, len(self.calls))
        return (dim,)


def _chosen(calls: Sequence[_Call], biases: Mapping[int, str]) -> Sites:
    """Those of the calls that give pre-activations."""
    followed = {call.follows for call in calls}
    linear = [n for n, call in enumerate(calls) if call.dim and call.function not in NORMS]
    chosen = {number for number in linear[:-1] if number not in followed}
    for number, call in enumerate(calls):
        if call.function == "batch_norm" or call.follows is not None:
            chosen.add(number)
    at: dict[int, Site] = {}
    places: dict[str, list[int]] = {}  # of each module, which of its calls are chosen
    for number in sorted(chosen):
        call = calls[number]
        assert call.dim is not None  # as it is a norm or a linear map
        within = places.setdefault(call.module, [])
        if call.within not in within:
            within.append(call.within)
        count = within.index(call.within) + 1
        name = (call.module or "model") + (f":{count}" if count > 1 else "")
        at[number] = Site(name, call.function, call.dim, biases.get(number))
    return Sites(at)


@contextmanager
def _telling(trace: _Trace, model: nn.Module) -> Iterator[None]:
    """Within the context, `trace` is told which of `model`'s modules is running."""

    def enter(name: str) -> Callable[[nn.Module, Any], None]:
        def hook(module: nn.Module, inputs: Any) -> None:
            del module, inputs
            trace.running.append((name, Counter()))

        return hook

    def leave(module: nn.Module, inputs: Any, output: Any) -> None:
        del module, inputs, output
        trace.running.pop()

    handles = []
    try:
        for name, module in model.named_modules():
            handles.append(module.register_forward_pre_hook(enter(name)))
            handles.append(module.register_forward_hook(leave))
        yield
    finally:
        for handle in handles:
            handle.remove()
