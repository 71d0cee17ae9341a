"""Writes through views: what a tensor holds after a part of it was overwritten."""

import numpy as np

from llfc.symmetry.layouts.joining import join
from llfc.symmetry.layouts.layout import Layout, Refusal, settle
from llfc.symmetry.layouts.views import insert, reshape, taken
from llfc.symmetry.rules.calls import Call
from llfc.symmetry.rules.operators import SPLITTING, operator_name

UNCHANGED = ("alias", "detach", "to", "contiguous", "dropout", "lift_fresh")
RESHAPED = ("view", "reshape", "flatten", "unflatten", "view_as", "squeeze", "unsqueeze")


def put(view: Call, part: int, new: Layout) -> Layout:
    """The layout of a tensor one of whose views was overwritten.

    Args:
        view: the call that made the view, or several; its first argument is the tensor.
        part: which of several.
        new: what stands in the view now.

    Raises:
        Refusal: a view that is neither a range nor another shape of the tensor.
    """
    name, whole = operator_name(view.node), view.first
    if name in UNCHANGED:
        return new
    if name in RESHAPED:
        return reshape(settle(new), whole.shape)
    if name == "permute":
        return new.permuted([int(d) for d in np.argsort(view.dims(view["dims"]))])
    if name == "transpose":
        order = list(range(len(whole.raw)))
        one, other = view.dim(view["dim0"]), view.dim(view["dim1"])
        order[one], order[other] = order[other], order[one]
        return new.permuted(order)
    if name in ("select", "unbind"):
        dim = view.dim(view["dim"])
        at = (view["index"] if name == "select" else part) % whole.shape[dim]
        return put_range(whole, insert(new, dim), dim, range(at, at + 1))
    if name == "slice":
        dim = view.dim(view["dim"])
        where = range(whole.shape[dim])[view["start"] : view["end"] : view["step"]]
        return put_range(whole, new, dim, where)
    if name in SPLITTING:
        dim = view.split_dim
        ends = np.cumsum([0, *(int(piece.shape[dim]) for piece in view.result)])
        return put_range(whole, new, dim, range(ends[part], ends[part + 1]))
    raise Refusal(f"units are written through what {name} made")


def put_range(whole: Layout, new: Layout, dim: int, where: range) -> Layout:
    """The tensor with some positions of a dimension replaced."""
    rest = [k for k in range(whole.shape[dim]) if k not in where]
    if not rest:
        return new
    parts = [taken(settle(whole), dim, rest), new]
    both = join(whole.space.units, parts, dim, whole.space.owner)
    return taken(both, dim, np.argsort([*rest, *where]))
