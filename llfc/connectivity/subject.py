"""What a measure looks at, what it gives back, and how it is called."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from torch import nn

from llfc.connectivity.blend import Correction, Line, line_positions
from llfc.connectivity.probes import Probe
from llfc.connectivity.samples import Batches
from llfc.results import LeftOut, Table


@dataclass(frozen=True, kw_only=True, eq=False)
class Subject:
    """Two networks in one basis, the line between them, and the data.

    Attributes:
        line: A, B as it was matched, and the networks between them, corrected; `line.ends` is what
            compares with those between, `line.a` and `line.b` are as trained.
        unmatched: B as it was before it was matched, corrected as an end; None if nothing was
            permuted.
        test: what measures are taken on.
        statistics: training images that corrections look at; None if there are none.
        probes: the layers that are probed, in forward order.
        left_out: the modules that would be probed and cannot be read.
        correction: what a network's statistics owe; for measures that make blends of their own.
        seed: of a measure's random choices.
    """

    line: Line
    unmatched: nn.Module | None
    test: Batches
    statistics: Batches | None
    probes: tuple[Probe, ...]
    left_out: tuple[LeftOut, ...] = ()
    correction: Correction
    seed: int

    def half_way(self, start: nn.Module, end: nn.Module) -> nn.Module:
        """The network half way from `start` to `end`, corrected as those of the line are."""
        half = Line(start, end, line_positions(3))
        half.correct(self.correction(half, self.statistics, self.test.example(), half.inner))
        return half.at(1)


@dataclass(frozen=True, kw_only=True, eq=False)
class Measured:
    """What a measure found.

    Attributes:
        tables: by name; `llfc.results.TABLES` has their columns.
        scalars: by name.
    """

    tables: Mapping[str, Table] = field(default_factory=dict)
    scalars: Mapping[str, float] = field(default_factory=dict)


class Measure(Protocol):
    """Takes its numbers from `subject`, which it leaves as it was; a ValueError says why not."""

    def __call__(self, subject: Subject) -> Measured: ...
