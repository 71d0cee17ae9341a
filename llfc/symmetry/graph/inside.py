"""Decompositions: an operator without a rule as a graph of simpler operators."""

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor, fx
from torch.fx.experimental.proxy_tensor import make_fx

from llfc.symmetry.rules.operators import arguments, operator_name

LARGEST_INSIDE = 4096  # nodes of such a graph
RECURRENT_OPERATORS = ("lstm", "gru", "rnn_tanh", "rnn_relu")
RECURRENT_STEPS = 2  # what ties units in the second step of a layer does so in all that follow


def time_of(node: fx.Node) -> int | None:
    """The dimension along which a recurrent layer runs; None for other operators."""
    given = arguments(node)
    if operator_name(node) not in RECURRENT_OPERATORS or "batch_first" not in given:
        return None
    return int(bool(given["batch_first"]))


def inside(node: fx.Node, known: dict[str, fx.GraphModule | None]) -> fx.GraphModule | None:
    """PyTorch's decomposition of an operator, as a graph; None if it has none.

    The first input of a recurrent layer is cut down to its first two steps.

    Args:
        node: the operator's call.
        known: what was found for calls of the same signature, which is added to.
    """
    if taken_apart(node.target) is None:
        return None
    key = signature(node)
    if key not in known:
        known[key] = traced(node)
    found = known[key]
    if found is None:
        return None
    module = fx.GraphModule(found, fx.Graph())
    module.graph.output(module.graph.graph_copy(found.graph, {}))
    for inner in module.graph.nodes:
        inner.meta["nn_module_stack"] = node.meta.get("nn_module_stack", {})
    return module


def signature(node: fx.Node) -> str:
    """A key for caching decompositions: equal keys mean equal decompositions."""
    inputs = node.all_input_nodes
    args = fx.node.map_arg((node.args, node.kwargs), lambda source: f"%{inputs.index(source)}")
    shapes = [stand_in(source.meta["val"]) for source in inputs]
    return repr((str(node.target), args, [(x.shape, x.stride(), x.dtype) for x in shapes]))


def traced(node: fx.Node) -> fx.GraphModule | None:
    """The traced decomposition of an operator; None if it cannot be traced or is too large."""
    inputs, apart = list(node.all_input_nodes), taken_apart(node.target)
    assert apart is not None

    def run(*values: Tensor) -> Any:
        known = dict(zip(inputs, values, strict=True))
        args, kwargs = fx.node.map_arg((node.args, node.kwargs), known.__getitem__)
        return apart(*args, **kwargs)

    examples = [stand_in(source.meta["val"]) for source in inputs]
    if (time := time_of(node)) is not None:
        examples[0] = examples[0].narrow(time, 0, min(RECURRENT_STEPS, examples[0].shape[time]))
    try:
        with torch.no_grad():
            module: fx.GraphModule = make_fx(run, tracing_mode="fake")(*examples)
    except Exception:  # it cannot be traced, so it stays without a rule
        return None
    same = any(inner.target == node.target for inner in module.graph.nodes)
    return None if same or len(module.graph.nodes) > LARGEST_INSIDE else module


@cache
def taken_apart(target: Any) -> Callable[..., Any] | None:
    """A function that computes an operator by simpler ones."""
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
