"""Facts that several tensors have about the slots they share, reconciled."""

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from llfc.symmetry.layouts.layout import Label, Layout, Space, fix_slot, project, spread
from llfc.symmetry.layouts.units import SHOWN, Nodes, Units

LARGEST_JOINT = 1 << 20  # nodes of a parameter's joint label; larger ones are labelled by dimension


def mirrored(one: Nodes, other: Nodes) -> Nodes | None:
    """The pair of each position, if an axis meets itself with its units swapped in pairs.

    As in `h * h.flip(1)`: units i and n - 1 - i meet at two positions, so that the two may change
    places with one another and with any other such pair. A unit may be a pair with itself.

    Returns:
        The number of each position's pair; None if the axis meets itself in no such way.
    """
    mine, its = one.reshape(-1), other.reshape(-1)
    order = np.argsort(mine)
    at = order[np.searchsorted(mine[order], its).clip(max=mine.size - 1)]  # of each unit of other
    places = np.arange(mine.size)
    known = len(np.unique(mine)) == mine.size and (mine[at] == its).all()
    if not known or (at == places).all() or (at[at] != places).any():
        return None
    return np.unique(np.minimum(at, places), return_inverse=True)[1].reshape(one.shape)


@dataclass
class Meeting:
    """What is known of common slots, one for each slot of each letter of a contraction.

    Attributes:
        units: where the facts are gathered.
        owner: what new units are named after.
        sizes: of each common slot.
        labels: by the set of slots that a label speaks of; of one set there is one label.
        fixed: the common slots that do not move, each with the reason, as in `Space`.
    """

    units: Units
    owner: str
    sizes: dict[int, int] = field(default_factory=dict)
    labels: dict[frozenset[int], Label] = field(default_factory=dict)
    fixed: dict[int, str] = field(default_factory=dict)

    def add(self, label: Label) -> None:
        """Add a label; if there is one over the same slots, their nodes are identified."""
        key = frozenset(label.slots)
        if key in self.labels:
            known = self.labels[key]
            nodes = spread(label.nodes, label.slots, known.slots)
            pairs = mirrored(known.nodes, nodes)
            if pairs is None:
                self.units.union(known.nodes, nodes)
            else:
                count = int(pairs.max()) + 1
                self.units.relate(known.nodes, self.units.fresh((count,), self.owner)[pairs])
        else:
            self.labels[key] = label

    def over(self, keep: Iterable[int]) -> list[Label]:
        """The labels, projected to some slots; only those over maximal sets of slots."""
        wanted = frozenset(keep)
        # A list: a projection is a label too, and is remembered for whoever asks next.
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
        """A label projected to some of its slots; the new nodes are parents of its own."""
        if keep == frozenset(label.slots):
            return label
        if keep in self.labels:
            part = self.labels[keep]
            self.units.relate(label.nodes, spread(part.nodes, part.slots, label.slots))
            return part
        part = self.labels[keep] = project(self.units, label, keep, self.owner)
        return part

    def reconcile(self) -> None:
        """Project labels that share some slots onto these, and identify the projections."""
        labels = sorted(self.labels.values(), key=lambda label: len(label.slots))
        for i, small in enumerate(labels):
            for large in labels[i + 1 :]:
                common = frozenset(small.slots) & frozenset(large.slots)
                if common:
                    self.restricted(small, common)
                    self.restricted(large, common)

    def take_in(self, layouts: Sequence[Layout], maps: Sequence[dict[int, int]]) -> None:
        """Take in the labels and fixed slots of all tensors."""
        for layout, own in zip(layouts, maps, strict=True):
            for slot, why in layout.space.fixed.items():
                if slot in own and self.fixed.get(own[slot]) != SHOWN:
                    self.fixed[own[slot]] = why
        for layout, own in zip(layouts, maps, strict=True):
            own_fixed = {own[s] for s in layout.space.fixed if s in own}  # its labels know of these
            for label in layout.space.labels:
                common = Label(tuple(own[s] for s in label.slots), label.nodes)
                for slot in common.slots:
                    if slot in self.fixed.keys() - own_fixed:
                        fix_slot(self.units, common, slot, self.fixed[slot])
                self.add(common)

    def name_free(
        self,
        layout: Layout,
        own: dict[int, int],
        dims: Sequence[Sequence[int]],
        batch: set[int],
        kept: set[int],
        apart: bool,
    ) -> None:
        """Give new nodes to the free slots of a parameter of which no other tensor speaks.

        Slots of the result that another tensor shares (heads, groups of a convolution, places that
        have weights of their own) come with them: units may be permuted differently in each.

        Args:
            layout: the parameter.
            own: the common slot of each of its slots.
            dims: the common slots of each of its dimensions that has free ones.
            batch: slots of the result that other tensors have too.
            kept: all slots of the result.
            apart: label every dimension by itself.
        """
        labelled = {s for key in self.labels for s in key}
        free = {own[s] for s in layout.space.free} - labelled - self.fixed.keys()
        # At each place of `shared` the parameter may have units of its own.
        shared = batch & (labelled | self.fixed.keys()) & {*own.values()}
        if math.prod(self.sizes[s] for s in free | shared) > LARGEST_JOINT:
            shared -= self.fixed.keys()
        groups: list[list[int]] = []
        for dim in dims:
            if set(dim) & free and set(dim) <= kept:  # new units, as the outputs of a layer
                groups.append([s for s in dim if s in free or s in shared])
            elif set(dim) & free:  # summed over: copies of a unit may change places in it
                alone = [s for s in dim if s not in self.fixed]
                groups.append([*alone, *(s for s in shared if s not in alone)])
        # Several new dimensions, as those of an embedding of places: one label over all of them, as
        # nothing says yet that what moves along one is the same everywhere along another.
        together = sorted({s for dim in groups if set(dim) <= kept for s in dim} | shared)
        size = math.prod(self.sizes[s] for s in together)
        if not apart and together and size <= LARGEST_JOINT:
            groups = [dim for dim in groups if not set(dim) <= kept] + [together]
        for slots in groups:
            if set(slots) & free:
                self.add(self.new_label(slots, layout.space.owner))

    def new_label(self, slots: Sequence[int], owner: str) -> Label:
        """A label with new nodes, which move along no slot that is fixed."""
        shape = tuple(self.sizes[s] for s in slots)
        label = Label(tuple(slots), self.units.fresh(shape, owner))
        for slot in self.fixed.keys() & {*slots}:
            fix_slot(self.units, label, slot, self.fixed[slot])
        return label

    def write_into(self, space: Space, own: dict[int, int]) -> None:
        """Write what the meeting knows into a parameter whose slots were free."""
        back = {common: s for s, common in own.items()}
        free = set(space.free) & set(own)
        for label in self.over(back):
            slots = tuple(back[s] for s in label.slots)
            if free & set(slots):
                space.labels.append(Label(slots, label.nodes))
        space.fixed |= {s: self.fixed[own[s]] for s in free if own[s] in self.fixed}
        space.free -= free
