"""A block of a parameter of two networks, and how well its units agree.

Products are made of pieces of PIECE numbers: what has to be copied on the way stays small beside
the networks, and in the processor's cache.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from llfc.symmetry.spec.blocks import Cluster

PIECE = 2**18
VALUES = 2  # of a block that are cached: at the best places so far, and at those tried last


def inner_product(a: Tensor, b: Tensor) -> float:
    """<a, b>, summed in float64."""
    parts = zip(*(torch.split(side.reshape(-1), PIECE) for side in (a, b)), strict=True)
    return sum(float((x * y).sum(dtype=torch.float64)) for x, y in parts)


class Term:
    """A block of a parameter of both networks, [units of each cluster..., rest].

    Only the scores and a few values are cached beside the networks' own numbers.

    Attributes:
        clusters: what the units of each dimension are; the last dimension is fixed.
        a: A's block.
        b: B's block, in B's own order.
    """

    def __init__(self, clusters: Sequence[Cluster], a: Tensor, b: Tensor) -> None:
        self.clusters = tuple(clusters)
        self.a, self.b = a, b
        self._scores: dict[int, tuple[list[Tensor], Tensor]] = {}
        self._values: list[tuple[list[Tensor], float]] = []  # the one asked for last comes first

    def scores(self, dim: int, places: Mapping[Cluster, Tensor]) -> Tensor:
        """The overlap of each unit of A with each of B on dimension `dim`, shape [H, H].

        Args:
            dim: the dimension.
            places: for each cluster, which unit of B stands at each place; `dim`'s is not read.
        """
        others = [places[c] for other, c in enumerate(self.clusters) if other != dim]
        if dim in self._scores:
            seen, scores = self._scores[dim]
            if all(map(torch.equal, others, seen)):
                return scores
            if len(others) == 1:
                moved = (others[0] != seen[0]).nonzero()[:, 0]
                if 2 * len(moved) < len(others[0]):
                    change = self._change(dim, moved, seen[0], others[0])
                    self._scores[dim] = others, change.add_(scores)
                    return change
        self._scores[dim] = others, self._product(dim, places)
        return self._scores[dim][1]

    def _product(self, dim: int, places: Mapping[Cluster, Tensor]) -> Tensor:
        """The scores, made anew."""
        if len(self.clusters) == 1:
            return self.a @ self.b.T
        along = 1 if dim == 0 else 0
        size = self._piece(along)
        scores = self.a.new_zeros(self.a.shape[dim], self.b.shape[dim])
        parts = zip(
            torch.split(self.a, size, along),
            torch.split(places[self.clusters[along]], size),
            strict=True,
        )
        for a, units in parts:
            b = self.b.index_select(along, units)
            for other, cluster in enumerate(self.clusters):
                if other not in (dim, along):
                    b = b.index_select(other, places[cluster])
            scores.addmm_(_units_first(a, dim), _units_first(b, dim).T)
        return scores

    def _change(self, dim: int, moved: Tensor, old: Tensor, new: Tensor) -> Tensor:
        """What the scores gain when the other dimension's places `moved` get other units."""
        other = 1 - dim
        change = self.a.new_zeros(self.a.shape[dim], self.b.shape[dim])
        for here in torch.split(moved, self._piece(other)):
            a = self.a.index_select(other, here)
            b = self.b.index_select(other, new[here]).sub_(self.b.index_select(other, old[here]))
            change.addmm_(_units_first(a, dim), _units_first(b, dim).T)
        return change

    def _piece(self, dim: int) -> int:
        """How many places of dimension `dim` make a piece."""
        return max(1, PIECE * self.a.shape[dim] // max(1, self.a.numel()))

    def sides(self, dim: int, places: Mapping[Cluster, Tensor]) -> tuple[Tensor, Tensor]:
        """What the units of dimension `dim` are in A and in B, [H, rest]; others in place."""
        b = self.b
        for other, cluster in enumerate(self.clusters):
            if other != dim:
                b = b.index_select(other, places[cluster])
        return _units_first(self.a, dim), _units_first(b, dim)

    def value(self, places: Mapping[Cluster, Tensor]) -> float:
        """The block's overlap with every unit of B at its place, summed in float64."""
        at = [places[cluster] for cluster in self.clusters]
        known = (i for i, (there, _) in enumerate(self._values) if all(map(torch.equal, at, there)))
        found = next(known, None)
        value = self._value(at) if found is None else self._values.pop(found)[1]
        self._values = [(at, value), *self._values][:VALUES]
        return value

    def _value(self, places: Sequence[Tensor]) -> float:
        """The value, summed anew; for each dimension, which unit of B stands at each place."""
        first, *rest = places
        size = self._piece(0)
        value = 0.0
        for a, units in zip(torch.split(self.a, size), torch.split(first, size), strict=True):
            b = self.b.index_select(0, units)
            for dim, place in enumerate(rest, start=1):
                b = b.index_select(dim, place)
            value += inner_product(a, b)
        return value

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
        scores = self.a.new_zeros(self.a.shape[dim], self.b.shape[dim])
        size = self._piece(-1)
        for a, b in zip(*(torch.split(side, size, -1) for side in (self.a, self.b)), strict=True):
            for other, cluster in enumerate(self.clusters):
                if other == dim or cluster not in mixtures:
                    continue
                if even:
                    a, b = a.sum(other, keepdim=True), b.mean(other, keepdim=True)
                else:
                    mixed = torch.tensordot(mixtures[cluster], b, dims=([1], [other]))
                    b = mixed.movedim(0, other)
            scores.addmm_(_units_first(a, dim), _units_first(b, dim).T)
        return scores


def total(parts: Sequence[Tensor]) -> Tensor:
    """The sum of matrices of one shape, from the first to the last; of one, that itself."""
    if len(parts) == 1:
        return parts[0]
    found = torch.empty_like(parts[0])
    rows = max(1, PIECE // max(1, found.shape[1]))
    for into, first, *others in zip(*(torch.split(x, rows) for x in (found, *parts)), strict=True):
        into.copy_(first)
        for other in others:
            into += other
    return found


def _units_first(block: Tensor, dim: int) -> Tensor:
    """The block as a matrix, [units of dimension `dim`, rest]."""
    return block.movedim(dim, 0).flatten(1)
