"""Rules of operators that look up and write by position.

Whole numbers that say which unit is meant (`Layout.into`: what an argmax, a top-k or a sort along
units returns) are treated as the ones and zeros that they stand for: `w[index]` is the product of
one_hot(index) and w. So where the units move, the numbers name other positions, and what was looked
up is the same.

Example: a router of E experts, `index = router(x).argmax(-1)` and `w[index]`, w [E, out, in]: the
rows of the router and of w are E units that change places together. Any other use of the numbers
(`index * 2`, `index == 3`) tells the units apart, and they are fixed: see `walk`.
"""

import math
from collections.abc import Sequence

import numpy as np

from llfc.symmetry.layouts.combine import combine
from llfc.symmetry.layouts.layout import (
    Label,
    Layout,
    Pick,
    Refusal,
    Value,
    copied,
    fix,
    new_layout,
    settle,
    with_fixed,
)
from llfc.symmetry.layouts.units import SHOWN
from llfc.symmetry.layouts.views import reshape, taken
from llfc.symmetry.rules.calls import ALONE, UNKNOWN_SIZE, Call, fixed_layouts
from llfc.symmetry.rules.elementwise import elementwise
from llfc.symmetry.rules.indices import (
    counted,
    index_node,
    joint_positions,
    listed_positions,
    origin,
)
from llfc.symmetry.rules.operators import has_unknown_size

LARGEST_PICKED = 1 << 18  # entries of a table each of whose rows may have units of its own


def embedding(call: Call) -> Value:
    """Rows of a table, selected by indices."""
    return looked_up(call, call.tensor("weight"), [call.tensor("indices")], 0)


def embedding_bag(call: Call) -> Value:
    """Sums or means of bags of rows of a table."""
    weight, index = call.tensor("weight"), settle(call.tensor("indices"))
    call.fix(weight, [0], "rows are looked up by index")
    whys = call.fix(index, range(len(index.raw)), "entries are put into bags by index")
    size = call.result[0].shape[:1]
    inputs = [(weight, ["row", "unit"]), (index, ["asked"] if len(index.raw) == 1 else ["b", "a"])]
    bags = combine(call.units, inputs, ["unit"], weight.space.owner)
    others = fixed_layouts(call.units, list(call.result[1:]), call.why("sizes of bags"))
    return [with_fixed(bags, 0, size, whys[:1]), *others]


def index_select(call: Call) -> Value:
    """Positions of one dimension, selected by a vector of indices."""
    x = call.first
    return looked_up(call, x, [call.tensor("index")], call.dim(call["dim"], x))


def indexed(call: Call) -> Value:
    """Indexing by tensors; neighbouring indexed dimensions become those of the index."""
    x, given = call.first, list(call["indices"])
    places = [d for d, index in enumerate(given) if index is not None]
    if places == list(range(places[0], places[-1] + 1)):
        return looked_up(call, x, [given[d] for d in places], places[0])
    order = [*places, *(d for d in range(len(x.raw)) if d not in places)]
    return looked_up(call, x.permuted(order), [given[d] for d in places], 0)


def looked_up(call: Call, x: Layout, indices: Sequence[Layout], dim: int) -> Layout:
    """Neighbouring dimensions, from `dim` on, replaced by those of the indices."""
    (first, *others) = indices
    listed = None if others else listed_positions(first.value, x.shape[dim])
    if listed is not None and settle(x).moves(dim):
        return taken(x, dim, listed, call.why(ALONE), call.apart())
    there = range(dim, dim + len(indices))
    spread = joint_positions([index.value for index in indices], [x.shape[d] for d in there])
    if spread is not None and any(settle(x).moves(d) for d in there):
        sizes, after = x.shape, x.shape[dim + len(indices) :]
        line = reshape(x, [*sizes[:dim], math.prod(sizes[d] for d in there), *after])
        found = taken(line, dim, spread.flatten(), call.why(ALONE), call.apart())
        return reshape(found, [*sizes[:dim], *spread.shape, *after])
    if has_unknown_size(call.node):
        raise Refusal(UNKNOWN_SIZE)
    names = [str(d) for d in range(len(x.raw))]
    rank = max(len(index.raw) for index in indices)
    asked = [f"index {d}" for d in range(rank)]
    hot = [
        (one_hot(call, index, x, dim + k), [*asked[rank - len(index.raw) :], names[dim + k]])
        for k, index in enumerate(indices)
    ]
    kept = [*names[:dim], *asked, *names[dim + len(indices) :]]
    small = not others and math.prod(x.shape) <= LARGEST_PICKED
    result = [*kept, names[dim]] if small else kept
    found = combine(call.units, [(x, names), *hot], result, x.space.owner or call.owner)
    if not small or not any(map(found.space.covering, found.dims[-1])):
        return Layout(found.space, found.raw[: len(kept)])
    long = tuple(dim + d for d, size in enumerate(first.shape) if size > 1)
    pick = Pick(origin(index_node(call.node)), long, found.dims[-1])
    return Layout(found.space, found.raw[:-1], picks=(pick,))


def one_hot(call: Call, index: Layout, x: Layout, dim: int) -> Layout:
    """Whole numbers as ones and zeros along a last dimension more, as long as dimension `dim` of x.

    That dimension has the units that the numbers name; if they name none, it is fixed.
    """
    asked = call.why("they are looked up by index") if x.moves(dim) else SHOWN
    return as_ones(call, index, x.shape[dim], asked)


def as_ones(call: Call, index: Layout, size: int, asked: str) -> Layout:
    """As `one_hot`, with the reason why positions are fixed that are no units."""
    for slot in index.space.free & {*index.slots()}:  # a buffer of numbers is no hidden unit
        fix(index, [slot], SHOWN)
    found, into = copied(index), index.into
    if isinstance(into, np.ndarray) and into.size == size:
        slot = found.space.slot(size)
        found.space.labels.append(Label((slot,), into.reshape(-1)))
        return Layout(found.space, (*found.raw, (slot,)))
    why = into if isinstance(into, str) else asked
    if isinstance(into, np.ndarray):
        why = call.why(f"positions of {into.size} units are looked up among {size}")
        call.units.fix(into, why)
    return with_fixed(found, len(found.raw), [size], [why])


def as_one_hot(call: Call) -> Value:
    """One-hot encoding; the new dimension has the units that the indices point to, if any."""
    return as_ones(call, call.first, call.shape[-1], SHOWN)


def equal(call: Call) -> Value:
    """Entry by entry; an index against 0, 1, 2 ... is one-hot."""
    tensors = call.tensors()
    for index, other in zip(tensors, tensors[::-1], strict=True):
        dim = counted(other.value, len(call.shape))
        if dim is None or not isinstance(index.into, np.ndarray):
            continue
        names = [str(d) for d in range(len(call.shape))]
        own = names[len(names) - len(index.raw) :]
        size = call.shape[dim]
        if size == index.into.size and (str(dim) not in own or not index.dims[dim - len(names)]):
            letters = ["-" if name == str(dim) else name for name in own]
            hot = as_ones(call, index, size, SHOWN)
            return combine(call.units, [(hot, [*letters, str(dim)])], names, call.owner)
    call.used_as_numbers()
    return elementwise(call)


def gathered(call: Call) -> Value:
    """`gather`: each entry of the result is selected by its own index along one dimension."""
    x, index = call.tensors()[:2]
    if call["dim"] is None:
        raise Refusal("entries of all dimensions, in one line")
    dim = call.dim(call["dim"], x)
    sizes = x.shape, index.shape
    if 0 in index.shape:
        raise Refusal("an index without entries")
    if len(sizes[0]) != len(sizes[1]) or any(
        a != b for d, (a, b) in enumerate(zip(*sizes, strict=True)) if d != dim
    ):
        raise Refusal("an index of another size than the tensor")
    still = index.space.fixed.keys() <= {*index.dims[dim]}
    if index.value is not None and still and settle(x).moves(dim):
        places = index.value.movedim(dim, -1).reshape(-1, index.shape[dim])[0].tolist()
        return taken(x, dim, places, call.why(ALONE), call.apart())
    hot = one_hot(call, index, x, dim)
    names = [str(d) for d in range(len(x.raw))]
    asked = row_names(x, dim)
    return combine(call.units, [(x, names), (hot, [*asked, names[dim]])], asked, call.owner)


def triangle(call: Call) -> Value:
    """A triangle of a matrix depends on the order of its rows and columns: both are fixed."""
    x = settle(call.first)
    call.fix(x, [-2, -1], "a triangle is cut out of them")
    return x


def index_add(call: Call) -> Value:
    """Rows written or added to the rows that a vector of indices selects."""
    x, index, rows = (settle(call.tensor(name)) for name in ("self", "index", "source"))
    dim = call.dim(call["dim"], x)
    call.fix(index, range(len(index.raw)), "rows are written to by index")
    return written_into(call, x, [], rows, dim)


def scatter_entries(call: Call) -> Value:
    """Entries written or added, each at its own index along one dimension."""
    x, index = settle(call.tensor("self")), settle(call.tensor("index"))
    dim, entries = call.dim(call["dim"], x), call.values.get("src")
    sources = [index] if not isinstance(entries, Layout) else [index, settle(entries)]
    for d, size in enumerate(x.shape):
        wanted = index.shape[d] if d == dim else size
        if any(source.shape[d] != wanted for source in sources):
            raise Refusal("an index of another size than the tensor")
    names = row_names(x, dim)
    if isinstance(index.into, np.ndarray):
        hot = one_hot(call, index, x, dim)
        own = [str(d) for d in range(len(x.raw))]
        inputs = [(x, own), (hot, [*names, own[dim]]), *((y, names) for y in sources[1:])]
        return combine(call.units, inputs, own, call.owner)
    call.fix(index, [dim], "entries are written to by index")
    named = ["named" if name == "asked" else name for name in names]
    return written_into(call, x, [(index, named)], sources[-1], dim)


def written_into(
    call: Call, x: Layout, indices: list[tuple[Layout, list[str]]], rows: Layout, dim: int
) -> Layout:
    """Positions of one dimension overwritten: it is fixed, and the others are tied."""
    call.fix(x, [dim], "it is written to by index")
    call.fix(rows, [dim], "they are written by index")
    names = [str(d) for d in range(len(x.raw))]
    inputs = [(x, names), (rows, row_names(x, dim)), *indices]
    return combine(call.units, inputs, names, call.owner)


def row_names(x: Layout, dim: int) -> list[str]:
    """The letters of a tensor's dimensions, of which one is asked for by an index."""
    return ["asked" if d == dim else str(d) for d in range(len(x.raw))]


def written_into_part(call: Call) -> Value:
    """Part of a tensor overwritten, selected by indices, a mask or a slice."""
    if not any(layout.space.labels for layout in map(settle, call.tensors())):
        return new_layout(call.units, call.shape, "fixed")
    raise Refusal("units are written into a part of a tensor")
