"""Readable, stable names of groups."""

import bisect

import numpy as np

from llfc.matching.symmetry.families import Families
from llfc.matching.symmetry.units import Units


def group_names(units: Units, families: Families) -> list[str]:
    """A name for each group: the module that made its first unit, and for sisters their place."""
    _, first_node = np.unique(families.quotient.of, return_index=True)
    starts = [birth.start for birth in units.births]
    taken: dict[str, int] = {}
    names: list[str] = []
    stems: dict[int, str] = {}
    for group, birth in enumerate(families.births):
        kin = families.kin[group]
        if kin not in stems:
            at = bisect.bisect_right(starts, int(first_node[birth])) - 1
            while not units.births[at].owner and at:
                at -= 1
            owner = units.births[at].owner or "units"
            taken[owner] = count = taken.get(owner, 0) + 1
            stems[kin] = owner if count == 1 else f"{owner}~{count}"
        place = ",".join(map(str, families.places[group]))
        names.append(f"{stems[kin]}[{place}]" if place else stems[kin])
    return names


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
