"""A spec as a table for people."""

import re
from collections.abc import Mapping, Sequence

from llfc.names import counted
from llfc.symmetry.spec.axes import Axis, axis_groups


def family(group: str) -> str:
    """The name that nested siblings share: their own without the place.

    >>> family("attention.value[3]")
    'attention.value[*]'
    """
    return re.sub(r"\[[\d,]+\]$", "[*]", group)


def table(
    groups: Mapping[str, int],
    axes: Mapping[str, Sequence[Axis]],
    frozen: Sequence[str],
    most: int | None,
    kinds: Mapping[str, str] | None = None,
) -> str:
    """A line for each group: its units and the axes it moves; nested siblings share a line.

    Args:
        groups: group name -> number of units.
        axes: tensor -> one axis for each dimension.
        frozen: lines that come last.
        most: axes named in a line, which then says how many more there are; None: all.
        kinds: group name -> its kind, for a column of its own.
    """
    where: dict[str, list[str]] = {}
    for name, own in axes.items():
        for dim, axis in enumerate(own):
            for stem in dict.fromkeys(family(group) for group in axis_groups(axis)):
                where.setdefault(stem, []).append(f"{name}:{dim}")
    counts: dict[tuple[str, int, str], int] = {}
    for group, units in groups.items():
        key = family(group), units, (kinds or {}).get(group, "")
        counts[key] = counts.get(key, 0) + 1
    rows = [("group", "units", "kind", "moves (tensor:axis)")]
    for (stem, units, kind), count in counts.items():
        places = where.get(stem, [])
        left = len(places) - len(places[:most])
        more = f" and {left} more" if left else ""
        shown = f"{count} x {units}" if count > 1 else f"{units}"
        rows.append((stem, shown, kind, ", ".join(places[:most]) + more))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = []
    for name, size, kind, moved in rows:
        shown = f"  {kind:<{widths[2]}}" if kinds else ""
        lines.append(f"{name:<{widths[0]}}  {size:>{widths[1]}}{shown}  {moved}".rstrip())
    total = sum(groups.values())
    lines.append(
        f"{counted(len(groups), 'group')}, {counted(total, 'unit')}, {counted(len(axes), 'tensor')}"
    )
    return "\n".join(lines + [f"frozen: {line}" for line in frozen])
