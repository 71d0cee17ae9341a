"""Rules of operators that say which entry is the largest, and of those that run along an axis."""

import operator

from torch import fx

from llfc.matching.symmetry.calls import Call, Value, rule
from llfc.matching.symmetry.combine import combine
from llfc.matching.symmetry.layout import Layout, pin, settle, with_fixed


@rule("sort", "topk", "argsort", "kthvalue", "msort", "mode")
def ordered(call: Call) -> Value:
    """Entries in order: whichever unit comes first. Where it lay is another matter: that is fixed.

    So units that are only sorted move freely, and units whose places are used do not move.
    """
    x, dim = settle(call.first), call.dim(-1 if call["dim"] is None else call["dim"])
    results = call.result if isinstance(call.result, list | tuple) else [call.result]
    if len(results) == 1 or is_used(call.node, 1):
        pin(x, x.dims[dim])
    ranked = [with_places(call, x, dim, [int(n) for n in result.shape]) for result in results]
    return ranked if isinstance(call.result, list | tuple) else ranked[0]


def with_places(call: Call, x: Layout, dim: int, shape: list[int]) -> Layout:
    """The tensor with ranks, which are fixed, in the place of a dimension, or without it."""
    names = [str(d) for d in range(len(x.raw))]
    kept = [*names[:dim], *names[dim + 1 :]]
    rest = combine(call.units, [(x, names)], kept, call.owner)
    return rest if len(shape) == len(kept) else with_fixed(rest, dim, [shape[dim]])


def is_used(node: fx.Node, result: int) -> bool:
    """Whether anything reads one of an operator's results."""
    picks = [u for u in node.users if u.target is operator.getitem and u.args[1] == result]
    others = [u for u in node.users if u.target is not operator.getitem]
    return bool(others) or any(pick.users for pick in picks)


@rule("argmax", "argmin")
def extreme(call: Call) -> Value:
    """Where the largest entry lies: the dimension is fixed."""
    x = settle(call.first)
    dims = call.dims(call["dim"], x)
    pin(x, [s for d in dims for s in x.dims[d]])
    names = [str(d) for d in range(len(x.raw))]
    kept = [name for d, name in enumerate(names) if d not in dims]
    result = combine(call.units, [(x, names)], kept, call.owner)
    if not call["keepdim"]:
        return result
    left = iter(result.raw)
    return Layout(result.space, tuple(() if d in dims else next(left) for d in range(len(names))))


@rule("cumsum", "cumprod", "logcumsumexp", "cummax", "cummin")
def cumulative(call: Call) -> Value:
    """What lies before what matters: the dimension is fixed."""
    x = settle(call.first)
    pin(x, x.dims[call.dim(call["dim"])])
    return [x, x] if isinstance(call.result, list | tuple) else x
