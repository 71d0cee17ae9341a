"""Calls of PyTorch's functions in a forward pass, and what follows some of them.

A call bears its number among all calls of its function, so that it is found again in another
forward pass, and in another network of the same code. What our hooks call does not count: it is
called inside `uncounted`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from llfc.modules.copies import tensors

SAME_LAYERS = "the network must run the same layers on all images"
WAY_OUT = (
    "if a router sends images to experts, run every expert on all images and select from their"
    " outputs, with torch.where or by a factor of 0 or 1"
)
NORM_FUNCTIONS = frozenset("batch_norm layer_norm group_norm instance_norm rms_norm".split())
# Within it, no function that is called is seen by what watches a forward pass.
uncounted = torch._C.DisableTorchFunction


@dataclass(frozen=True)
class Site:
    """A call that something follows.

    Attributes:
        name: the module whose code makes the call; `:2` and so on follow from the module's second.
            Two calls of one name are one layer, which runs twice.
        dim: the output's dimension that is the channels, counted from the last.
    """

    name: str
    dim: int


@dataclass(frozen=True)
class Sites:
    """The sites of a network.

    Attributes:
        at: by name of the function, and number of the call among those of that function.
        calls: how often each of these functions is called in a forward pass.
        given: by function and number, the parameters and buffers that a site's call is given.
    """

    at: Mapping[tuple[str, int], Site] = field(default_factory=dict)
    calls: Mapping[str, int] = field(default_factory=dict)
    given: Mapping[tuple[str, int], tuple[str, ...]] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """Of the layers, each once, in forward order."""
        return tuple(dict.fromkeys(site.name for site in self.at.values()))


class Interposed(TorchFunctionMode):
    """While it is entered for one forward pass, `receive` has the last word on each site's output.

    Args:
        sites: of the network that runs.
        model: the network.
        receive: takes a site and the output there; what it gives goes on in its place.

    Raises:
        ValueError: if a site's call is given other parameters, or nothing to work on; when it is
            left, if the functions were called another number of times.
    """

    def __init__(
        self, sites: Sites, model: nn.Module, receive: Callable[[Site, Tensor], Tensor]
    ) -> None:
        super().__init__()
        self._sites, self._receive, self._names = sites, receive, names_of(model)
        self._calls = dict.fromkeys(sites.calls, 0)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        del types
        output, function = func(*args, **kwargs or {}), function_name(func)
        if function not in self._calls:
            return output
        place = function, self._calls[function]
        site = self._sites.at.get(place)
        self._calls[function] += 1
        if site is None:
            return output
        given, usual = given_to((args, kwargs), self._names), self._sites.given[place]
        if given != usual:
            said = f"calls {function} with {' and '.join(given)} instead of {' and '.join(usual)}"
            raise ValueError(f"{SAME_LAYERS}, but {said}: {WAY_OUT}")
        check_some(site.name, output)
        received = self._receive(site, output)
        # What was written in place may be read through the tensor that it was written to.
        return output.copy_(received) if args and output is args[0] else received

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        super().__exit__(kind, error, trace)  # type: ignore[no-untyped-call]
        for function, calls in self._calls.items():
            usual = self._sites.calls[function]
            if error is None and calls != usual:
                raise ValueError(
                    f"{SAME_LAYERS}, but calls {function} {calls} times instead of {usual}:"
                    f" {WAY_OUT}"
                )


def names_of(model: nn.Module) -> dict[int, str]:
    """The name of each parameter and buffer, by its identity."""
    return {id(tensor): name for name, tensor in tensors(model).items()}


def given_to(given: Any, names: Mapping[int, str]) -> tuple[str, ...]:
    """The names of the parameters and buffers among what a call is given."""
    return tuple(names[id(leaf)] for leaf in tree_leaves(given) if id(leaf) in names)


def check_some(layer: str, output: Tensor) -> None:
    """Refuse a layer that no image comes to.

    Raises:
        ValueError: with the layer.
    """
    if not output.numel():
        raise ValueError(f"{SAME_LAYERS}, but none reaches {layer!r}: {WAY_OUT}")


def function_name(func: Any) -> str:
    """PyTorch's name of a function, be it called through `torch`, a tensor or `torch.ops`."""
    return str(getattr(func, "__name__", "")).partition(".")[0]
