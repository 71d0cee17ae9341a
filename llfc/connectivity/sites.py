"""Calls of PyTorch's functions in a forward pass, and what follows some of them.

A call bears the number that it has among the calls of all functions in WATCHED, so that it is found
again in another forward pass, and in another network of the same code.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor
from torch.overrides import TorchFunctionMode

# Functions that map features linearly, and which dimension of their output is its channels.
LINEAR: Mapping[str, int] = {
    "linear": -1,
    "bilinear": -1,
    **{f"conv{n}d": -n - 1 for n in (1, 2, 3)},
    **{f"conv_transpose{n}d": -n - 1 for n in (1, 2, 3)},
}
# Products of two tensors, and where these stand among the arguments.
PRODUCTS: Mapping[str, int] = {"matmul": 0, "mm": 0, "bmm": 0, "addmm": 1, "baddbmm": 1}
NORMS = frozenset({"batch_norm", "instance_norm", "group_norm", "layer_norm", "rms_norm"})
WATCHED = NORMS | LINEAR.keys() | PRODUCTS.keys()


@dataclass(frozen=True)
class Site:
    """A call that something follows.

    Attributes:
        name: the module whose code makes the call; `:2` and so on follow from the module's second.
            Two calls of one name are one layer, which runs twice.
        function: PyTorch's name of what is called.
        dim: the output's dimension that is the channels, counted from the last.
        bias: the tensor of the network that is added to the output afterwards, if any.
    """

    name: str
    function: str
    dim: int
    bias: str | None


@dataclass(frozen=True)
class Sites:
    """The sites of a network, by number of the call."""

    at: Mapping[int, Site] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """Of the layers, each once, in forward order."""
        return tuple(dict.fromkeys(site.name for site in self.at.values()))


class Interposed(TorchFunctionMode):
    """While it is entered for one forward pass, `receive` has the last word on each site's output.

    Args:
        sites: of the network that runs.
        receive: takes a site and the output there; what it gives goes on in its place.
    """

    def __init__(self, sites: Sites, receive: Callable[[Site, Tensor], Tensor]) -> None:
        super().__init__()
        self._sites, self._receive, self._calls = sites, receive, 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        del types
        output = func(*args, **kwargs or {})
        function = function_name(func)
        if function not in WATCHED:
            return output
        site = self._sites.at.get(self._calls)
        self._calls += 1
        if site is None:
            return output
        if site.function != function:
            raise ValueError(f"the network runs other layers on other images: no {site.name!r}")
        return self._receive(site, output)


def function_name(func: Any) -> str:
    """PyTorch's name of a function, be it called through `torch`, a tensor or `torch.ops`."""
    return str(getattr(func, "__name__", "")).partition(".")[0]
