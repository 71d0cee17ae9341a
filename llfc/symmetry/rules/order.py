"""Rules of sorting, arg-max and cumulative operators."""

import operator

from torch import fx

from llfc.symmetry.layouts.combine import combine
from llfc.symmetry.layouts.layout import Layout, Value, settle, with_fixed
from llfc.symmetry.layouts.merging import merged
from llfc.symmetry.layouts.units import Nodes
from llfc.symmetry.layouts.views import insert
from llfc.symmetry.rules.calls import Call

POSITIONS_ALONE = ("argsort", "argmax", "argmin")  # operators that return positions alone


def ordered(call: Call) -> Value:
    """Sorting and top-k: invariant to the order of the units; indices say which unit an entry was.

    So units that are only sorted are free, and so are units whose indices are only used to look up
    what belongs to them, as the experts of a top-k router.
    """
    given = call.values.get("dim", 0 if call.name == "msort" else -1)
    x, dim = settle(call.first), call.dim(-1 if given is None else given)
    many = isinstance(call.result, list | tuple)
    if not x.raw:  # one number
        return [x] * len(call.result) if many else x
    results = call.result if many else [call.result]
    why = call.why("ranks are told apart") if x.moves(dim) else x.space.why(x.dims[dim])
    ranked = [with_ranks(call, x, dim, [int(n) for n in r.shape], why) for r in results]
    if call.name in POSITIONS_ALONE or (many and is_used(call.node, 1)):
        ranked[-1].into = places_on(call, x, [dim])
    return ranked if many else ranked[0]


def with_ranks(call: Call, x: Layout, dim: int, shape: list[int], why: str) -> Layout:
    """The tensor with one dimension replaced by ranks, which are fixed, or removed."""
    names = [str(d) for d in range(len(x.raw))]
    kept = [*names[:dim], *names[dim + 1 :]]
    rest = combine(call.units, [(x, names)], kept, call.owner)
    return rest if len(shape) == len(kept) else with_fixed(rest, dim, [shape[dim]], [why])


def places_on(call: Call, x: Layout, dims: list[int]) -> Nodes | str:
    """What indices into these dimensions point to: the nodes, or why the dimensions are fixed."""
    if len(dims) == 1 and x.moves(dims[0]):
        whole = merged(x, dims[0])
        (slot,) = whole.dims[dims[0]]
        (label, *others) = whole.space.covering(slot)
        if not others and label.slots == (slot,):
            return label.nodes
    whys = call.fix(x, dims, "their positions are used as numbers")
    return next(filter(None, whys), whys[0]) if whys else call.why("positions")


def is_used(node: fx.Node, result: int) -> bool:
    """Whether anything reads one of an operator's results."""
    picks = [u for u in node.users if u.target is operator.getitem and u.args[1] == result]
    others = [u for u in node.users if u.target is not operator.getitem]
    return bool(others) or any(pick.users for pick in picks)


def extreme(call: Call) -> Value:
    """`argmax` and `argmin`: the index of a unit, which follows the unit where it is permuted."""
    x = settle(call.first)
    dims = call.dims(call["dim"], x)
    names = [str(d) for d in range(len(x.raw))]
    kept = [name for d, name in enumerate(names) if d not in dims]
    places = places_on(call, x, dims)
    result = combine(call.units, [(x, names)], kept, call.owner)
    if call["keepdim"]:
        for dim in sorted(dims):
            result = insert(result, dim)
    result.into = places
    return result


def cumulative(call: Call) -> Value:
    """Cumulative sums and the like depend on the order along a dimension, which is fixed."""
    x = settle(call.first)
    call.fix(x, [call.dim(call["dim"])], "what comes before what matters")
    return [x, x] if isinstance(call.result, list | tuple) else x
