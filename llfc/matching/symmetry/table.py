"""A spec as a table for people, and back from its JSON."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llfc.matching.axes import Axis, Factor, Feature, Segment, axis_groups
from llfc.matching.permutation import PermutationSpec

SHOWN = 3  # tensors named for a group before "and n more"


def family(group: str) -> str:
    """The name that nested sisters share: their own without the place.

    >>> family("attention.value[3]")
    'attention.value[*]'
    """
    return re.sub(r"\[[\d,]+\]$", "[*]", group)


def table(spec: PermutationSpec) -> str:
    """A line for each group: its units and the axes it moves; nested sisters share a line."""
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
        more = f" and {len(places) - SHOWN} more" if len(places) > SHOWN else ""
        shown = f"{count} x {units}" if count > 1 else f"{units}"
        rows.append((stem, shown, ", ".join(places[:SHOWN]) + more))
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    lines = [f"{a:<{widths[0]}}  {b:>{widths[1]}}  {c}".rstrip() for a, b, c in rows]
    total = sum(spec.groups.values())
    lines.append(f"{len(spec.groups)} groups, {total} units, {len(spec.axes)} tensors")
    return "\n".join(lines + [f"frozen: {line}" for line in spec.frozen])


def read_factor(data: Mapping[str, Any]) -> Factor:
    """A factor from its JSON."""
    return Factor(int(data["size"]), tuple(data["groups"]), tuple(data["units"]))


def read_axis(data: list[list[Mapping[str, Any]]]) -> Axis:
    """An axis from its JSON."""
    return tuple(read_segment(segment) for segment in data)


def read_segment(data: list[Mapping[str, Any]]) -> Segment:
    """A segment from its JSON."""
    return tuple(read_factor(factor) for factor in data)


def spec_from_json(path: str | Path) -> PermutationSpec:
    """The spec that `PermutationSpec.save` wrote.

    Raises:
        ValueError: the file holds no spec.
    """
    try:
        data = json.loads(Path(path).read_text())
        return PermutationSpec(
            groups={str(group): int(units) for group, units in data["groups"].items()},
            axes={name: tuple(map(read_axis, axes)) for name, axes in data["axes"].items()},
            features={
                group: tuple(
                    Feature(f["module"], int(f["dim"]), read_axis(f["axis"])) for f in features
                )
                for group, features in data["features"].items()
            },
            frozen=tuple(data["frozen"]),
        )
    except (KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path}: not a saved permutation spec ({error!r})") from error
