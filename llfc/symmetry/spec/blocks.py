"""Axes cut into blocks, of which each dimension carries the units of a cluster or is fixed.

A *cluster* is what the units of one dimension are: a plain factor, its root; or a root and factors
nested in it, each with one group for each unit of the root. Heads with units inside are one. All
that a spec can say of an axis comes down to blocks of clusters. Only groups that are nested in
nested ones do not; they are read as fixed, so they must stay in place.
"""

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from llfc.symmetry.spec.axes import Axis, Factor, Segment, arrangement, axis_groups, segment_size

Cluster = tuple[Factor, ...]
GroupNames = NDArray[np.object_]  # "" for none; broadcasts over all dimensions of a block


@dataclass(frozen=True, eq=False)
class Block:
    """A set of positions of an axis, arranged as an array with one dimension per cluster.

    Attributes:
        positions: on the axis, int64 in the shape [units of each cluster..., all that is fixed].
        clusters: what moves them.
        whole: whether these are all the positions of the axis, in order.
    """

    positions: Tensor
    clusters: tuple[Cluster, ...]
    whole: bool

    def of(self, tensor: Tensor, dim: int) -> Tensor:
        """The part of `tensor` that lies in the block on its dimension `dim`."""
        if self.whole:
            return tensor
        return tensor.index_select(dim, self.positions.flatten().to(tensor.device))


def root(cluster: Cluster) -> str:
    """The group that all of the cluster's other groups are nested in."""
    return cluster[0].groups[0]


def place(cluster: Cluster, index: Mapping[str, Tensor]) -> Tensor:
    """Which unit of B stands at each place of the cluster, the row-major product of its factors."""
    heads = index[root(cluster)]
    if len(cluster) == 1:
        return heads
    inner = torch.zeros(len(heads), 1, dtype=torch.int64)
    for factor in cluster[1:]:
        units = torch.stack([index[name] for name in factor.groups])
        inner = (inner[:, :, None] * factor.size + units[:, None]).flatten(1)
    return (heads[:, None] * inner.shape[1] + inner).flatten()


@lru_cache(maxsize=4096)
def blocks(axis: Axis) -> tuple[Block, ...]:
    """The blocks of an axis; every position lies in one."""
    if arranged := arrangement(axis):
        place_P = torch.tensor(arranged.order).argsort()
        inside = blocks(arranged.inside)
        return tuple(Block(place_P[block.positions], block.clusters, False) for block in inside)
    found: list[Block] = []
    start = 0
    for segment in axis:
        found += (_block(part, start, axis) for part in _parts(segment))
        start += segment_size(segment)
    return tuple(found)


@dataclass(frozen=True, eq=False)
class _Part:
    """Positions of a segment, and for each of their dimensions the group that moves it."""

    positions: NDArray[np.int64]
    names: tuple[GroupNames, ...]

    def at(self, dim: int, position: int) -> "_Part":
        """The part at one place of a dimension, which keeps the size 1."""
        names = (
            array.take([position], dim) if array.shape[dim] > 1 else array for array in self.names
        )
        return _Part(self.positions.take([position], dim), tuple(names))

    def varies(self, dim: int) -> list[int]:
        """The dimensions along which the group that moves `dim` is not the same."""
        names = self.names[dim]
        return [
            other
            for other in range(names.ndim)
            if names.shape[other] > 1 and (names != names.take([0], other)).any()
        ]


def _parts(segment: Segment) -> Iterator[_Part]:
    """The segment's parts, in which no group depends on a fixed place."""
    sizes = [factor.size for factor in segment]
    positions = np.arange(math.prod(sizes)).reshape(sizes)
    names = tuple(_names(segment, depth) for depth in range(len(segment)))
    yield from _uniform(_Part(positions, names))


def _names(segment: Segment, depth: int) -> GroupNames:
    """The group that moves a factor, by position."""
    factor, sizes = segment[depth], [factor.size for factor in segment]
    groups: GroupNames = np.array(factor.groups or ("",), dtype=object)
    if len(groups) > 1:
        shape = [size if other < depth else 1 for other, size in enumerate(sizes)]
    else:
        shape = [1] * len(sizes)
    return groups.reshape(shape)


def _uniform(part: _Part) -> Iterator[_Part]:
    """The part cut along every fixed dimension on which a group depends."""
    fixed = [dim for dim, names in enumerate(part.names) if not names.any()]
    needed = {other for dim in range(len(part.names)) for other in part.varies(dim)} & {*fixed}
    if not needed:
        yield part
        return
    dim = min(needed)
    for position in range(part.positions.shape[dim]):
        yield from _uniform(part.at(dim, position))


def _block(part: _Part, start: int, axis: Axis) -> Block:
    """The part as a block that starts at `start` on the axis: clusters first, the fixed last."""
    clusters = _clusters(part)
    moving = list(itertools.chain(*clusters))
    fixed = [dim for dim in range(len(part.names)) if dim not in moving]
    sizes = [math.prod(part.positions.shape[dim] for dim in cluster) for cluster in clusters]
    ordered = part.positions.transpose(moving + fixed).reshape(*sizes, -1) + start
    factors = tuple(tuple(_factor(part, dim) for dim in cluster) for cluster in clusters)
    length = sum(map(segment_size, axis))
    whole = np.array_equal(ordered.ravel(), np.arange(length))
    return Block(torch.from_numpy(ordered.copy()), factors, whole)


def _clusters(part: _Part) -> list[list[int]]:
    """The dimensions of each cluster, the root's first."""
    found: dict[int, list[int]] = {}
    for dim, names in enumerate(part.names):
        varies = part.varies(dim)
        if names.any() and not varies:
            found[dim] = [dim]
        elif len(varies) == 1 and varies[0] in found:
            found[varies[0]].append(dim)
    return list(found.values())


def _factor(part: _Part, dim: int) -> Factor:
    names = part.names[dim]
    for other in set(range(names.ndim)) - set(part.varies(dim)):
        names = names.take([0], other)
    return Factor(part.positions.shape[dim], tuple(names.ravel().tolist()))


@lru_cache(maxsize=4096)
def too_deep(axis: Axis) -> frozenset[str]:
    """The groups on an axis that are nested too deeply for a cluster; they must be the identity."""
    clustered = {
        name
        for block in blocks(axis)
        for cluster in block.clusters
        for factor in cluster
        for name in factor.groups
    }
    return frozenset(axis_groups(axis)) - clustered
