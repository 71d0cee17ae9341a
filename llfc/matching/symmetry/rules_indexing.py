"""Rules of operators that look up and write by position."""

from llfc.matching.symmetry.calls import Call, Value, rule
from llfc.matching.symmetry.combine import combine
from llfc.matching.symmetry.layout import Layout, Refusal, pin, plain, settle
from llfc.matching.symmetry.rules_views import resized


@rule("index", "_unsafe_index", "index_select", "gather", "embedding", "take_along_dim")
def indexed(call: Call) -> Value:
    """Looked up: the dimension looked in is fixed, the index takes its place."""
    name = call.node.target._schema.name.partition("::")[2]  # type: ignore[union-attr]
    if name == "embedding":
        weight, index = call.tensor("weight"), settle(call.tensor("indices"))
        pin(index, index.slots())
        pin(weight, weight.dims[0])
        return lookup(call, weight, 0, [len(index.raw)])
    x = settle(call.first)
    if name in ("gather", "take_along_dim"):
        raise Refusal("an index for each entry")
    if name == "index_select":
        dim, index = call.dim(call["dim"]), settle(call.tensor("index"))
        pin(index, index.slots())
        pin(x, x.dims[dim])
        return resized(x, dim, call.shape[dim])
    return advanced(call, x)


def advanced(call: Call, x: Layout) -> Layout:
    """Indexing by tensors: neighbouring indexed dimensions become those of the index."""
    given = list(call["indices"])
    places = [d for d, index in enumerate(given) if index is not None]
    for index in (given[d] for d in places):
        pin(settle(index), index.slots())
    if places != list(range(places[0], places[-1] + 1)):
        raise Refusal("indices at dimensions that are not neighbours")
    rank = len(call.shape) - (len(x.raw) - len(places))
    for dim in places:
        pin(x, x.dims[dim])
    return lookup(call, x, places[0], [rank], len(places))


def lookup(call: Call, x: Layout, dim: int, rank: list[int], count: int = 1) -> Layout:
    """Dimensions `dim` to `dim + count` replaced by `rank[0]` fixed ones of the result's sizes."""
    names = [str(d) for d in range(len(x.raw))]
    kept = names[:dim] + names[dim + count :]
    pin(x, [s for d in range(dim, dim + count) for s in x.dims[d]])
    rest = combine(call.units, [(x, names)], kept, x.space.owner or call.owner)
    own: list[tuple[int, ...]] = []
    for size in call.shape[dim : dim + rank[0]]:
        slot = rest.space.slot(size)
        rest.space.fixed.add(slot)
        own.append((slot,) if size != 1 else ())
    return Layout(rest.space, (*rest.raw[:dim], *own, *rest.raw[dim:]))


@rule("meshgrid", "tril", "triu", "masked_fill_tensor")
def masked(call: Call) -> Value:
    """The last two dimensions are told apart."""
    x = settle(call.first)
    for own in x.dims[-2:]:
        pin(x, own)
    return x


@rule("index_put", "slice_scatter", "select_scatter")
def scattered(call: Call) -> Value:
    """Written into: everything stays."""
    x, *others = [settle(layout) for layout in call.tensors()]
    if not any(layout.space.labels for layout in (x, *others)):
        return plain(call.units, call.shape, "fixed")
    raise Refusal("units are written into a part of a tensor")
