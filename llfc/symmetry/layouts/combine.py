"""The one law behind sums, products, contractions and broadcasts.

Tensors are indexed by letters, as in an einsum. Where letters meet, the labels of the tensors must
agree; what a label says of letters that the result lacks is projected onto those that it has.
"""

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from llfc.symmetry.layouts.constants import by_kind
from llfc.symmetry.layouts.cuts import align
from llfc.symmetry.layouts.layout import Label, Layout, Pick, Space, hold, project, settle, spread
from llfc.symmetry.layouts.picks import pick_letters, picks_of, with_picks
from llfc.symmetry.layouts.units import SHOWN, Units

Spot = tuple[str, int]  # the k-th slot of a letter
LARGEST_JOINT = 1 << 20  # nodes of a parameter's joint label; larger ones are labelled by dimension


@dataclass
class Meeting:
    """Labels over common slots, each set of slots once."""

    units: Units
    owner: str
    sizes: dict[int, int] = field(default_factory=dict)
    labels: dict[frozenset[int], Label] = field(default_factory=dict)
    fixed: dict[int, str] = field(default_factory=dict)

    def add(self, label: Label) -> None:
        """Let a label in: it is united with the one over the same slots, if there is one."""
        key = frozenset(label.slots)
        if key in self.labels:
            known = self.labels[key]
            self.units.union(known.nodes, spread(label.nodes, label.slots, known.slots))
        else:
            self.labels[key] = label

    def over(self, keep: Iterable[int]) -> list[Label]:
        """The labels restricted to some slots: as they are, or projected; the largest alone."""
        wanted = frozenset(keep)
        found: dict[frozenset[int], Label] = {}
        for key, label in list(self.labels.items()):
            common = key & wanted
            if common:
                found[common] = self.restricted(label, common)
        for part, whole in itertools.permutations(found, 2):
            if part < whole:
                self.restricted(found[whole], part)
        return [found[key] for key in found if not any(key < other for other in found)]

    def restricted(self, label: Label, keep: frozenset[int]) -> Label:
        """A label of some of another's slots, to which the other's nodes belong."""
        if keep == frozenset(label.slots):
            return label
        if keep in self.labels:
            part = self.labels[keep]
            self.units.relate(label.nodes, spread(part.nodes, part.slots, label.slots))
            return part
        part = self.labels[keep] = project(self.units, label, keep, self.owner)
        return part

    def reconcile(self) -> None:
        """Make labels that share slots agree on them."""
        labels = sorted(self.labels.values(), key=lambda label: len(label.slots))
        for i, small in enumerate(labels):
            for large in labels[i + 1 :]:
                common = frozenset(small.slots) & frozenset(large.slots)
                if common:
                    self.restricted(small, common)
                    self.restricted(large, common)


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
    layouts = constants_told(layouts, letters, owner)
    for layout in layouts:
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
    held = zip(picks.values(), found.dims[count:], strict=True)
    told = [
        Pick(p.index, p.dims, slots) for p, slots in held if any(map(found.space.covering, slots))
    ]
    return Layout(found.space, found.raw[:count], picks=tuple(told))


def tied(layout: Layout) -> Layout:
    """The tensor without picked axes: what their positions have of their own is one in all."""
    if not layout.picks:
        return layout
    names = [str(d) for d in range(len(layout.raw))]
    whole = Layout(with_picks(layout).space, with_picks(layout).raw)
    letters = [*names, *(f"pick {k}" for k in range(len(layout.picks)))]
    return combine(layout.space.units, [(whole, letters)], names, layout.space.owner)


def constants_told(
    layouts: list[Layout], letters: Sequence[Sequence[str]], owner: str
) -> list[Layout]:
    """The tensors, with constants that units meet saying which of them may change places."""
    moving, held = set[str](), set[str]()
    for layout, names in zip(layouts, letters, strict=True):
        for dim, letter in enumerate(names):
            own = {*layout.dims[dim]}
            if layout.moves(dim) or own & layout.space.free:
                moving.add(letter)
            elif layout.value is None and own & layout.space.fixed.keys():
                held.add(letter)
    found: list[Layout] = []
    for layout, names in zip(layouts, letters, strict=True):
        dims = [d for d, own in enumerate(layout.dims) if layout.space.fixed.keys() & {*own}]
        dims = [d for d in dims if names[d] not in held]
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
    """`combine`, once the slots are aligned."""
    target = Space(units, owner)
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
    meeting = Meeting(units, owner, dict(enumerate(target.sizes)))
    gather(meeting, layouts, maps)
    kept = [s for letter in result for s in slots.get(letter, ())]
    for i, layout in enumerate(layouts):
        if layout.space.free:
            others = {s for j, names in enumerate(maps) if j != i for s in names.values()}
            found = [[t[0] for t in group] for group in dim_groups(layout, maps[i])]
            batch = others & set(kept)
            name_free(meeting, layout, maps[i], found, batch, set(kept), apart)
    meeting.reconcile()
    for layout, own in zip(layouts, maps, strict=True):
        if layout.space.free:
            adopt(meeting, layout.space, own)
    target.fixed = {slot: why for slot, why in meeting.fixed.items() if slot in kept}
    target.labels = [
        Label(label.slots, label.nodes)
        for label in meeting.over(kept)
        if not target.fixed.keys() >= {*label.slots}  # held already: it has no more to say
    ]
    return Layout(target, tuple(slots.get(letter, ()) for letter in result))


def dim_groups(layout: Layout, own: dict[int, int]) -> list[list[tuple[int, int]]]:
    """The slots of each dimension that has free ones, as (common slot, own slot)."""
    free = layout.space.free
    return [[(own[s], s) for s in dim] for dim in layout.dims if any(s in free for s in dim)]


def gather(meeting: Meeting, layouts: Sequence[Layout], maps: Sequence[dict[int, int]]) -> None:
    """Take in the labels and fixed slots of all tensors."""
    for layout, own in zip(layouts, maps, strict=True):
        for slot, why in layout.space.fixed.items():
            if slot in own and meeting.fixed.get(own[slot]) != SHOWN:
                meeting.fixed[own[slot]] = why
    for layout, own in zip(layouts, maps, strict=True):
        held = {own[s] for s in layout.space.fixed if s in own}
        for label in layout.space.labels:
            common = Label(tuple(own[s] for s in label.slots), label.nodes)
            for slot in common.slots:
                if slot in meeting.fixed.keys() - held:
                    hold(meeting.units, common, slot, meeting.fixed[slot])
            meeting.add(common)


def name_free(
    meeting: Meeting,
    layout: Layout,
    own: dict[int, int],
    dims: Sequence[Sequence[int]],
    batch: set[int],
    kept: set[int],
    apart: bool,
) -> None:
    """Give new nodes to the free slots of a parameter of which no other tensor speaks.

    Slots of the result that another tensor shares (heads, groups of a convolution, places that have
    weights of their own) come with them: units may be permuted differently in each.
    """
    labelled = {s for key in meeting.labels for s in key}
    free = {own[s] for s in layout.space.free} - labelled - meeting.fixed.keys()
    shared = batch & (labelled | meeting.fixed.keys()) & {*own.values()}
    if math.prod(meeting.sizes[s] for s in free | shared) > LARGEST_JOINT:
        shared -= meeting.fixed.keys()
    groups: list[list[int]] = []
    for dim in dims:
        if set(dim) & free and set(dim) <= kept:
            groups.append([s for s in dim if s in free or s in shared])
        elif set(dim) & free:  # summed over: copies of a unit may change places in it
            alone = [s for s in dim if s not in meeting.fixed]
            groups.append([*alone, *(s for s in shared if s not in alone)])
    together = sorted({s for dim in groups if set(dim) <= kept for s in dim} | shared)
    size = math.prod(meeting.sizes[s] for s in together)
    if not apart and together and size <= LARGEST_JOINT:
        groups = [dim for dim in groups if not set(dim) <= kept] + [together]
    for slots in groups:
        if set(slots) & free:
            shape = tuple(meeting.sizes[s] for s in slots)
            label = Label(tuple(slots), meeting.units.fresh(shape, layout.space.owner))
            for slot in meeting.fixed.keys() & {*slots}:
                hold(meeting.units, label, slot, meeting.fixed[slot])
            meeting.add(label)


def adopt(meeting: Meeting, space: Space, own: dict[int, int]) -> None:
    """Write what the meeting knows into a parameter whose slots were free."""
    back = {common: s for s, common in own.items()}
    free = set(space.free) & set(own)
    for label in meeting.over(back):
        slots = tuple(back[s] for s in label.slots)
        if free & set(slots):
            space.labels.append(Label(slots, label.nodes))
    space.fixed |= {s: meeting.fixed[own[s]] for s in free if own[s] in meeting.fixed}
    space.free -= free


def pointwise(units: Units, inputs: Sequence[Layout], shape: Sequence[int], owner: str) -> Layout:
    """The layout of an elementwise operation with broadcasting."""
    names = [str(dim) for dim in range(len(shape))]
    return combine(
        units,
        [(layout, names[len(names) - len(layout.raw) :]) for layout in inputs],
        names,
        owner,
        apart=True,
    )


def fibres(layout: Layout, dims: Iterable[int], owner: str) -> None:
    """Units along `dims` are treated alike at each place of the other dimensions (a softmax).

    So a label that speaks of both must keep together what lies at one place of the others.
    """
    space = layout.space
    inside = {slot for dim in dims for slot in layout.dims[dim]}
    for label in space.labels:
        outside = set(label.slots) - inside
        if outside and set(label.slots) & inside:
            project(space.units, label, outside, owner)
