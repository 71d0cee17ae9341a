"""A block of a parameter of two networks, and how well its units agree."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from llfc.matching.blocks import Cluster


def inner_product(a: Tensor, b: Tensor) -> float:
    """<a, b>, summed in float64."""
    return float((a * b).sum(dtype=torch.float64))


class Term:
    """A block of a parameter of both networks, [units of each cluster..., everything else].

    Attributes:
        clusters: what the units of each dimension are; the last dimension is fixed.
        a: for each dimension of units, A's block with that dimension first.
        b: likewise of B, in B's own order.
    """

    def __init__(self, clusters: Sequence[Cluster], a: Tensor, b: Tensor) -> None:
        self.clusters = tuple(clusters)
        self.a = [a.movedim(dim, 0).contiguous() for dim in range(len(clusters))]
        self.b = [b.movedim(dim, 0).contiguous() for dim in range(len(clusters))]
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
        b, others = self.b[dim], self.clusters[:dim] + self.clusters[dim + 1 :]
        for position, cluster in enumerate(others, start=1):
            b = b.index_select(position, places[cluster])
        return self.a[dim].flatten(1), b.flatten(1)

    def _change(self, dim: int, moved: Tensor, old: Tensor, new: Tensor) -> Tensor:
        """What the scores gain when the other dimension's places `moved` get other units."""
        b = self.b[dim].index_select(1, new[moved]) - self.b[dim].index_select(1, old[moved])
        return self.a[dim].index_select(1, moved).flatten(1) @ b.flatten(1).T

    def value(self, places: Mapping[Cluster, Tensor]) -> float:
        """The block's overlap with every unit of B at its place, summed in float64."""
        b = self.b[0]
        for position, cluster in enumerate(self.clusters):
            b = b.index_select(position, places[cluster])
        return inner_product(self.a[0], b)

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
        others = self.clusters[:dim] + self.clusters[dim + 1 :]
        if not others:
            return self.scores(dim, {})
        a, b = self.a[dim], self.b[dim]
        for position, cluster in enumerate(others, start=1):
            if cluster not in mixtures:
                continue
            if even:
                a, b = a.sum(position, keepdim=True), b.mean(position, keepdim=True)
            else:
                mixed = torch.tensordot(mixtures[cluster], b, dims=([1], [position]))
                b = mixed.movedim(0, position)
        return a.flatten(1) @ b.flatten(1).T
