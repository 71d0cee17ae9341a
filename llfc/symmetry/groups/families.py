"""From classes of units to groups: the largest that the facts allow.

A family is all units of one colour. Units without parents form one group. Units with parents are
permuted only among the children of the same parents, one group for each: the units of a head. Where
parents determine the unit (one child for each pair of them), it has no freedom of its own.

Example: a convolution with 2 groups of channels, which reads 2 x 2 channels and makes 2 x 3.

>>> import torch
>>> from torch import nn
>>> from llfc.symmetry.derive import Derivation
>>> from llfc.symmetry.graph.export import exported
>>> from llfc.symmetry.groups.naming import group_names
>>> from llfc.symmetry.groups.quotient import quotient
>>> first, second = nn.Conv1d(2, 4, 1, bias=False), nn.Conv1d(4, 6, 1, groups=2, bias=False)
>>> model = nn.Sequential(first, second, nn.Flatten(), nn.Linear(6, 2))
>>> derivation = Derivation(model, strict=True)
>>> walk = derivation.walk(exported(model, [torch.zeros(1, 2, 1)], training=False))

The walk related every channel to the convolution's group that it lies in, node 10 or 11:

>>> for children, parents in derivation.units.relations[:2]:
...     print(children.tolist(), parents[:, 0].tolist())
[[0, 1], [2, 3]] [10, 11]
[[4, 5, 6], [7, 8, 9]] [10, 11]

So there are three families: the 2 groups of channels, which may be swapped; the channels read, 2 in
each; and the channels made, 3 in each. Channels change places only within their own group. `places`
says whose children a nested group's units are.

>>> whole = quotient(derivation.units, [])
>>> found = families(whole)
>>> for name, size, place in zip(
...     group_names(derivation.units, found), found.sizes, found.places, strict=True
... ):
...     print(name, size, place)
1.groups 2 ()
0[0] 2 (0,)
0[1] 2 (1,)
1[0] 3 (0,)
1[1] 3 (1,)

Channel 3 that is read is unit 1 (of group 0, `1.groups`), and in it unit 1 (of group 2, `0[1]`):

>>> groups, units = found.coordinates(whole.of[[3]])
>>> groups[:, 0].tolist(), units[:, 0].tolist()
([0, 2], [1, 1])
"""

import itertools
from dataclasses import dataclass, field

import numpy as np

from llfc.symmetry.groups.quotient import Hashes, Quotient, hashed, hashed_numbers
from llfc.symmetry.layouts.units import Nodes


class Irregular(Exception):
    """Classes whose symmetry is not a product of symmetric groups; they are fixed instead."""

    def __init__(self, classes: Nodes) -> None:
        super().__init__(f"{len(classes)} classes")
        self.classes = classes


class Implied(Exception):
    """Implied relations: all children of one parent share their parent in another relation."""

    def __init__(self, pairs: list[tuple[Nodes, Nodes]]) -> None:
        super().__init__(f"{len(pairs)} relations")
        self.pairs = pairs


@dataclass
class Coordinates:
    """For the classes of one colour: of which groups each is a unit, and which unit.

    Attributes:
        groups: [coordinates, classes], the number of the group, from the outermost.
        units: [coordinates, classes], the unit in it.
    """

    groups: Nodes
    units: Nodes


@dataclass
class Families:
    """Groups and, for every class, its coordinates.

    Attributes:
        sizes: units of each group.
        first_classes: the first class of each group.
        colours: the colour of each group's units, which siblings share.
        places: for a nested group its place among its siblings, else empty.
        of: colour -> coordinates of its classes; a colour without any does not move.
        rank: the place of each class among those of its colour.
        sigma: where a random permutation takes each class, the test that the groups are free.
    """

    quotient: Quotient
    sizes: list[int] = field(default_factory=list)
    first_classes: list[int] = field(default_factory=list)
    places: list[tuple[int, ...]] = field(default_factory=list)
    colours: list[int] = field(default_factory=list)
    of: dict[int, Coordinates] = field(default_factory=dict)
    rank: Nodes = field(init=False)
    sigma: Nodes = field(init=False)
    random: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))

    def coordinates(self, classes: Nodes) -> tuple[Nodes, Nodes]:
        """Groups and units of an array of classes, [most coordinates, len]; -1: none."""
        colours = self.quotient.colour[classes]
        present = [c for c in np.unique(colours).tolist() if c in self.of]
        depth = max([len(self.of[c].groups) for c in present], default=0)
        groups = np.full((depth, len(classes)), -1, dtype=np.int64)
        units = groups.copy()
        for colour in present:
            at = np.flatnonzero(colours == colour)
            found, ranks = self.of[colour], self.rank[classes[at]]
            groups[: len(found.groups), at] = found.groups[:, ranks]
            units[: len(found.groups), at] = found.units[:, ranks]
        return groups, units


def families(quotient: Quotient) -> Families:
    """The groups of a quotient.

    Raises:
        Irregular: some classes cannot be permuted as a product of groups.
        Implied: a relation that was not noted yet follows from the others.
    """
    result = Families(quotient)
    order = np.argsort(quotient.colour, kind="stable")
    counts = np.bincount(quotient.colour)
    starts = np.concatenate([[0], np.cumsum(counts)])
    result.rank = np.empty(quotient.count, dtype=np.int64)
    result.sigma = np.arange(quotient.count)
    result.rank[order] = np.arange(quotient.count) - np.repeat(starts[:-1], counts)
    moving = np.flatnonzero(counts > 1)
    columns = parent_columns(quotient, counts, result.rank)
    look_for_implied(quotient, columns, result.rank)
    irregular: list[Nodes] = []
    skipped: set[int] = set()
    for colour in in_order(moving.tolist(), columns, quotient):
        own = columns.get(colour, [])
        if skipped.isdisjoint(int(quotient.colour[column[0]]) for column in own):
            try:
                place_family(result, colour, order[starts[colour] : starts[colour + 1]], own)
                continue
            except Irregular as found:
                irregular.append(found.classes)
        skipped.add(colour)
    if irregular:
        raise Irregular(np.unique(np.concatenate(irregular)))
    return result


def parent_columns(quotient: Quotient, counts: Nodes, rank: Nodes) -> dict[int, list[Nodes]]:
    """For each colour that can move, the parents of its classes in each relation."""
    child, parent = quotient.child, quotient.parent
    moves = (counts[quotient.colour[child]] > 1) & (counts[quotient.colour[parent]] > 1)
    colour = quotient.colour[child]
    rows = np.flatnonzero(moves & (child != parent))
    rows = rows[np.lexsort((rank[child[rows]], quotient.relation[rows], colour[rows]))]
    if not len(rows):
        return {}
    keys = np.stack([colour[rows], quotient.relation[rows]])
    cuts = np.flatnonzero((keys[:, 1:] != keys[:, :-1]).any(axis=0)) + 1
    columns: dict[int, dict[bytes, Nodes]] = {}
    for run in np.split(rows, cuts):
        column = parent[run]
        columns.setdefault(int(colour[run[0]]), {})[column.tobytes()] = column
    return {colour: list(found.values()) for colour, found in columns.items()}


def look_for_implied(quotient: Quotient, columns: dict[int, list[Nodes]], rank: Nodes) -> None:
    """Look for relations that follow from others: parents that determine another parent.

    Raises:
        Implied: some do, and are not related yet.
    """
    implied: dict[bytes, tuple[Nodes, Nodes]] = {}
    for direct in columns.values():
        found = list(direct)
        for column in direct:  # and what the parents themselves belong to
            above = columns.get(int(quotient.colour[column[0]]), [])
            found += [up[rank[column]] for up in above]
        distinct = list({column.tobytes(): column for column in found}.values())
        for column, other in itertools.permutations(distinct, 2):
            pairs = np.unique(np.stack([column, other]), axis=1)
            if (pairs[0][1:] == pairs[0][:-1]).any():
                continue
            above = columns.get(int(quotient.colour[column[0]]), [])
            if any(np.array_equal(np.unique(known), np.unique(other)) for known in above):
                continue
            implied[pairs.tobytes()] = (pairs[0], pairs[1])
    if implied:
        raise Implied(list(implied.values()))


def in_order(moving: list[int], columns: dict[int, list[Nodes]], quotient: Quotient) -> list[int]:
    """Colours with parents before their children.

    Raises:
        Irregular: a unit would be its own ancestor.
    """
    above = {
        colour: {int(quotient.colour[column[0]]) for column in columns.get(colour, [])}
        for colour in moving
    }
    done: dict[int, None] = {}
    waiting = moving
    while waiting:
        ready = [colour for colour in waiting if above[colour] <= done.keys()]
        if not ready:
            raise Irregular(np.flatnonzero(np.isin(quotient.colour, waiting)))
        done |= dict.fromkeys(ready)
        waiting = [colour for colour in waiting if colour not in done]
    return list(done)


def place_family(result: Families, colour: int, members: Nodes, columns: list[Nodes]) -> None:
    """Add the groups of one colour, and the coordinates of its classes, to `result`."""
    inherited = inherit(result, columns, len(members))
    if columns:
        rows, row = np.unique(np.stack(columns), axis=1, return_inverse=True)
        row = row.reshape(-1)
        counts = np.bincount(row)
        target = moved_parents(result, rows)
    else:
        row, counts = np.zeros(len(members), dtype=np.int64), np.array([len(members)])
        target = np.zeros(1, dtype=np.int64)
    size = int(counts[0])
    if (counts != size).any():
        raise Irregular(members)
    order = np.argsort(row, kind="stable")
    table = members[order].reshape(-1, size)
    result.sigma[table] = result.random.permuted(table[target], axis=1)
    if size == 1:
        result.of[colour] = inherited
        return
    unit = np.empty(len(members), dtype=np.int64)
    unit[order] = np.arange(len(members)) % size
    first = len(result.sizes)
    for k in range(len(counts)):
        head = order[k * size]
        result.sizes.append(size)
        result.colours.append(colour)
        result.first_classes.append(int(members[head]))
        result.places.append(tuple(inherited.units[:, head].tolist()))
    result.of[colour] = Coordinates(
        np.concatenate([inherited.groups, (first + row)[None]]),
        np.concatenate([inherited.units, unit[None]]),
    )


def inherit(result: Families, columns: list[Nodes], count: int) -> Coordinates:
    """The coordinates of all parents of each class, concatenated, duplicates removed."""
    found: dict[bytes, tuple[Nodes, Nodes]] = {}
    for column in columns:
        groups, units = result.coordinates(column)
        for g, u in zip(groups, units, strict=True):
            found.setdefault(g.tobytes() + u.tobytes(), (g, u))
    if not found:
        empty = np.empty((0, count), dtype=np.int64)
        return Coordinates(empty, empty)
    return Coordinates(
        np.stack([g for g, _ in found.values()]), np.stack([u for _, u in found.values()])
    )


def moved_parents(result: Families, rows: Nodes) -> Nodes:
    """For each tuple of parents, its image under a random permutation of the parents.

    Raises:
        Irregular: there is none with children; the parents cannot move freely.
    """
    keys = hashed_columns(rows)
    order = np.argsort(keys)
    wanted = hashed_columns(result.sigma[rows])
    at = np.searchsorted(keys[order], wanted).clip(max=len(keys) - 1)
    found: Nodes = order[at]
    if (keys[found] != wanted).any():
        raise Irregular(np.unique(rows))
    return found


def hashed_columns(rows: Nodes) -> Hashes:
    """One hash for each column of an array."""
    total: Hashes = np.zeros(rows.shape[1], dtype=np.uint64)
    for line in rows:
        total = hashed(total ^ hashed_numbers(line))
    return total
