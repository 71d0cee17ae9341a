"""Units that have groups nested in them, as attention heads have: which is whose partner."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from llfc.matching.mixing.elements import BEST, Best, score_of_pairs
from llfc.matching.mixing.products import Product, Products, Row
from llfc.matching.overlap.assignment import best_assignment
from llfc.symmetry.transform import Element


@dataclass
class Pairs:
    """The products of what is inside each unit of A with what is inside each of B, H units of U.

    Attributes:
        cross: of A with B, [H, H, U, U].
        a: within A, [H, U, U].
        b: within B, [H, U, U].
    """

    cross: Tensor
    a: Tensor
    b: Tensor

    @classmethod
    def of(cls, a: Tensor, b: Tensor) -> "Pairs":
        """Of rows [H, U, rest]."""
        heads, units, _ = a.shape
        flat = (a.flatten(0, 1) @ b.flatten(0, 1).T).double()
        cross = flat.reshape(heads, units, heads, units).transpose(1, 2)
        return cls(cross, *((x @ x.mT).double() for x in (a, b)))

    def __add__(self, other: "Pairs") -> "Pairs":
        return Pairs(self.cross + other.cross, self.a + other.a, self.b + other.b)


@dataclass
class Family:
    """Groups that are nested in the units of another, one in each.

    Attributes:
        names: of the groups, by unit.
        kind: of all of them.
        pairs: by the power of their maps.
    """

    names: tuple[str, ...]
    kind: str
    pairs: dict[int, Pairs]

    def products(self, unit: int, other: int) -> Products:
        """Of what is inside a unit of A with what is inside a unit of B."""
        return {
            power: Product(pairs.cross[unit, other], pairs.a[unit], pairs.b[other])
            for power, pairs in self.pairs.items()
        }

    def score(self) -> Tensor:
        """What the groups inside unit i of A and unit j of B have in common at their best, [H, H].

        For groups of invertible kind the best is not known before their maps are. Compared is what
        no map of them changes: the circuits, such as queries times keys, as the cosine times the
        norms of what makes them; where the map has one power alone, what least squares explain.
        """
        cross = torch.stack([pairs.cross for pairs in self.pairs.values()]).sum(0)
        if self.kind != "invertible":
            return score_of_pairs(self.kind, cross)
        if self.pairs.keys() != {1, -1}:
            within = torch.stack([pairs.b for pairs in self.pairs.values()]).sum(0)
            inverse = torch.linalg.pinv(within, hermitian=True)
            return torch.einsum("ijuv,jvw,ijuw->ij", cross, inverse, cross)
        plus, minus = self.pairs[1], self.pairs[-1]
        squares = [(plus.a * minus.a).sum((-1, -2)), (plus.b * minus.b).sum((-1, -2))]
        norms = [_traces(plus.a) + _traces(minus.a), _traces(plus.b) + _traces(minus.b)]
        both = (squares[0][:, None] * squares[1][None]).sqrt().clamp(min=1e-300)
        cosine = (plus.cross * minus.cross).sum((-1, -2)) / both
        score: Tensor = cosine * (norms[0][:, None] * norms[1][None]).sqrt()
        return score


def family_of(names: tuple[str, ...], kind: str, rows: Sequence[Sequence[Row]]) -> Family:
    """A family from the rows of its groups at all their places, which are in one order for all."""
    found: dict[int, Pairs] = {}
    for each in zip(*rows, strict=True):
        a, b = (torch.stack([row[side] for row in each]) for side in (1, 2))
        power, pairs = each[0][0], Pairs.of(a, b)
        found[power] = found[power] + pairs if power in found else pairs
    return Family(names, kind, found)


def partners(families: Sequence[Family], direct: Tensor | None = None) -> Tensor:
    """For each unit of A the unit of B whose insides have most in common with its own, int64 [H].

    Args:
        families: what is nested in the units.
        direct: what unit i of A and unit j of B have in common beside that, [H, H].
    """
    units = len(families[0].names)
    score = torch.zeros(units, units, dtype=torch.float64) if direct is None else direct
    for family in families:
        if family.pairs:
            score = score + family.score()
    return best_assignment(score)


def inside(
    families: Sequence[Family],
    index: Tensor,
    best: Mapping[str, Callable[[Products], Best]] = BEST,
) -> tuple[dict[str, Element], float]:
    """The best maps of what is nested in units that have found their partners.

    Args:
        families: what is nested in the units.
        index: the partners.
        best: by kind, the best map of a group.

    Returns:
        the maps, and by how much they bring down the squared distances.
    """
    elements: dict[str, Element] = {}
    gains = 0.0
    for family in (family for family in families if family.pairs):
        for unit, other in enumerate(index.tolist()):
            found = family.products(unit, other)
            name = family.names[unit]
            elements[name], gain = best[family.kind](found)
            gains += gain
    return elements, gains


def _traces(grams: Tensor) -> Tensor:
    return grams.diagonal(dim1=-2, dim2=-1).sum(-1)
