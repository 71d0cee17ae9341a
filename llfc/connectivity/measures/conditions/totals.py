"""Sums over the data for every operation of two networks, and the resulting tables."""

import math
from collections.abc import Mapping, Sequence
from typing import cast

import numpy as np

from llfc.connectivity.measures.conditions.additivity import (
    Additivity,
    Linearity,
    additivity,
    rows_of,
)
from llfc.connectivity.measures.conditions.commutativity import (
    Commutativity,
    Weights,
    commutativity,
)
from llfc.connectivity.measures.conditions.norms import Folding, blending
from llfc.connectivity.measures.conditions.operation import (
    Activation,
    LinearMap,
    Norm,
    Operation,
)
from llfc.connectivity.measures.conditions.sums import Four, S
from llfc.connectivity.subject import Measured
from llfc.modules.imageaxis import ImageAxis
from llfc.results import TABLES, Table

CONTROLLED_PAIRS = ("matched", "shuffled", "unmatched")


class Totals:
    """Running sums of every operation, by pair and place in forward order."""

    def __init__(self) -> None:
        self.ran: list[tuple[str, str]] = []  # layer and function
        self.additive: dict[tuple[str, int], Additivity] = {}
        self.commuting: dict[tuple[str, int], Commutativity] = {}
        self.raw: dict[tuple[str, int], Commutativity] = {}
        self.blending: dict[tuple[str, int], Linearity] = {}
        self.weights: dict[tuple[str, int, str], Weights] = {}
        self.foldings: dict[str, Folding] = {}
        self.between: dict[str, Sequence[Operation]] = {}

    def prepare(
        self,
        pair: str,
        a: Sequence[Operation],
        b: Sequence[Operation],
        between: Sequence[Operation],
    ) -> None:
        """Take what the networks of a pair, and the one half way between them, do on an example."""
        self.foldings[pair], self.between[pair] = Folding.of(a, b), between

    def check_repeats(self, ran: Sequence[Operation], axes: Sequence[ImageAxis | None]) -> None:
        """See that A does on this batch what it did on the last one, and on the example."""
        now = [(each.layer, each.function) for each in ran]
        self.ran = self.ran or now
        if now != self.ran or len(now) != len(axes):
            raise ValueError("A does not run the same operations on every batch")

    def add(
        self,
        at: tuple[str, int],
        a: Operation,
        b: Operation,
        axis: ImageAxis | None,
        count: int,
    ) -> None:
        """Add an operation of a batch of `count` images."""
        if axis is not None and not axis.holds(a.input, count):
            axis = None
        four = (a.input, b.input, a.output, b.output)
        pair, index = _unshuffled(at)
        if isinstance(a, Activation):
            rows = cast("Four", tuple(rows_of(four, axis, count)))
            _sum(self.additive, at, additivity(rows, a.apply))
        elif isinstance(a, Norm):
            norm = cast("Norm", self.between[pair][index])
            _sum(self.blending, at, blending(four, norm.apply, axis, count))
        elif isinstance(a, LinearMap) and isinstance(b, LinearMap):
            dim = None if axis is None else axis.dim
            both = self.foldings[pair].apply(index, a, b)
            if both is None:
                _sum(self.commuting, at, self._commuting(at, "", a, b, dim))
            else:
                _sum(self.commuting, at, self._commuting(at, "folded", *both, dim))
                _sum(self.raw, at, self._commuting(at, "", a, b, dim))

    def _commuting(
        self, at: tuple[str, int], kind: str, a: LinearMap, b: LinearMap, dim: int | None
    ) -> Commutativity:
        key = (*_unshuffled(at), kind)
        if key not in self.weights or not a.constant:
            self.weights[key] = Weights.of(a, b)
        return commutativity((a.input, b.input, a.output, b.output), a, self.weights[key], dim)

    def measured(self) -> Measured:
        """The tables, and the scalars."""
        found: dict[str, dict[tuple[str, int], tuple[float, ...]]] = {
            "additivity": {at: sums.values() for at, sums in self.additive.items()},
            "commutativity": {
                at: sums.values(self._distance(at)) for at, sums in self.commuting.items()
            },
            "raw_commutativity": {
                at: sums.values(self._distance(at, raw=True)) for at, sums in self.raw.items()
            },
            "norms": {at: sums.values() for at, sums in self.blending.items()},
        }
        tables = {name: self._table(name, rows) for name, rows in found.items() if rows}
        scalars: dict[str, float] = {}
        for name, table in tables.items():
            scalars |= _scalars(name, table)
        return Measured(tables=tables, scalars=scalars)

    def _distance(self, at: tuple[str, int], *, raw: bool = False) -> float:
        folded = at in self.raw and not raw
        return self.weights[(*_unshuffled(at), "folded" if folded else "")].distance

    def _table(self, name: str, rows: Mapping[tuple[str, int], tuple[float, ...]]) -> Table:
        """One row per operation and pair: all of the matched pair, then all of each control."""
        ordered = sorted(rows, key=lambda at: (CONTROLLED_PAIRS.index(at[0]), at[1]))
        for at in ordered:
            if not all(map(math.isfinite, rows[at])):
                raise ValueError(f"features of layer {self.ran[at[1]][0]!r} are not finite")
        layers = [self.ran[index][0] for _, index in ordered]
        columns = map(np.array, zip(*(rows[at] for at in ordered), strict=True))
        words = [layers, [pair for pair, _ in ordered]]
        return dict(zip(TABLES[name], [*words, *columns], strict=True))


def _unshuffled(at: tuple[str, int]) -> tuple[str, int]:
    """Where the networks' own are: the shuffled pair's are the matched pair's."""
    return ("matched", at[1]) if at[0] == "shuffled" else at


def _sum(sums: dict[tuple[str, int], S], at: tuple[str, int], batch: S) -> None:
    sums[at] = sums[at] + batch if at in sums else batch


def _scalars(name: str, table: Table) -> dict[str, float]:
    """Means over the layers and the worst, and how the distances compare with the controls'."""
    of = {pair: np.array([each == pair for each in table["pair"]]) for pair in CONTROLLED_PAIRS}
    columns = {key: np.asarray(table[key])[of["matched"]] for key in TABLES[name][2:]}
    found = {f"{name}_{key}_mean": float(values.mean()) for key, values in columns.items()}
    first = TABLES[name][2]
    found[f"{name}_{first}_max"] = float(columns[first].max())
    total = float(columns[first].sum())
    for pair in CONTROLLED_PAIRS[1:]:
        if of[pair].any():
            control = float(np.asarray(table[first])[of[pair]].sum())
            ratio = total / control if control else float("inf")
            found[f"{name}_ratio_{pair}"] = ratio if total else 0.0
    return found
