"""The overlap of two networks: the sum over parameters of <W_A, P(W_B)>, and what it is made of.

Every parameter is cut into blocks whose dimensions either carry units or are fixed. A *cluster* is
what the units of one dimension are: one plain factor, or a plain factor and those nested in it.
A block with one such dimension has a score for each pair of units that no other group changes. A
block with more has scores that change only when the groups of its other dimensions move.

Scores are kept in B's own order: scores[i, j] is what unit i of A gains from unit j of B as B was
given. They therefore survive a move of their own group.
"""

import itertools
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property

import torch
from torch import Tensor, nn

from llfc.matching.permutation import Axis, Factor, PermutationSpec, Segment

Cluster = tuple[Factor, ...]
Index = dict[str, Tensor]
State = Mapping[str, Tensor]

# Networks with fewer numbers than this are matched in double precision, which costs them nothing.
DOUBLE_BELOW = 2**18


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
        b = self.b[dim]
        for position, index in enumerate(others, start=1):
            b = b.index_select(position, index)
        self._scores[dim] = others, self.a[dim].flatten(1) @ b.flatten(1).T
        return self._scores[dim][1]

    def _change(self, dim: int, moved: Tensor, old: Tensor, new: Tensor) -> Tensor:
        """What the scores gain when the other dimension's places `moved` get other units."""
        b = self.b[dim].index_select(1, new[moved]) - self.b[dim].index_select(1, old[moved])
        return self.a[dim].index_select(1, moved).flatten(1) @ b.flatten(1).T

    def value(self, places: Mapping[Cluster, Tensor]) -> float:
        """The block's overlap with every unit of B at its place, summed in float64."""
        b = self.b[0]
        for position, cluster in enumerate(self.clusters):
            b = b.index_select(position, places[cluster])
        return _inner(self.a[0], b)


class Overlap:
    """The overlap of network A with network B, as a function of B's permutation.

    Attributes:
        spec: which units there are, and where.
        constant: the overlap of all that no permutation moves.
        terms: all that permutations move.
        roots: the groups that are not nested in another, in forward order.
    """

    def __init__(self, a: State, b: State, spec: PermutationSpec) -> None:
        """The overlap of the parameters `a` with `b`, which have equal names and shapes."""
        self.spec = spec
        self._parameters = a, b
        total = sum(tensor.numel() for tensor in a.values())
        self.dtype = torch.float64 if total < DOUBLE_BELOW else torch.float32
        self.constant = 0.0
        still: dict[Cluster, list[tuple[Tensor, Tensor]]] = defaultdict(list)
        self.terms: list[Term] = []
        for name in a:
            for clusters, a_block, b_block in self._blocks(name):
                if not clusters:
                    self.constant += _inner(a_block, b_block)
                elif len(clusters) == 1:
                    still[clusters[0]].append((a_block, b_block))
                else:
                    self.terms.append(Term(clusters, a_block, b_block))
        for cluster, pairs in still.items():
            a_columns, b_columns = (torch.cat(side, dim=1) for side in zip(*pairs, strict=True))
            self.terms.append(Term((cluster,), a_columns, b_columns))
        self._at: dict[str, list[tuple[Term, int]]] = defaultdict(list)
        for term in self.terms:
            for dim, cluster in enumerate(term.clusters):
                self._at[root(cluster)].append((term, dim))
        self.roots = tuple(group for group in spec.groups if group in self._at)

    @classmethod
    def of(cls, a: nn.Module, b: nn.Module, spec: PermutationSpec) -> "Overlap":
        """The overlap of two models' parameters; norm statistics have no say.

        Raises:
            ValueError: if the models are not of one architecture, or not of the spec's, or if a
                parameter is not finite.
        """
        check_alike(a, b, spec)
        a_state = {name: tensor.detach() for name, tensor in a.named_parameters()}
        b_state = {name: tensor.detach() for name, tensor in b.named_parameters()}
        for side, state in (("a", a_state), ("b", b_state)):
            for name, tensor in state.items():
                if not tensor.isfinite().all():
                    raise ValueError(f"{name} of model {side} must be finite, got nan or infinity")
        return cls(a_state, {name: b_state[name] for name in a_state}, spec)

    def _blocks(self, name: str) -> Iterator[tuple[tuple[Cluster, ...], Tensor, Tensor]]:
        a, b = (state[name].to(self._device, self.dtype) for state in self._parameters)
        for slices, clusters, sizes, order in cuts(self.spec.axes[name]):
            heads = [math.prod(factor.size for factor in cluster) for cluster in clusters]
            yield (
                clusters,
                a[slices].reshape(sizes).permute(order).reshape(*heads, -1),
                b[slices].reshape(sizes).permute(order).reshape(*heads, -1),
            )

    @property
    def _device(self) -> torch.device:
        return next(iter(self._parameters[0].values())).device

    def places(self, index: Mapping[str, Tensor], only: str | None = None) -> dict[Cluster, Tensor]:
        """For each cluster (of the root `only`, if given), which unit of B stands where."""
        groups = self.roots if only is None else (only,)
        clusters = {term.clusters[dim] for group in groups for term, dim in self._at[group]}
        return {cluster: place(cluster, index).to(self._device) for cluster in clusters}

    def scores(self, group: str, places: Mapping[Cluster, Tensor]) -> dict[Cluster, Tensor]:
        """For each cluster of the root `group`, the score of each pair of units.

        The overlap of all that moves with `group` is the sum of the scores at its places, if
        `group` has at most one dimension in each term; else it is that sum's first-order part.
        """
        total: dict[Cluster, Tensor] = {}
        for term, dim in self._at[group]:
            cluster, scores = term.clusters[dim], term.scores(dim, places)
            total[cluster] = total[cluster] + scores if cluster in total else scores
        return total

    def bends(self, group: str) -> bool:
        """Whether `group` has more than one dimension in a term."""
        return len({id(term) for term, _ in self._at[group]}) < len(self._at[group])

    def value_at(self, group: str, places: Mapping[Cluster, Tensor]) -> float:
        """The overlap of all that moves with the root `group`."""
        terms = {id(term): term for term, _ in self._at[group]}
        return sum(term.value(places) for term in terms.values())

    def neighbours(self, group: str) -> set[str]:
        """The roots whose scores change when `group` moves."""
        terms = {id(term): term for term, _ in self._at[group]}
        found = {root(c) for term in terms.values() for c in term.clusters}
        return found if self.bends(group) else found - {group}

    def value(self, index: Mapping[str, Tensor]) -> float:
        """The sum over parameters of <W_A, P(W_B)>, summed in float64."""
        places = self.places(index)
        return self.constant + sum(term.value(places) for term in self.terms)

    @cached_property
    def bound(self) -> float:
        """What no permutation exceeds: the sum of products of sorted singular values.

        Each parameter is read as the matrix [first axis, all other axes].

        Reference:
            von Neumann, Some Matrix-Inequalities and Metrization of Matric-Space, Tomsk University
            Review 1, 1937.
        """
        a, b = self._parameters
        return sum(float(singular_values(a[n]) @ singular_values(b[n]).cpu()) for n in a)


def root(cluster: Cluster) -> str:
    """The group that all of the cluster's other groups are nested in."""
    return cluster[0].groups[0]


def place(cluster: Cluster, index: Mapping[str, Tensor]) -> Tensor:
    """Which unit of B stands at each place of the cluster, the row-major product of its factors."""
    heads = index[root(cluster)]
    if len(cluster) == 1:
        return heads
    units = torch.stack([index[name] for name in cluster[1].groups])
    return (heads[:, None] * cluster[1].size + units).flatten()


def singular_values(tensor: Tensor) -> Tensor:
    """The singular values of `tensor` as the matrix [first axis, rest], descending, on the CPU."""
    matrix = tensor.double().flatten(1) if tensor.ndim > 1 else tensor.double().reshape(-1, 1)
    if len(matrix) > matrix.shape[1]:
        matrix = matrix.T
    squares = torch.linalg.eigvalsh(matrix @ matrix.T)
    return squares.clamp(min=0).sqrt().flip(0).cpu()


def check_alike(a: nn.Module, b: nn.Module, spec: PermutationSpec) -> None:
    """Raise a ValueError that names the first tensor in which the models, or the spec, differ."""
    a_state, b_state = a.state_dict(), b.state_dict()
    for name in [*a_state, *(name for name in b_state if name not in a_state)]:
        a_shape, b_shape = (
            tuple(state[name].shape) if name in state else "missing" for state in (a_state, b_state)
        )
        if a_shape != b_shape:
            raise ValueError(
                f"the models must have one architecture: {name} is {a_shape} in a, {b_shape} in b"
            )
        if name not in spec.axes:
            raise ValueError(f"the spec must name every tensor of the models, {name} is missing")
        sizes = tuple(_length(axis) for axis in spec.axes[name])
        if sizes != a_shape:
            raise ValueError(f"{name} must have the spec's shape {sizes}, got {a_shape}")


def _length(axis: Axis) -> int:
    return sum(math.prod(factor.size for factor in segment) for segment in axis)


def _inner(a: Tensor, b: Tensor) -> float:
    return float((a * b).sum(dtype=torch.float64))


Cut = tuple[tuple[slice, ...], tuple[Cluster, ...], list[int], list[int]]


def cuts(axes: Iterable[Axis]) -> Iterator[Cut]:
    """The blocks of a tensor: its slices, clusters, factor sizes, and order of the factors.

    In that order the clusters' factors come first, cluster by cluster, and the fixed ones last.
    """
    for block in itertools.product(*(_segments(axis) for axis in axes)):
        slices = tuple(part for part, _ in block)
        clusters: list[list[int]] = []
        fixed: list[int] = []
        factors: list[Factor] = []
        for _, segment in block:
            for factor in segment:
                position = len(factors)
                factors.append(factor)
                if not factor.groups:
                    fixed.append(position)
                elif len(factor.groups) == 1:
                    clusters.append([position])
                else:
                    clusters[-1].append(position)
        order = [*itertools.chain(*clusters), *fixed]
        named = tuple(tuple(factors[i] for i in cluster) for cluster in clusters)
        yield slices, named, [factor.size for factor in factors], order


def _segments(axis: Axis) -> Iterator[tuple[slice, Segment]]:
    start = 0
    for segment in axis:
        stop = start + math.prod(factor.size for factor in segment)
        yield slice(start, stop), segment
        start = stop
