"""Places that carry one family of groups, the relations between them, and the largest kind.

A *place* is where a value of the graph, or a tensor of the state dict, carries units of a family (a
group, or nested siblings). Where one is M times what it was, another is too (`tie`), or is by the
inverse transpose (`tie` with dual=True); gains are only permuted (`ground`). Tied places are one
strand. An operator limits the maps of the places that it reads and writes (`limit`), and where two
strands are multiplied, their powers add (`multiply`).

Example: the values of a hidden layer with ReLU. Its weight's rows, the value and what ReLU makes of
it are one strand, of which the next weight's columns are the dual.

>>> strands = Strands()
>>> rows, columns = (strands.place("hidden", on_tensor=True) for _ in range(2))
>>> value, after = (strands.place("hidden") for _ in range(2))
>>> strands.tie(rows, value)
>>> strands.tie(value, after)
>>> strands.limit(value, "scaled")
>>> strands.tie(after, columns, dual=True)
>>> strands.kind("hidden")
'scaled'
>>> strands.powers("hidden", "scaled")[columns]
-1
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from llfc.symmetry.spec.kinds import KINDS, SMALLER

LARGEST_FIRST = tuple(reversed(KINDS))
DENSE = ("invertible", "orthogonal")  # kinds whose maps mix units with one another
SELF_DUAL = ("orthogonal", "signed", "permutation")  # whose maps are their own inverse transposes


def within(kind: str) -> frozenset[str]:
    """A kind and all that is within it."""
    return frozenset((kind, *SMALLER[kind]))


@dataclass
class Strands:
    """Places by number, joined to strands.

    Attributes:
        family: of each place.
        products: (result, factor, factor), each a place.
        only_permuted: families that lie somewhere where no place says how.
    """

    family: list[str] = field(default_factory=list)
    products: list[tuple[int, int, int]] = field(default_factory=list)
    only_permuted: set[str] = field(default_factory=set)
    _parent: list[int] = field(default_factory=list)
    _dual: list[bool] = field(default_factory=list)  # against the parent
    _allowed: list[frozenset[str]] = field(default_factory=list)
    _grounded: list[bool] = field(default_factory=list)
    _ignored: set[int] = field(default_factory=set)
    _on_tensors: set[int] = field(default_factory=set)

    def place(self, family: str, on_tensor: bool = False) -> int:
        """A new place, so far without relations, on a tensor of the state dict or on a value."""
        if on_tensor:
            self._on_tensors.add(len(self.family))
        self.family.append(family)
        self._parent.append(len(self._parent))
        self._dual.append(False)
        self._allowed.append(frozenset(KINDS))
        self._grounded.append(False)
        return len(self.family) - 1

    def root(self, place: int) -> tuple[int, bool]:
        """The first place of the strand, and whether this one is its dual."""
        dual, at = False, place
        while self._parent[at] != at:
            dual ^= self._dual[at]
            at = self._parent[at]
        if at != place:
            self._parent[place], self._dual[place] = at, dual
        return at, dual

    def tie(self, one: int, other: int, dual: bool = False) -> None:
        """Both places have the same map, or one the inverse transpose of the other's."""
        (a, a_dual), (b, b_dual) = self.root(one), self.root(other)
        opposite = a_dual ^ b_dual ^ dual
        if a == b:
            self._allowed[a] &= frozenset(SELF_DUAL) if opposite else frozenset(KINDS)
            return
        self._parent[b], self._dual[b] = a, opposite
        self._allowed[a] &= self._allowed[b]
        self._grounded[a] |= self._grounded[b]

    def limit(self, place: int, *kinds: str) -> None:
        """Only maps of these kinds, or of kinds within them, pass here."""
        allowed = frozenset().union(*map(within, kinds))
        self._allowed[self.root(place)[0]] &= allowed

    def ground(self, place: int) -> None:
        """The place is permuted and nothing else."""
        self._grounded[self.root(place)[0]] = True

    def ignore(self, place: int) -> None:
        """A value in the middle of an operation that is limited as a whole."""
        self._ignored.add(place)

    def multiply(self, result: int, one: int, other: int) -> None:
        """The result is the product of two places, unit by unit."""
        self.products.append((result, one, other))

    def members(self, family: str) -> list[int]:
        """The places of a family, without those ignored."""
        return [
            place
            for place, own in enumerate(self.family)
            if own == family and place not in self._ignored
        ]

    def kind(self, family: str) -> str:
        """The largest kind whose maps pass everywhere."""
        return next(kind for kind in LARGEST_FIRST if self.allows(family, kind))

    def allows(self, family: str, kind: str) -> bool:
        """Whether maps of a kind that are no mere permutations pass, and change some tensor."""
        powers = self.powers(family, kind)
        return kind == "permutation" or any(powers[place] for place in self._on_tensors & {*powers})

    def powers(self, family: str, kind: str) -> dict[int, int]:
        """The power of the map at each place of a family; all 0 if maps of the kind do not pass."""
        members = [] if family in self.only_permuted else self.members(family)
        roots = {place: self.root(place) for place in members}
        strands = [*dict.fromkeys(root for root, _ in roots.values())]
        moving = [
            root for root in strands if kind in self._allowed[root] and not self._grounded[root]
        ]
        products = [triple for triple in self.products if triple[0] in roots]
        if kind in DENSE:
            whole = len(moving) == len(strands) and not products
            found = dict.fromkeys(moving, 1) if whole else {}
        else:
            found = solved(moving, self._equations(products), modulo=2 if kind == "signed" else 0)
        signs = {
            place: -1 if dual and kind != "signed" else 1 for place, (_, dual) in roots.items()
        }
        return {place: signs[place] * found.get(root, 0) for place, (root, _) in roots.items()}

    def _equations(self, products: Sequence[tuple[int, int, int]]) -> list[dict[int, int]]:
        """For each product, the coefficients of its strands' powers, whose sum is 0."""
        equations = []
        for triple in products:
            sums: dict[int, int] = {}
            for place, sign in zip(triple, (-1, 1, 1), strict=True):
                root, dual = self.root(place)
                sums[root] = sums.get(root, 0) + (-sign if dual else sign)
            equations.append(sums)
        return equations


def solved(
    unknowns: Sequence[int], equations: Sequence[Mapping[int, int]], modulo: int = 0
) -> dict[int, int]:
    """Whole numbers that solve homogeneous equations: all 1 if that does; empty if only 0 does.

    Args:
        unknowns: all others are 0.
        equations: the coefficients of each.
        modulo: 2, or 0 for the whole numbers themselves.

    >>> solved([0, 1, 2], [{0: -1, 1: 1, 2: 1}])
    {0: 2, 1: 1, 2: 1}
    >>> solved([0, 1], [{0: -1, 1: 1, 2: 1}])  # 2 is 0
    {0: 1, 1: 1}
    >>> solved([0, 1], [{0: 2, 1: -1}])
    {0: 1, 1: 2}
    """
    if all(is_zero(sum(c for u, c in eq.items() if u in unknowns), modulo) for eq in equations):
        return dict.fromkeys(unknowns, 1)
    rows = [[Fraction(equation.get(u, 0)) for u in unknowns] for equation in equations]
    pivots = eliminated(rows, modulo)
    free = [column for column in range(len(unknowns)) if column not in pivots]
    candidates = [[*free], *([column] for column in free)]  # all free ones 1, or one of them
    for ones in candidates:
        values = {column: Fraction(int(column in ones)) for column in free}
        for column, row in pivots.items():
            values[column] = -sum((rows[row][other] * values[other] for other in free), Fraction(0))
        if modulo:
            values = {column: value % modulo for column, value in values.items()}
        whole = math.lcm(*(value.denominator for value in values.values()))
        if any(values.values()):
            return {u: int(whole * values[column]) for column, u in enumerate(unknowns)}
    return {}


def is_zero(value: Fraction | int, modulo: int) -> bool:
    """Whether a number is 0, or a multiple of `modulo`."""
    return value % modulo == 0 if modulo else value == 0


def eliminated(rows: list[list[Fraction]], modulo: int) -> dict[int, int]:
    """Bring rows to reduced echelon form, in place; the row of each column that has a pivot."""
    pivots: dict[int, int] = {}
    if modulo:
        rows[:] = [[value % modulo for value in row] for row in rows]
    for column in range(len(rows[0]) if rows else 0):
        at = len(pivots)
        found = next((r for r in range(at, len(rows)) if rows[r][column]), None)
        if found is None:
            continue
        rows[at], rows[found] = rows[found], rows[at]
        rows[at] = [value / rows[at][column] for value in rows[at]]
        for other, row in enumerate(rows):
            if other != at and row[column]:
                rows[other] = [v - row[column] * p for v, p in zip(row, rows[at], strict=True)]
        if modulo:
            rows[:] = [[value % modulo for value in row] for row in rows]
        pivots[column] = at
    return pivots
