"""A spec as a table for people."""

import re

from llfc.symmetry.axes import axis_groups
from llfc.symmetry.permutation import PermutationSpec


def family(group: str) -> str:
    """The name that nested sisters share: their own without the place.

    >>> family("attention.value[3]")
    'attention.value[*]'
    """
    return re.sub(r"\[[\d,]+\]$", "[*]", group)


def table(spec: PermutationSpec, most: int | None = None) -> str:
    """A line for each group: its units and the axes it moves; nested sisters share a line.

    Args:
        spec: the spec.
        most: axes named in a line, which then says how many more there are; None: all.
    """
    where: dict[str, list[str]] = {}
    for name, axes in spec.axes.items():
        for dim, axis in enumerate(axes):
            for stem in dict.fromkeys(family(group) for group in axis_groups(axis)):
                where.setdefault(stem, []).append(f"{name}:{dim}")
    counts: dict[tuple[str, int], int] = {}
    for group, units in spec.groups.items():
        counts[family(group), units] = counts.get((family(group), units), 0) + 1
    rows = [("group", "units", "moves (tensor:axis)")]
    for (stem, units), count in counts.items():
        places = where.get(stem, [])
        left = len(places) - len(places[:most])
        more = f" and {left} more" if left else ""
        shown = f"{count} x {units}" if count > 1 else f"{units}"
        rows.append((stem, shown, ", ".join(places[:most]) + more))
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    lines = [f"{a:<{widths[0]}}  {b:>{widths[1]}}  {c}".rstrip() for a, b, c in rows]
    total = sum(spec.groups.values())
    lines.append(f"{len(spec.groups)} groups, {total} units, {len(spec.axes)} tensors")
    return "\n".join(lines + [f"frozen: {line}" for line in spec.frozen])
