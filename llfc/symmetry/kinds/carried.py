"""What a value of the graph carries: on which dimensions which places of families lie."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import fx

from llfc.symmetry.kinds.strands import Strands
from llfc.symmetry.layouts.layout import Layout
from llfc.symmetry.spec.axes import Axis, plain_segments


@dataclass(frozen=True)
class Place:
    """One factor of a run that groups move.

    Attributes:
        family: of these groups.
        segment, factor: where it is in the run's axis.
        number: in the strands.
    """

    family: str
    segment: int
    factor: int
    number: int


@dataclass(frozen=True)
class Run:
    """Dimensions that units move together; read in row-major order, they are laid out as `axis`."""

    dims: tuple[int, ...]
    axis: Axis
    places: tuple[Place, ...]

    def of(self, family: str) -> list[Place]:
        """The places of one family."""
        return [place for place in self.places if place.family == family]


@dataclass
class Carried:
    """What one tensor carries.

    Attributes:
        layout: of the tensor.
        runs: what could be said of it.
        unsaid: families that move it in a way that no run says.
        is_parameter: whether it is a tensor of the state dict, or a constant.
    """

    layout: Layout
    runs: list[Run] = field(default_factory=list)
    unsaid: frozenset[str] = frozenset()
    is_parameter: bool = False

    @property
    def places(self) -> Iterator[Place]:
        """All places."""
        return (place for run in self.runs for place in run.places)

    @property
    def families(self) -> set[str]:
        """All families that lie on it."""
        return {place.family for place in self.places} | self.unsaid


@dataclass
class Operation:
    """One call as the relations see it.

    Attributes:
        node: the call.
        strands: what is said of places.
        values: the arguments by name, with what they carry in the place of tensors.
        result: what the results carry: a Carried, a list of them, or neither.
        one_of: a place of each family, for those that are named only.
    """

    node: fx.Node
    strands: Strands
    values: Mapping[str, Any]
    result: Any
    one_of: Mapping[str, int]

    def tensors(self) -> list[Carried]:
        """All tensor arguments."""
        return carried_in(list(self.values.values()))

    def __getitem__(self, name: str) -> Any:
        return self.values.get(name)

    @property
    def out(self) -> Carried:
        """What the result, or the first of several, carries."""
        return carried_in(self.result)[0]

    def limit(self, families: Sequence[str] | set[str], *kinds: str) -> None:
        """Limit all places of some families that the call reads or writes."""
        for carried in [*self.tensors(), *carried_in(self.result)]:
            for place in carried.places:
                if place.family in families:
                    self.strands.limit(place.number, *kinds)
            for family in carried.unsaid & set(families):
                self.strands.limit(self.one_of[family], *kinds)

    def limit_all(self, *kinds: str) -> None:
        """Limit all that the call reads and writes."""
        both = [*self.tensors(), *carried_in(self.result)]
        self.limit({family for carried in both for family in carried.families}, *kinds)


def carried_in(value: Any) -> list[Carried]:
    """What the tensors of nested lists carry, in order."""
    if isinstance(value, Carried):
        return [value]
    if isinstance(value, list | tuple):
        return [each for part in value for each in carried_in(part)]
    return []


def tie_runs(strands: Strands, one: Run, other: Run, family: str, dual: bool = False) -> bool:
    """Tie the places of a family on two runs; whether it is plain which belongs to which."""
    here, there = one.of(family), other.of(family)
    alike = one.axis == other.axis or len(here) == len(there) == 1
    if alike:
        for a, b in zip(here, there, strict=True):
            strands.tie(a.number, b.number, dual)
    return alike


def factor_dims(run: Run, shape: Sequence[int], place: Place) -> set[int]:
    """The dimensions of a run on which one factor lies; all of them where that is not plain."""
    segments = [*plain_segments(run.axis)]
    if len(segments) != 1 or run.axis[0][0].inside:
        return {*run.dims}
    inner = math.prod(factor.size for factor in segments[0][place.factor + 1 :])
    outer = inner * segments[0][place.factor].size
    found, stride = set[int](), math.prod(shape[d] for d in run.dims)
    for d in run.dims:
        above, stride = stride, stride // shape[d]
        if stride < outer and above > inner and shape[d] > 1:
            found.add(d)
    return found
