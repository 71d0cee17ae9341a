"""The largest groups that axes can express: units that do not fit are fixed, and it is repeated."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from llfc.symmetry.groups.families import Families, Implied, Irregular, families
from llfc.symmetry.groups.naming import group_names, owner_at
from llfc.symmetry.groups.placing import Placing
from llfc.symmetry.groups.quotient import Quotient, quotient
from llfc.symmetry.layouts.layout import Layout
from llfc.symmetry.layouts.units import Nodes, Units
from llfc.symmetry.spec.axes import Axis

MAX_ROUNDS = 1000


@dataclass
class Grouping:
    """The groups of a network's units.

    Attributes:
        units: the facts; what is found to be implied by them, or fixed, is added.
        layouts: of each tensor of the state dict.
        lines: one for each time that units were fixed as no group or axis can say how they move.
    """

    units: Units
    layouts: Mapping[str, Layout]
    lines: list[str] = field(default_factory=list)

    def largest(self) -> tuple[Families, Placing, dict[str, tuple[Axis, ...]]]:
        """Groups, names and axes."""
        fixed: list[Nodes] = []
        for _ in range(MAX_ROUNDS):
            whole = quotient(self.units, fixed)
            first = np.unique(whole.of, return_index=True)[1]
            try:
                found = families(whole)
                placing = Placing(found, group_names(self.units, found))
                axes, without = placing.all_axes(self.layouts)
            except Implied as implied:
                for children, parents in implied.pairs:
                    self.units.relate(first[children], first[parents])
                continue
            except Irregular as irregular:
                fixed.append(np.flatnonzero(np.isin(whole.of, irregular.classes)))
                self.note(first[irregular.classes], "no product of groups says how they move")
                continue
            if not without:
                return found, placing, axes
            for name, classes in without.items():
                self.note(first[classes], f"no axis says how they lie on {name}")
                if not self.fix_inner(found, classes):
                    fixed.append(np.flatnonzero(np.isin(whole.of, classes)))
        raise AssertionError("fixing does not end")

    def note(self, nodes: Nodes, reason: str) -> None:
        """Record in `lines` which units were fixed, or the innermost of them, and why."""
        owners = dict.fromkeys(owner_at(self.units, node) for node in nodes.tolist())
        self.lines.append(f"units of {', '.join(owners)}: {reason}")

    def fix_inner(self, found: Families, classes: Nodes) -> bool:
        """Fix nested units only: heads can still be permuted, the units within them cannot.

        Returns:
            Whether any of the classes is such a unit.
        """
        groups, units = found.coordinates(classes)
        depth = np.maximum((groups >= 0).sum(axis=0) - 1, 0)
        at = np.arange(len(classes))
        own, rank = groups[depth, at], units[depth, at]
        inner = np.array([g >= 0 and len(found.places[g]) > 0 for g in own.tolist()], dtype=bool)
        if not inner.any():
            return False
        first = np.unique(found.quotient.of, return_index=True)[1]
        places = self.units.fixed_axis(int(rank.max()) + 1)
        self.units.relate(first[classes[inner]], places[rank[inner]])
        return True


def fixed_by_rules(units: Units, found: Quotient) -> list[tuple[str, str]]:
    """The nodes that would be free if no rule had fixed them, with the rule's reason."""
    if not units.reasons:
        return []
    shown = quotient(units.shown(), [])
    counts = [np.bincount(which.colour) for which in (shown, found)]
    lines: dict[tuple[str, str], None] = {}
    for reason in units.reasons:
        nodes = reason.nodes.reshape(-1)
        before, after = (which.colour[which.of[nodes]] for which in (shown, found))
        moved, moves = counts[0][before] > 1, counts[1][after] > 1
        finer = len(np.unique(np.stack([before, after]), axis=1).T) > len(np.unique(before))
        if finer or (moved & ~moves).any():
            owners = dict.fromkeys(owner_at(units, node) for node in nodes.tolist())
            lines[f"units of {', '.join(owners)}", reason.why] = None
    return [*lines]
