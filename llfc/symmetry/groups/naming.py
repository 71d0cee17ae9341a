"""Readable, stable names of groups."""

import bisect

import numpy as np

from llfc.symmetry.groups.families import Families
from llfc.symmetry.layouts.units import Units


def group_names(units: Units, families: Families) -> list[str]:
    """A name for each group: the module that made its first unit, and for sisters their place."""
    _, first_node = np.unique(families.quotient.of, return_index=True)
    taken: dict[str, int] = {}
    names: list[str] = []
    stems: dict[int, str] = {}
    for group, birth in enumerate(families.births):
        kin = families.kin[group]
        if kin not in stems:
            owner = owner_at(units, int(first_node[birth]))
            taken[owner] = count = taken.get(owner, 0) + 1
            stems[kin] = owner if count == 1 else f"{owner}~{count}"
        place = ",".join(map(str, families.places[group]))
        names.append(f"{stems[kin]}[{place}]" if place else stems[kin])
    return names


def owner_at(units: Units, node: int) -> str:
    """The module that made a node, or the last before it that has a name."""
    at = bisect.bisect_right(units.births, node, key=lambda birth: birth.start) - 1
    while not units.births[at].owner and at:
        at -= 1
    return units.births[at].owner or "units"


def forward_order(families: Families) -> list[int]:
    """The groups by their first units, sisters together."""
    first: dict[int, int] = {}
    for group, birth in enumerate(families.births):
        kin = families.kin[group]
        first[kin] = min(first.get(kin, birth), birth)
    return sorted(
        range(len(families.sizes)),
        key=lambda g: (first[families.kin[g]], families.kin[g], families.places[g]),
    )
