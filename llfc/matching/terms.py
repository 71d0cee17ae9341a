"""A block of a parameter of two networks, and how well its units agree."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from llfc.matching.blocks import Cluster

CHUNK = 2**20  # products are formed and summed so many at a time, as they need double the memory


def inner_product(a: Tensor, b: Tensor) -> float:
    """<a, b>, summed in float64."""
    parts = zip(*(torch.split(side.reshape(-1), CHUNK) for side in (a, b)), strict=True)
    return sum(float((x * y).sum(dtype=torch.float64)) for x, y in parts)


class Term:
    """A block of a parameter of both networks, [units of each cluster..., everything else].

    Only the scores are kept beside the networks' own numbers. Copies with each dimension first
    would save a tenth of the time, and double the memory.

    Attributes:
        clusters: what the units of each dimension are; the last dimension is fixed.
        a: A's block.
        b: B's block, in B's own order.
    """

    def __init__(self, clusters: Sequence[Cluster], a: Tensor, b: Tensor) -> None:
        self.clusters = tuple(clusters)
        self.a, self.b = a, b
        self._scores: dict[int, tuple[list[Tensor], Tensor]] = {}

    def scores(self, dim: int, places: Mapping[Cluster, Tensor]) -> Tensor:
        """The overlap of each unit of A with each of B on dimension `dim`, shape [H, H].

        Args:
            dim: the dimension.
            places: for each cluster, which unit of B stands at each place; `dim`'s is not read.
        """
        others = [places[c] for other, c in enumerate(self.clusters) if other != dim]
        if dim in self._scores:
            seen, scores = self._scores[dim]
            if all(now is then for now, then in zip(others, seen, strict=True)):
                return scores
            if len(others) == 1:
                moved = (others[0] != seen[0]).nonzero()[:, 0]
                if 2 * len(moved) < len(others[0]):
                    change = self._change(dim, moved, seen[0], others[0])
                    self._scores[dim] = others, scores + change
                    return self._scores[dim][1]
        a, b = self.sides(dim, places)
        self._scores[dim] = others, a @ b.T
        return self._scores[dim][1]

    def sides(self, dim: int, places: Mapping[Cluster, Tensor]) -> tuple[Tensor, Tensor]:
        """What the units of dimension `dim` are in A and in B, [H, all else]; all else in place."""
        b = self.b
        for other, cluster in enumerate(self.clusters):
            if other != dim:
                b = b.index_select(other, places[cluster])
        return _units_first(self.a, dim), _units_first(b, dim)

    def _change(self, dim: int, moved: Tensor, old: Tensor, new: Tensor) -> Tensor:
        """What the scores gain when the other dimension's places `moved` get other units."""
        other = 1 - dim
        b = self.b.index_select(other, new[moved]).sub_(self.b.index_select(other, old[moved]))
        return _units_first(self.a.index_select(other, moved), dim) @ _units_first(b, dim).T

    def value(self, places: Mapping[Cluster, Tensor]) -> float:
        """The block's overlap with every unit of B at its place, summed in float64."""
        b = self.b
        for dim, cluster in enumerate(self.clusters):
            b = b.index_select(dim, places[cluster])
        return inner_product(self.a, b)

    def soft_scores(
        self, dim: int, mixtures: Mapping[Cluster, Tensor], *, even: bool = False
    ) -> Tensor:
        """As `scores`, with a mixture of B's units at each place of the other dimensions.

        Args:
            dim: the dimension.
            mixtures: for each cluster, how much of each unit of B stands at each place, [H, H]; a
                cluster that is not named is in place.
            even: whether that is as much of every unit everywhere.
        """
        if len(self.clusters) == 1:
            return self.scores(dim, {})
        a, b = self.a, self.b
        for other, cluster in enumerate(self.clusters):
            if other == dim or cluster not in mixtures:
                continue
            if even:
                a, b = a.sum(other, keepdim=True), b.mean(other, keepdim=True)
            else:
                mixed = torch.tensordot(mixtures[cluster], b, dims=([1], [other]))
                b = mixed.movedim(0, other)
        return _units_first(a, dim) @ _units_first(b, dim).T


def _units_first(block: Tensor, dim: int) -> Tensor:
    """The block as a matrix, [units of dimension `dim`, all else]."""
    return block.movedim(dim, 0).flatten(1)
