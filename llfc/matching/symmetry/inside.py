"""What an operator without a rule of its own is made of: a graph of operators that may have one."""

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor, fx
from torch.fx.experimental.proxy_tensor import make_fx

LARGEST = 4096  # nodes of such a graph; a recurrent layer has some for each time step


def inside(node: fx.Node) -> fx.GraphModule | None:
    """The graph of an operator that PyTorch knows how to take apart; None if it does not."""
    apart = taken_apart(node.target)
    if apart is None:
        return None
    inputs = list(node.all_input_nodes)

    def run(*values: Tensor) -> Any:
        known = dict(zip(inputs, values, strict=True))
        args, kwargs = fx.node.map_arg((node.args, node.kwargs), known.__getitem__)
        return apart(*args, **kwargs)

    examples = [stand_in(source.meta["val"]) for source in inputs]
    try:
        with torch.no_grad():
            module: fx.GraphModule = make_fx(run, tracing_mode="fake")(*examples)
    except Exception:  # it cannot be traced, so it stays without a rule
        return None
    same = any(inner.target == node.target for inner in module.graph.nodes)
    if same or len(module.graph.nodes) > LARGEST:
        return None
    for inner in module.graph.nodes:
        inner.meta["nn_module_stack"] = node.meta.get("nn_module_stack", {})
    return module


@cache
def taken_apart(target: Any) -> Callable[..., Any] | None:
    """A function of simpler operators that does what an operator does."""
    if not isinstance(target, torch._ops.OpOverload):
        return None
    known = torch._decomp.get_decompositions([target])
    if target in known:
        return known[target]
    if target._can_decompose():
        return target.decompose
    return None


def stand_in(fake: Tensor) -> Tensor:
    """A tensor of the same shape, of no device, so that no device has its own short cut."""
    sizes, strides = [int(n) for n in fake.shape], [int(n) for n in fake.stride()]
    return torch.empty_strided(sizes, strides, dtype=fake.dtype, device="meta")
