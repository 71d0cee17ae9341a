"""Places where letters meet: the one law of `layouts/combine`, for maps instead of permutations.

A letter that two tensors have and the result has not is summed over: what one carries is the dual
of what the other does. A letter of one tensor alone that the result has too: both have the same
map. A letter of several tensors and the result: in a sum all have the same map, in a product the
maps are diagonal and their powers add, but a parameter is a gain, which is only permuted.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from llfc.symmetry.kinds.carried import Carried, Operation, Run, tie_runs

Named = tuple[Carried, Sequence[str]]  # a tensor, with a letter for each of its dimensions


@dataclass(frozen=True)
class Meeting:
    """Runs of one family on the same letters: of the operands, and of the result."""

    family: str
    letters: frozenset[str]
    runs: tuple[tuple[int, Run], ...]  # with the number of the operand
    results: tuple[Run, ...]


def relate(op: Operation, operands: Sequence[Named], result: Named, total: bool = False) -> None:
    """Relate the places of operands and result.

    Args:
        op: the call.
        operands: tensors with letters.
        result: likewise.
        total: whether operands are added up, instead of multiplied.
    """
    kept = {*result[1]}
    for meeting in meetings(op, operands, result):
        if meeting.letters <= kept:
            met = as_sum(op, meeting, operands) if total else as_product(op, meeting, operands)
        else:
            met = contracted(op, meeting)
        if not met:
            op.limit({meeting.family}, "permutation")


def meetings(op: Operation, operands: Sequence[Named], result: Named) -> list[Meeting]:
    """The runs of each family by letters; families that overlap in part are limited."""
    found: dict[tuple[str, frozenset[str]], tuple[list[tuple[int, Run]], list[Run]]] = {}
    for number, (carried, names) in enumerate([*operands, result]):
        for run in carried.runs:
            letters = frozenset(names[d] for d in run.dims if carried.layout.shape[d] > 1)
            for family in dict.fromkeys(place.family for place in run.places):
                runs, results = found.setdefault((family, letters), ([], []))
                if number < len(operands):
                    runs.append((number, run))
                else:
                    results.append(run)
    keys = [*found]
    for k, (family, letters) in enumerate(keys):
        for other, others in keys[:k]:
            if family == other and letters & others:
                op.limit({family}, "permutation")
    return [
        Meeting(family, letters, tuple(runs), tuple(results))
        for (family, letters), (runs, results) in found.items()
    ]


def contracted(op: Operation, meeting: Meeting) -> bool:
    """Letters that are summed over: exactly two runs, each the other's dual."""
    if len(meeting.runs) != 2 or meeting.results:
        return False
    (_, one), (_, other) = meeting.runs
    return tie_runs(op.strands, one, other, meeting.family, dual=True)


def as_sum(op: Operation, meeting: Meeting, operands: Sequence[Named]) -> bool:
    """A sum of tensors that all have the same map."""
    if len(meeting.results) != 1 or len(meeting.runs) != len(operands):
        return False
    runs = [run for _, run in meeting.runs]
    return all(tie_runs(op.strands, meeting.results[0], run, meeting.family) for run in runs)


def as_product(op: Operation, meeting: Meeting, operands: Sequence[Named]) -> bool:
    """A product of tensors: of one with what is the same for all units, of several unit by unit."""
    if len(meeting.results) != 1 or varying_constant(meeting, operands):
        return False
    (out,), family = meeting.results, meeting.family
    gains = [run for number, run in meeting.runs if operands[number][0].is_parameter]
    values = [run for number, run in meeting.runs if not operands[number][0].is_parameter]
    if len(meeting.runs) == 1:
        return tie_runs(op.strands, out, meeting.runs[0][1], family)
    op.limit({family}, "signed", "scaled")
    if len(values) == 1:
        for place in (place for run in gains for place in run.of(family)):
            op.strands.ground(place.number)
        return tie_runs(op.strands, out, values[0], family)
    if len(meeting.runs) != 2:
        return False
    one, other = (run for _, run in meeting.runs)
    return multiplied_runs(op, out, one, other, family)


def multiplied_runs(op: Operation, result: Run, one: Run, other: Run, family: str) -> bool:
    """The result's powers are the sums of those of two runs; whether it is plain of which."""
    alike = result.axis == one.axis == other.axis
    sides = [run.of(family) for run in (result, one, other)]
    if not alike and {*map(len, sides)} != {1}:
        return False
    for triple in zip(*sides, strict=True):
        op.strands.multiply(*(place.number for place in triple))
    return True


def varying_constant(meeting: Meeting, operands: Sequence[Named]) -> bool:
    """Whether a constant that says nothing of units is not the same along these letters."""
    speaking = {number for number, _ in meeting.runs}
    for number, (carried, names) in enumerate(operands):
        value = carried.layout.value
        if number in speaking or value is None:
            continue
        for d, letter in enumerate(names):
            if letter in meeting.letters and value.shape[d] > 1:
                if not bool((value == value.select(d, 0).unsqueeze(d)).all()):
                    return True
    return False
