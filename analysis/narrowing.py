"""Which trials of a sweep are looked at, `--where AXIS=VALUE`; which sweeps `all` stands for."""

from collections.abc import Iterable, Sequence

from analysis.runs.frames import Runs, records_of
from analysis.runs.grid import AXES, show, values
from llfc.names import lookup, readable

TRIED = "smoke"  # a sweep that asks nothing: it sees that everything works


def asking(names: Iterable[str]) -> list[str]:
    """The sweeps that ask something; all of them if none does.

    >>> asking(["smoke", "width"]), asking(["smoke"])
    (['width'], ['smoke'])
    """
    known = list(names)
    return [name for name in known if name != TRIED] or known


def narrowed(sweeps: Sequence[Runs], conditions: Sequence[str]) -> list[Runs]:
    """The sweeps with those of their trials alone that meet all conditions, if they have any.

    Args:
        sweeps: what was read of each; one at least.
        conditions: `AXIS=VALUE`, the value as pages show it or as it is typed; several of one axis
            are alternatives.

    Raises:
        ValueError: if a condition is none, an axis is unknown, or no trial meets them.
    """
    wanted: dict[str, set[str]] = {}
    for condition in conditions:
        axis, equals, value = condition.partition("=")
        if not equals:
            raise ValueError(f"--where must be AXIS=VALUE, got {condition!r}")
        lookup("axis", axis, dict.fromkeys((*AXES, "seed")))
        wanted.setdefault(axis, set()).add(value)
    if not wanted:
        return list(sweeps)
    found = [runs.only(_meeting(runs, wanted)) for runs in sweeps]
    if left := [runs for runs in found if len(runs.trials) + len(runs.unfinished)]:
        return left
    said = []
    for axis in wanted:
        there = {show(axis, v): None for runs in sweeps for v in values(runs.trials, axis)}
        said.append(f"{axis} is {', '.join(map(readable, there)) or 'nowhere'}")
    raise ValueError(f"no trial is left by --where {' '.join(conditions)}: {'; '.join(said)}")


def _meeting(runs: Runs, wanted: dict[str, set[str]]) -> set[str]:
    """Fingerprints of the trials that meet all conditions, finished or not."""
    return {
        str(row["fingerprint"])
        for frame in (runs.trials, runs.unfinished)
        for row in records_of(frame)
        if all(words & _words(axis, row.get(axis)) for axis, words in wanted.items())
    }


def _words(axis: str, value: object) -> set[str]:
    """What one may type for a value."""
    shown = show(axis, value)
    none = {"none"} if value is None or value != value else set()
    return {shown, readable(shown), str(value)} | none
