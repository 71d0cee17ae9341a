"""Rules of operators that look up and write by position."""

from collections.abc import Sequence

import torch
from torch import Tensor

from llfc.matching.symmetry.calls import Call, Value, rule, stilled
from llfc.matching.symmetry.combine import combine
from llfc.matching.symmetry.layout import Layout, Refusal, pin, plain, settle, with_fixed
from llfc.matching.symmetry.views import take


@rule("embedding")
def embedding(call: Call) -> Value:
    """Rows of a table."""
    return lookup(call, call.tensor("weight"), [call.tensor("indices")], 0)


@rule("embedding_bag")
def embedding_bag(call: Call) -> Value:
    """Sums of rows of a table."""
    weight, index = call.tensor("weight"), settle(call.tensor("indices"))
    pin(weight, weight.dims[0])
    pin(index, index.slots())
    size = call.result[0].shape[:1]
    inputs = [(weight, ["row", "unit"]), (index, ["asked"])]
    bags = with_fixed(combine(call.units, inputs, ["unit"], weight.space.owner), 0, size)
    return [bags, *stilled(call.units, list(call.result[1:]))]


@rule("index_select")
def index_select(call: Call) -> Value:
    """Positions of one dimension."""
    x = settle(call.first)
    return lookup(call, x, [call.tensor("index")], call.dim(call["dim"], x))


@rule("index", "_unsafe_index")
def indexed(call: Call) -> Value:
    """Indexing by tensors; neighbouring indexed dimensions become those of the index."""
    x, given = settle(call.first), list(call["indices"])
    places = [d for d, index in enumerate(given) if index is not None]
    if places == list(range(places[0], places[-1] + 1)):
        return lookup(call, x, [given[d] for d in places], places[0])
    order = [*places, *(d for d in range(len(x.raw)) if d not in places)]
    return lookup(call, x.permuted(order), [given[d] for d in places], 0)


def lookup(call: Call, x: Layout, indices: Sequence[Layout], dim: int) -> Layout:
    """Neighbouring dimensions, from `dim` on, replaced by those of the indices.

    What a tensor is asked for by number is told apart, unless the numbers are a constant.
    """
    (first, *others) = indices
    listed = None if others else positions(first.value, x.shape[dim])
    if listed is not None and x.moves(dim):
        return take(x, dim, listed)
    names = [str(d) for d in range(len(x.raw))]
    pin(x, [s for d in range(dim, dim + len(indices)) for s in x.dims[d]])
    rank = max(len(index.raw) for index in indices)
    asked = [f"index {d}" for d in range(rank)]
    for index in indices:
        pin(index, index.space.free & {*index.slots()})  # a buffer of numbers is no hidden unit
    inputs = [(index, asked[rank - len(index.raw) :]) for index in indices]
    kept = [*names[:dim], *asked, *names[dim + len(indices) :]]
    return combine(call.units, [(x, names), *inputs], kept, x.space.owner or call.owner)


def positions(value: Tensor | None, size: int) -> list[int] | None:
    """The positions that a constant index asks for; None if it is no constant, or no list."""
    if value is None or value.dim() != 1 or value.is_floating_point():
        return None
    if value.dtype in (torch.bool, torch.uint8):  # a mask
        value = value.nonzero().flatten()
    return [int(n) % size for n in value.tolist()]


@rule("gather", "take_along_dim")
def gather(call: Call) -> Value:
    """For each entry, another entry along one dimension."""
    x, index = settle(call.first), settle(call.tensors()[1])
    dim = call.dim(call["dim"], x)
    if any(a != b for d, (a, b) in enumerate(zip(x.shape, index.shape, strict=True)) if d != dim):
        raise Refusal("an index of another size than the tensor")
    if index.value is not None and index.space.fixed <= {*index.dims[dim]} and x.moves(dim):
        return take(x, dim, index.value.movedim(dim, -1).reshape(-1, index.shape[dim])[0].tolist())
    pin(x, x.dims[dim])
    pin(index, index.dims[dim])
    names = [str(d) for d in range(len(x.raw))]
    inputs = [(x, [*names[:dim], "asked", *names[dim + 1 :]]), (index, names)]
    return combine(call.units, inputs, names, call.owner)


@rule("tril", "triu")
def triangle(call: Call) -> Value:
    """The last two dimensions are told apart."""
    x = settle(call.first)
    for own in x.dims[-2:]:
        pin(x, own)
    return x


@rule("index_add", "index_copy", "index_reduce")
def index_add(call: Call) -> Value:
    """Rows written, or added, to the rows that an index names."""
    x, index, rows = (settle(call.tensor(name)) for name in ("self", "index", "source"))
    dim = call.dim(call["dim"], x)
    pin(index, index.slots())
    return written_into(call, x, [(index, ["asked"])], rows, dim)


@rule("scatter", "scatter_add", "scatter_reduce")
def scatter(call: Call) -> Value:
    """Entries written, or added, to where an index says along one dimension."""
    x, index = settle(call.tensor("self")), settle(call.tensor("index"))
    dim, entries = call.dim(call["dim"], x), call.values.get("src")
    sources = [index] if entries is None else [index, settle(entries)]
    for d, size in enumerate(x.shape):
        if d != dim and any(source.shape[d] != size for source in sources):
            raise Refusal("an index of another size than the tensor")
    names = row_names(x, dim)
    pin(index, index.dims[dim])
    return written_into(call, x, [(index, names)], sources[-1], dim)


def written_into(
    call: Call, x: Layout, indices: list[tuple[Layout, list[str]]], rows: Layout, dim: int
) -> Layout:
    """Positions of one dimension overwritten: it is fixed, and the others are tied."""
    pin(x, x.dims[dim])
    pin(rows, rows.dims[dim])
    names = [str(d) for d in range(len(x.raw))]
    inputs = [(x, names), (rows, row_names(x, dim)), *indices]
    return combine(call.units, inputs, names, call.owner)


def row_names(x: Layout, dim: int) -> list[str]:
    """The letters of a tensor's dimensions, of which one is asked for by an index."""
    return ["asked" if d == dim else str(d) for d in range(len(x.raw))]


@rule("index_put", "_unsafe_index_put", "slice_scatter", "select_scatter")
@rule("index_fill", "masked_scatter")
def scattered(call: Call) -> Value:
    """Written into."""
    if not any(layout.space.labels for layout in map(settle, call.tensors())):
        return plain(call.units, call.shape, "fixed")
    raise Refusal("units are written into a part of a tensor")


@rule("unfold")
def windows(call: Call) -> Value:
    """Windows that run along one dimension; the places in them are a dimension of their own."""
    x, dim = settle(call.first), call.dim(call["dimension"])
    pin(x, x.dims[dim])
    names = [str(d) for d in range(len(x.raw))]
    kept = [*names[:dim], *names[dim + 1 :]]
    rest = combine(call.units, [(x, names)], kept, call.owner)
    return with_fixed(with_fixed(rest, dim, [call.shape[dim]]), len(names), call.shape[-1:])
