"""Reading a spec from JSON, which is validated, as the file may come from anywhere."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llfc.oneline import first_line
from llfc.symmetry.spec.axes import Axis, Factor, Feature, Segment, axis_size, plain_segments
from llfc.symmetry.spec.kinds import KINDS, Kinds, Powers

LARGEST_POWER = 64  # of a map, at one place
LARGEST_COUNT = 1 << 31  # units of a group or positions of an axis
# What a spec consists of: its groups, axes, features and frozen lines, and its kinds if known.
Parts = tuple[
    dict[str, int],
    dict[str, tuple[Axis, ...]],
    dict[str, tuple[Feature, ...]],
    tuple[str, ...],
    Kinds | None,
]


class Broken(Exception):
    """What is wrong with the JSON, in words."""


def saved_parts(path: str | Path) -> Parts:
    """What the spec consists of that `PermutationSpec.save` wrote.

    Raises:
        ValueError: the file holds no spec, or one that contradicts itself.
    """
    try:
        data = json.loads(Path(path).read_bytes())
        return read_parts(entries(data, "the file"))
    except Broken as broken:
        raise ValueError(f"{path}: not a saved permutation spec: {broken}") from None
    except (ValueError, RecursionError) as error:  # no JSON, no text, or a nest of brackets
        reason = first_line(error)
        raise ValueError(f"{path}: not a saved permutation spec: {reason}") from None


def read_parts(data: Mapping[str, Any]) -> Parts:
    """What a spec consists of, from a JSON object."""
    for name in ("groups", "axes", "features", "frozen"):
        if name not in data:
            raise Broken(f"{name!r} is missing")
    groups = {
        group: count_of(units, f"units of group {group!r}")
        for group, units in entries(data["groups"], "groups").items()
    }
    axes = {
        name: tuple(read_axis(axis, groups, name) for axis in items(found, name))
        for name, found in entries(data["axes"], "axes").items()
    }
    features = {
        group: tuple(read_feature(each, groups) for each in items(found, f"features of {group!r}"))
        for group, found in entries(data["features"], "features").items()
    }
    for group in features.keys() - groups.keys():
        raise Broken(f"features of an unknown group {group!r}")
    frozen = tuple(text_of(line, "frozen") for line in items(data["frozen"], "frozen"))
    kinds = None if data.get("kinds") is None else read_kinds(data["kinds"], groups, axes)
    return groups, axes, features, frozen, kinds


def saved_kinds(kinds: Kinds | None) -> dict[str, Any]:
    """The part of the JSON that says the kinds, if they are known."""
    if kinds is None:
        return {}
    record = {"powers": kinds.powers, "lines": kinds.lines, "gap": kinds.gap}
    return {"kinds": {"kinds": dict(kinds)} | record}


def read_kinds(data: Any, groups: Mapping[str, int], axes: Mapping[str, tuple[Axis, ...]]) -> Kinds:
    """The kinds from their JSON: one for each group, and a power for each factor of each axis."""
    found = entries(data, "kinds")
    kinds = entries(found.get("kinds"), "kinds of groups")
    for group, kind in kinds.items():
        if group not in groups or kind not in KINDS:
            raise Broken(f"group {group!r} of kind {beginning(kind)}")
    powers = entries(found.get("powers"), "powers")
    if kinds.keys() != groups.keys() or powers.keys() != axes.keys():
        raise Broken("kinds of other groups or tensors")
    for name, own in powers.items():
        if len(items(own, f"powers of {name!r}")) != len(axes[name]):
            raise Broken(f"{name!r} has powers of other axes")
    read = {
        name: tuple(
            read_powers(each, axis, name) for each, axis in zip(own, axes[name], strict=True)
        )
        for name, own in powers.items()
    }
    gap, lines = found.get("gap"), items(found.get("lines"), "lines")
    if not isinstance(gap, float | int):
        raise Broken(f"the gap must be a number, got {beginning(gap)}")
    return Kinds(kinds, read, tuple(text_of(line, "lines") for line in lines), float(gap))


def read_powers(data: Any, axis: Axis, name: str) -> Powers:
    """The powers on one axis: as many segments and factors as the axis has."""
    what = f"powers of {name!r}"
    found = [items(segment, what) for segment in items(data, what)]
    if [*map(len, found)] != [len(segment) for segment in plain_segments(axis)]:
        raise Broken(f"{name!r} has powers of another axis")
    for power in (power for segment in found for power in segment):
        if isinstance(power, bool) or not isinstance(power, int) or abs(power) > LARGEST_POWER:
            raise Broken(f"a power of {name!r} must be a small integer, got {beginning(power)}")
    return tuple(map(tuple, found))


def read_feature(data: Any, groups: Mapping[str, int]) -> Feature:
    """A feature from its JSON."""
    found = entries(data, "a feature")
    value = text_of(found.get("value"), "value of a feature")
    module = text_of(found.get("module"), f"module of {value!r}")
    dims, others = (
        tuple(count_of(dim, f"{key} of {value!r}") for dim in items(found.get(key), value))
        for key in ("dims", "others")
    )
    if not dims:
        raise Broken(f"{value!r} has no dims")
    axis = read_axis(found.get("axis"), groups, value)
    return Feature(value, module, dims, axis, others, last=found.get("last") is True)


def read_axis(data: Any, groups: Mapping[str, int], name: str) -> Axis:
    """An axis from its JSON; `name` is the tensor's."""
    segments = items(data, f"axis of {name!r}")
    if len(segments) == 1 and len(factors := items(segments[0], f"segment of {name!r}")) == 1:
        found = entries(factors[0], f"factor of {name!r}")
        if found.get("inside"):
            return ((read_arranged(found, groups, name),),)
    return tuple(read_segment(segment, groups, name) for segment in segments)


def read_arranged(found: Mapping[str, Any], groups: Mapping[str, int], name: str) -> Factor:
    """The factor of an arranged axis: an axis that is not, and an order of its positions."""
    segments = items(found["inside"], f"inside of {name!r}")
    inside = tuple(read_segment(segment, groups, name) for segment in segments)
    given = items(found.get("order"), f"order of {name!r}")
    order = tuple(count_of(place, f"order of {name!r}") for place in given)
    size = count_of(found.get("size"), f"size in {name!r}")
    if size != len(order) or axis_size(inside) != size:
        raise Broken(f"{name!r} has {len(order)} places for {axis_size(inside)} positions")
    if {*order} != {*range(size)}:
        raise Broken(f"{name!r}: the order must be a permutation")
    return Factor(size, order=order, inside=inside)


def read_segment(data: Any, groups: Mapping[str, int], name: str) -> Segment:
    """A segment from its JSON: each factor has as many groups as there are places before it."""
    segment: list[Factor] = []
    places = 1
    for each in items(data, f"segment of {name!r}"):
        found = entries(each, f"factor of {name!r}")
        if found.get("inside") or found.get("order"):
            raise Broken(f"{name!r} has an arranged factor that is not alone on its axis")
        size = count_of(found.get("size"), f"size in {name!r}")
        names = tuple(text_of(group, name) for group in items(found.get("groups"), name))
        check_factor(size, names, groups, name, places)
        segment.append(Factor(size, names))
        places *= size
        if places > LARGEST_COUNT:
            raise Broken(f"{name!r} has an axis of {places} positions")
    return tuple(segment)


def check_factor(
    size: int, names: tuple[str, ...], groups: Mapping[str, int], name: str, places: int
) -> None:
    """Refuse a factor of unknown groups, or of other sizes than theirs."""
    if len(names) not in (0, 1, places):
        raise Broken(f"{name!r} has {len(names)} groups for {places} places")
    for group in names:
        if group not in groups:
            raise Broken(f"{name!r} is moved by an unknown group {group!r}")
        if groups[group] != size:
            raise Broken(f"{name!r} has {size} units of group {group!r}")


def entries(data: Any, what: str) -> dict[str, Any]:
    """A JSON object."""
    if not isinstance(data, dict):
        raise Broken(f"{what} must be an object, got {beginning(data)}")
    return data


def items(data: Any, what: str) -> list[Any]:
    """A JSON list."""
    if not isinstance(data, list):
        raise Broken(f"{what} must be a list, got {beginning(data)}")
    return data


def text_of(data: Any, what: str) -> str:
    """A JSON string."""
    if not isinstance(data, str):
        raise Broken(f"{what} must be a string, got {beginning(data)}")
    return data


def count_of(data: Any, what: str) -> int:
    """A JSON number that counts something."""
    if isinstance(data, bool) or not isinstance(data, int) or not 0 <= data <= LARGEST_COUNT:
        raise Broken(f"{what} must be an integer, got {beginning(data)}")
    return data


def beginning(data: Any) -> str:
    """The beginning of a value."""
    return repr(data)[:40]
