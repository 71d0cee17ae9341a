"""Operators that move entries: which place of the result is which place of the source.

Where a family lies several times on a tensor (queries and keys of one projection), the operator is
run on whole numbers that say where each entry comes from.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from llfc.symmetry.kinds.carried import Carried, Operation, Place, Run, carried_in
from llfc.symmetry.spec.axes import axis_size, plain_segments, segment_size

MOVING = (
    "view reshape flatten unflatten _unsafe_view view_as reshape_as permute transpose swapaxes "
    "swapdims t numpy_T mT movedim moveaxis squeeze unsqueeze expand expand_as broadcast_to "
    "broadcast_tensors repeat tile repeat_interleave slice narrow select unbind chunk split "
    "split_with_sizes tensor_split unsafe_chunk unsafe_split unsafe_split_with_sizes hsplit vsplit "
    "dsplit cat concat concatenate stack roll flip channel_shuffle pixel_shuffle pixel_unshuffle"
).split()


def viewed(op: Operation) -> None:
    """Each place of the results has the map of the place that its entries come from."""
    starts: dict[str, list[Place]] = {}
    for place in (place for x in op.tensors() for place in x.places):
        starts.setdefault(place.family, []).append(place)
    ends = [place for out in carried_in(op.result) for place in out.places]
    for place in ends:
        if len(starts.get(place.family, ())) == 1:
            op.strands.tie(starts[place.family][0].number, place.number)
    if several := {place.family for place in ends if len(starts.get(place.family, ())) != 1}:
        by_origin(op, several)


def taken_from(op: Operation) -> None:
    """One of several results."""
    source, at = op.values["0"], op.values["1"]
    tie_equal(op, source[at] if isinstance(source, list) else source, op.out)


def tie_equal(op: Operation, one: Carried, other: Carried) -> None:
    """Two names of one tensor."""
    if [(run.dims, run.axis) for run in one.runs] != [(run.dims, run.axis) for run in other.runs]:
        op.limit(one.families | other.families, "permutation")
        return
    for here, there in zip(one.places, other.places, strict=True):
        op.strands.tie(here.number, there.number)


def by_origin(op: Operation, families: set[str]) -> None:
    """Tie the places of some families to those that their entries come from."""
    met = set[int]()
    for run, results in runs_moved(op, families):
        for out, origin in zip(carried_in(op.result), results, strict=True):
            for end in out.runs:
                for a, b in origins(run, end, origin):
                    if a.family == b.family and a.family in families:
                        op.strands.tie(a.number, b.number)
                        met.add(b.number)
    ends = [place for out in carried_in(op.result) for place in out.places]
    missed = {p.family for p in ends if p.family in families and p.number not in met}
    op.limit(missed, "permutation")


def runs_moved(op: Operation, families: set[str]) -> Iterator[tuple[Run, list[Tensor]]]:
    """Each run of the sources, with the results of the call on the numbers of its segments.

    They count from 1; 0 is of no segment.
    """
    for source in op.tensors():
        for run in source.runs:
            if any(place.family in families for place in run.places):
                given = {name: moved(value, source, run) for name, value in op.values.items()}
                results = op.node.target(**given)  # type: ignore[operator]
                yield run, [x for x in tree_leaves(results) if isinstance(x, Tensor)]


def moved(value: Any, source: Carried, run: Run) -> Any:
    """An argument with numbers in the place of tensors."""
    if isinstance(value, list):
        return [moved(part, source, run) for part in value]
    if not isinstance(value, Carried):
        return value
    if value is not source:
        return torch.zeros((), dtype=torch.int64).expand(value.layout.shape)
    shape = value.layout.shape
    sizes = [segment_size(segment) for segment in plain_segments(run.axis)]
    numbers = torch.arange(1, len(sizes) + 1).repeat_interleave(torch.tensor(sizes))
    if order := run.axis[0][0].order if run.axis[0] else ():
        numbers = numbers[torch.tensor(order)]
    numbers = numbers.reshape([shape[d] if d in run.dims else 1 for d in range(len(shape))])
    return numbers.expand(shape)


def origins(start: Run, end: Run, origin: Tensor) -> Iterator[tuple[Place, Place]]:
    """Pairs of places of two runs, of which the second's entries come from the first's."""
    rows = origin.movedim(end.dims, tuple(range(len(end.dims))))
    numbers = rows.reshape(axis_size(end.axis), -1).amax(1)
    if order := end.axis[0][0].order if end.axis[0] else ():
        numbers = numbers[torch.tensor(order).argsort()]
    first = 0
    for at, segment in enumerate(plain_segments(end.axis)):
        size = segment_size(segment)
        found = {*numbers[first : first + size].tolist()} - {0}
        first += size
        for place in (place for place in end.places if place.segment == at):
            for before in start.places:
                if before.segment + 1 in found and before.family == place.family:
                    yield before, place
