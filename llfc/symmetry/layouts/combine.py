"""The one law behind sums, products, contractions and broadcasts.

Tensors are indexed by letters, as in an einsum. Where letters meet, the labels of the tensors must
agree; what a label says of letters that the result lacks is projected onto those that it has.

Example: a network of a linear layer and a grouped one, `y[n,g,o] = sum_i second[g,o,i] h[n,g,i]`,
where h is the first's output, read as 2 groups of 2. Its weights are free: nothing has used them.

>>> from llfc.symmetry.layouts.layout import new_layout
>>> from llfc.symmetry.layouts.views import reshape
>>> def labels(tensor):
...     return [label.nodes.tolist() for label in tensor.space.labels]
>>> units = Units()
>>> x = new_layout(units, [5, 3], "fixed")
>>> first = new_layout(units, [4, 3], "free", "first")
>>> second = new_layout(units, [2, 3, 2], "free", "second")

The letter "in" meets the fixed features of x, so it is fixed. No label speaks of the letter "out",
so that the weight gets 4 nodes for it; the result has the same ones.

>>> h = combine(units, [(x, ["n", "in"]), (first, ["out", "in"])], ["n", "out"], "first")
>>> labels(first), labels(h), first.space.fixed
([[0, 1, 2, 3]], [[0, 1, 2, 3]], {1: ''})

A reshape only splits the slot. Then "g" and "in" meet what is known of h: the weight reads these
same nodes. Its own outputs may be other units in each group, so that 2 x 3 nodes are new. Both
labels speak of "g", on which they must agree: each is projected onto it, which gives the parents 10
and 11, the groups.

>>> h = reshape(h, [5, 2, 2])
>>> y = combine(
...     units, [(h, ["n", "g", "in"]), (second, ["g", "out", "in"])], ["n", "g", "out"], "second"
... )
>>> labels(second), labels(y)
([[[0, 1], [2, 3]], [[4, 5, 6], [7, 8, 9]]], [[[4, 5, 6], [7, 8, 9]]])
>>> for children, parents in units.relations[:2]:
...     print(children.tolist(), parents.tolist())
[[0, 1], [2, 3]] [[10, 10], [11, 11]]
[[4, 5, 6], [7, 8, 9]] [[10, 10, 10], [11, 11, 11]]
"""

from collections.abc import Iterable, Mapping, Sequence

from llfc.symmetry.layouts.constants import by_kind
from llfc.symmetry.layouts.cuts import align
from llfc.symmetry.layouts.layout import Label, Layout, Pick, Space, project, settle
from llfc.symmetry.layouts.meeting import Meeting
from llfc.symmetry.layouts.picks import pick_letters, picks_of, with_picks
from llfc.symmetry.layouts.units import Units


def combine(
    units: Units,
    inputs: Sequence[tuple[Layout, Sequence[str]]],
    result: Sequence[str],
    owner: str,
    apart: bool = False,
) -> Layout:
    """The layout of an einsum-like operation; where letters meet, units are tied.

    Args:
        units: where the facts are gathered.
        inputs: each tensor with a letter for every dimension; a dimension of size one is neutral.
        result: the letters of the result.
        owner: what new units are named after.
        apart: label a parameter's unused dimensions one by one, not jointly.
    """
    layouts = [with_picks(layout) for layout, _ in inputs]
    letters = [(*names, *pick_letters(layout, names)) for layout, names in inputs]
    picks = picks_of(inputs, result)
    spaces = [layout.space for layout in layouts]
    layouts = constants_by_kind(layouts, letters, owner)
    for layout in layouts:  # a parameter that meets itself: the same nodes in both
        if layout.space.free and spaces.count(layout.space) > 1:
            settle(layout)
    places: dict[str, list[tuple[int, int]]] = {}
    for i, names in enumerate(letters):
        for dim, letter in enumerate(names):
            if layouts[i].dims[dim]:
                places.setdefault(letter, []).append((i, dim))
    for meeting_places in places.values():
        align(layouts, meeting_places)
    found = meet(units, layouts, letters, places, [*result, *picks], owner, apart)
    count = len(result)
    slots_of = zip(picks.values(), found.dims[count:], strict=True)
    told = [
        Pick(p.index, p.dims, slots)
        for p, slots in slots_of
        if any(map(found.space.covering, slots))
    ]
    return Layout(found.space, found.raw[:count], picks=tuple(told))


def tied(layout: Layout) -> Layout:
    """The tensor without picked axes (`Pick`): units along them are identified at all positions."""
    if not layout.picks:
        return layout
    names = [str(d) for d in range(len(layout.raw))]
    whole = Layout(with_picks(layout).space, with_picks(layout).raw)
    letters = [*names, *(f"pick {k}" for k in range(len(layout.picks)))]
    return combine(layout.space.units, [(whole, letters)], names, layout.space.owner)


def constants_by_kind(
    layouts: list[Layout], letters: Sequence[Sequence[str]], owner: str
) -> list[Layout]:
    """The tensors, where constants that meet units say which positions can be permuted."""
    moving, fixed = set[str](), set[str]()
    for layout, names in zip(layouts, letters, strict=True):
        for dim, letter in enumerate(names):
            own = {*layout.dims[dim]}
            if layout.moves(dim) or own & layout.space.free:
                moving.add(letter)
            elif layout.value is None and own & layout.space.fixed.keys():
                fixed.add(letter)
    found: list[Layout] = []
    for layout, names in zip(layouts, letters, strict=True):
        dims = [d for d, own in enumerate(layout.dims) if layout.space.fixed.keys() & {*own}]
        dims = [d for d in dims if names[d] not in fixed]
        if layout.value is not None and dims and moving & {*names}:
            layout = by_kind(layout, dims, owner)
        found.append(layout)
    return found


def meet(
    units: Units,
    layouts: list[Layout],
    letters: Sequence[Sequence[str]],
    places: dict[str, list[tuple[int, int]]],
    result: Sequence[str],
    owner: str,
    apart: bool,
) -> Layout:
    """The rest of `combine`, once dimensions that share a letter have the same slots."""
    target, slots, maps = common_slots(Space(units, owner), layouts, letters, places)
    # First what is known meets; then parameters that nothing has used get what is still missing;
    # then labels over some of the same slots are made to agree on them.
    meeting = Meeting(units, owner, dict(enumerate(target.sizes)))
    meeting.take_in(layouts, maps)
    kept = [s for letter in result for s in slots.get(letter, ())]
    for i, layout in enumerate(layouts):
        if layout.space.free:
            others = {s for j, names in enumerate(maps) if j != i for s in names.values()}
            dims = free_dims(layout, maps[i])
            meeting.name_free(layout, maps[i], dims, others & set(kept), set(kept), apart)
    meeting.reconcile()
    for layout, own in zip(layouts, maps, strict=True):
        if layout.space.free:
            meeting.write_into(layout.space, own)
    target.fixed = {slot: why for slot, why in meeting.fixed.items() if slot in kept}
    target.labels = [
        Label(label.slots, label.nodes)
        for label in meeting.over(kept)
        if not target.fixed.keys() >= {*label.slots}  # fixed already: it has no more to say
    ]
    return Layout(target, tuple(slots.get(letter, ()) for letter in result))


def common_slots(
    target: Space,
    layouts: Sequence[Layout],
    letters: Sequence[Sequence[str]],
    places: Mapping[str, Sequence[tuple[int, int]]],
) -> tuple[Space, dict[str, tuple[int, ...]], list[dict[int, int]]]:
    """A space with one slot for each slot of each letter, shared by the tensors that have it.

    Returns:
        The space with these slots; those of each letter; for each tensor its own slot -> the common
        one.
    """
    slots: dict[str, tuple[int, ...]] = {}
    for letter, ((i, dim), *_) in places.items():
        sizes = [layouts[i].space.sizes[s] for s in layouts[i].dims[dim]]
        slots[letter] = tuple(target.slot(size) for size in sizes)
    maps: list[dict[int, int]] = []
    for layout, names in zip(layouts, letters, strict=True):
        maps.append(
            {
                s: t
                for own, letter in zip(layout.dims, names, strict=True)
                if own
                for s, t in zip(own, slots[letter], strict=True)
            }
        )
    return target, slots, maps


def free_dims(layout: Layout, own: dict[int, int]) -> list[list[int]]:
    """The common slots of each dimension that has free ones."""
    free = layout.space.free
    return [[own[s] for s in dim] for dim in layout.dims if any(s in free for s in dim)]


def pointwise(units: Units, inputs: Sequence[Layout], shape: Sequence[int], owner: str) -> Layout:
    """The layout of an elementwise operation on tensors that are broadcast to `shape`."""
    names = [str(dim) for dim in range(len(shape))]
    return combine(
        units,
        [(layout, names[len(names) - len(layout.raw) :]) for layout in inputs],
        names,
        owner,
        apart=True,
    )


def fibres(layout: Layout, dims: Iterable[int], owner: str) -> None:
    """Tie the units along `dims` at each position of the other dimensions (as a softmax does).

    So a label that speaks of both must keep together what lies at one place of the others.
    """
    space = layout.space
    inside = {slot for dim in dims for slot in layout.dims[dim]}
    for label in space.labels:
        outside = set(label.slots) - inside
        if outside and set(label.slots) & inside:
            project(space.units, label, outside, owner)
