"""Readable, stable names of groups."""

import bisect

import numpy as np

from llfc.symmetry.groups.families import Families
from llfc.symmetry.layouts.units import Units


def group_names(units: Units, families: Families) -> list[str]:
    """A name per group: the module that made its first unit, and the index among its siblings."""
    _, first_node = np.unique(families.quotient.of, return_index=True)
    taken: dict[str, int] = {}
    names: list[str] = []
    stems: dict[int, str] = {}
    for group, first_class in enumerate(families.first_classes):
        colour = families.colours[group]
        if colour not in stems:
            owner = owner_at(units, int(first_node[first_class]))
            taken[owner] = count = taken.get(owner, 0) + 1
            stems[colour] = owner if count == 1 else f"{owner}~{count}"
        place = ",".join(map(str, families.places[group]))
        names.append(f"{stems[colour]}[{place}]" if place else stems[colour])
    return names


def owner_at(units: Units, node: int) -> str:
    """The module that made a node, or the last before it that has a name."""
    at = bisect.bisect_right(units.origins, node, key=lambda origin: origin.start) - 1
    while not units.origins[at].owner and at:
        at -= 1
    return units.origins[at].owner or "units"


def forward_order(families: Families) -> list[int]:
    """The groups by their first units, siblings together."""
    first: dict[int, int] = {}
    for group, first_class in enumerate(families.first_classes):
        colour = families.colours[group]
        first[colour] = min(first.get(colour, first_class), first_class)
    return sorted(
        range(len(families.sizes)),
        key=lambda g: (first[families.colours[g]], families.colours[g], families.places[g]),
    )
