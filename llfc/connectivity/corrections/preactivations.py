"""Where a forward pass has its pre-activations, however its code is cut into modules.

A pre-activation is the output of a batch norm; of another norm directly after a linear map; or of a
linear map that no norm directly follows. What else reads the linear map, such as the skip of a
residual network, makes no difference. The head, the last linear map to run, is left as it is.

They are found where PyTorch's functions are called: a linear map is a call of `linear`, `bilinear`
or a convolution, or a product of a feature with a matrix that is made of the network's own tensors
alone. Whether `nn.Linear` makes the call, or a module with a norm, an activation or all of a
network in it, makes no difference. What it gives is followed through a layer's own arithmetic, see
`following`: a bias, a scale, a norm, by a function of PyTorch's or written out, and moves such as
`permute`. The last number that all of it goes through is the pre-activation, and its channels are
those of the linear map wherever they were moved to; those of a batch norm are its own.

Not seen are batch norms written out after something else than a linear map. Listed as left out is
what PyTorch runs as one function, such as `nn.MultiheadAttention` and `nn.LSTM`, and an einsum with
a matrix whose output's channels are not one dimension.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from llfc.connectivity.corrections.following import Channels, Following, last_of
from llfc.modules.hooks import calls_followed
from llfc.modules.inputs import Inputs, run
from llfc.modules.sites import (
    NORM_FUNCTIONS,
    Site,
    Sites,
    check_some,
    function_name,
    given_to,
    names_of,
)
from llfc.results import LeftOut

# Functions that map features linearly, and which dimension of their output is its channels.
LINEAR_FUNCTIONS: Mapping[str, int] = {
    "linear": -1,
    "bilinear": -1,
    **{f"conv{n}d": -n - 1 for n in (1, 2, 3)},
    **{f"conv_transpose{n}d": -n - 1 for n in (1, 2, 3)},
}
# Products of two tensors, and where these stand among the arguments.
PRODUCT_FUNCTIONS: Mapping[str, int] = {"matmul": 0, "mm": 0, "bmm": 0, "addmm": 1, "baddbmm": 1}
OPAQUE = frozenset("multi_head_attention_forward lstm gru rnn_tanh rnn_relu".split())


@torch.no_grad()
def preactivations(model: nn.Module, example: Inputs) -> tuple[Sites, tuple[LeftOut, ...]]:
    """The pre-activations of `model`, and the modules with layers that were not looked into.

    Args:
        model: the network, in eval mode.
        example: a few images.
    """
    trace = _Trace(model)
    with calls_followed(model, trace.enter, trace.leave), trace:
        run(model, example)
    left_out = tuple(LeftOut("correction", *passed) for passed in trace.passed.items())
    return trace.sites(), left_out


@dataclass(frozen=True)
class _Call:
    """A call of a function.

    Attributes:
        module: whose code makes it.
        within: which of that module's calls it is, in this run of the module.
        function: what is called.
        number: which of that function's calls it is.
        given: the parameters and buffers that it is given.
    """

    module: str
    within: int
    function: str
    number: int
    given: tuple[str, ...]


@dataclass
class _Running:
    """A run of a module, and how many functions its code has called in it."""

    module: str
    calls: int = 0


class _Trace(TorchFunctionMode):
    """Notes the calls of a forward pass."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self._following, self._names = Following(model), names_of(model)
        self._calls: list[_Call] = []
        self._counts: Counter[str] = Counter()  # of calls, by function
        self._head = -1  # the last linear map
        self.passed: dict[str, str] = {}  # why, by module
        self._running = [_Running("")]  # innermost last

    def enter(self, name: str, module: nn.Module) -> None:
        """A call of a module begins."""
        del module
        self._running.append(_Running(name))

    def leave(self, name: str, module: nn.Module, output: Any) -> None:
        """The innermost call ends."""
        del name, module, output
        self._running.pop()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        del types
        kwargs = kwargs or {}
        number, function, running = len(self._calls), function_name(func), self._running[-1]
        place = running.module, running.calls
        given = given_to((args, kwargs), self._names)
        self._calls.append(_Call(*place, function, self._counts[function], given))
        running.calls += 1
        self._counts[function] += 1
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        known = self._following.read(tensors, number)  # before it is written to
        output = func(*args, **kwargs)
        dim = self._dim(function, [*args, *kwargs.values()])
        if function in OPAQUE or (function == "einsum" and dim is None and self._is_map(tensors)):
            self._pass_over(f"{function} is one function: what is in it stays as it is")
        if dim is not None:
            check_some(running.module or "model", output)
            self._head = number
            if output.is_complex():
                self._pass_over("what it gives is complex, which has no one variance")
            else:
                self._following.begin(output, Channels.along(dim, output), number)
        elif function in NORM_FUNCTIONS:
            self._following.norm(function, known, output, number)
        else:
            self._following.go_on(func, (args, kwargs), known, output, number)
        return output

    def _pass_over(self, reason: str) -> None:
        self.passed.setdefault(self._running[-1].module or "model", reason)

    def _dim(self, function: str, given: Sequence[Any]) -> int | None:
        """Which dimension of a linear map's output is its channels; None if it is no linear map."""
        if function == "einsum":
            return self._dim_of_einsum(*given)
        if function not in LINEAR_FUNCTIONS and function not in PRODUCT_FUNCTIONS:
            return None
        start = PRODUCT_FUNCTIONS.get(function, 0)
        x, y = given[start : start + 2]
        fixed = [self._following.is_constant(tensor) for tensor in (x, y)]
        if function in LINEAR_FUNCTIONS:
            return None if fixed[0] else LINEAR_FUNCTIONS[function]
        if fixed == [False, True] and y.ndim > 1:
            return -1
        if fixed == [True, False] and x.ndim > 1:
            return -2 if y.ndim > 1 else -1
        return None

    def _dim_of_einsum(self, equation: Any, *operands: Any) -> int | None:
        """The one that the matrix alone has; None if there is none, or several."""
        if not isinstance(equation, str) or "." in equation or not self._is_map(operands):
            return None
        of_inputs, _, of_output = equation.replace(" ", "").partition("->")
        fixed = [self._following.is_constant(tensor) for tensor in operands]
        of_matrix, of_feature = (
            of_inputs.split(",")[fixed.index(is_fixed)] for is_fixed in (True, False)
        )
        own = [label for label in of_output if label in set(of_matrix) - set(of_feature)]
        return of_output.index(own[0]) - len(of_output) if len(own) == 1 else None

    def _is_map(self, operands: Sequence[Any]) -> bool:
        """Whether one of two operands is the network's own, and the other a feature."""
        fixed = [self._following.is_constant(tensor) for tensor in operands]
        return sorted(fixed) == [False, True]

    def sites(self) -> Sites:
        """The calls that give pre-activations."""
        passed = self._following.normed | {self._head}
        numbers = [last_of(c) for begun, c in self._following.chains.items() if begun not in passed]
        at: dict[tuple[str, int], Site] = {}
        given: dict[tuple[str, int], tuple[str, ...]] = {}
        places: dict[str, list[int]] = {}  # of each module, which of its calls are chosen
        for value in sorted(numbers, key=lambda value: value.made):
            call, dim = self._calls[value.made], value.dim
            assert dim is not None  # as it has channels
            within = places.setdefault(call.module, [])
            if call.within not in within:
                within.append(call.within)
            count = within.index(call.within) + 1
            name = (call.module or "model") + (f":{count}" if count > 1 else "")
            at[call.function, call.number] = Site(name, dim)
            given[call.function, call.number] = call.given
        return Sites(at, {function: self._counts[function] for function, _ in at}, given)
