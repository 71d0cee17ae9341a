"""The overlap of two networks: the sum over parameters of <W_A, P(W_B)>, and what it is made of.

Of complex parameters <x, y> is the real part of the Hermitian inner product.

Every parameter is cut into blocks whose dimensions either carry units or are fixed. A block with
one dimension of units has a score for each pair of units that no other group changes. A block with
more has scores that change only when the groups of its other dimensions move.

Scores are cached in B's own order: scores[i, j] is what unit i of A gains from unit j of B as B was
given. They therefore survive a move of their own group.
"""

import itertools
from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import cached_property, partial

import torch
from torch import Tensor, nn

from llfc.matching.overlap.assignment import total_score
from llfc.matching.overlap.bounds import bound
from llfc.matching.overlap.nested import PairScores
from llfc.matching.overlap.parameters import check_alike, finite_parameters, unit
from llfc.matching.overlap.terms import Term, inner_product, total
from llfc.modules.reals import as_reals
from llfc.symmetry.spec import PermutationSpec
from llfc.symmetry.spec.blocks import Cluster, blocks, place, root, too_deep

Index = dict[str, Tensor]
State = Mapping[str, Tensor]

# Networks with fewer numbers than this are matched in double precision, which costs them nothing,
# and those whose products single precision does not hold.
DOUBLE_BELOW = 2**18


class Overlap:
    """The overlap of network A with network B, as a function of B's permutation.

    Attributes:
        spec: which units there are, and where.
        dtype: of the scores.
        unit: what is a small or a large overlap is to be seen beside this; 1 for weights of a size
            that networks usually have.
    """

    def __init__(self, a: State, b: State, spec: PermutationSpec) -> None:
        """The overlap of the parameters `a` with `b`, which have equal names and shapes."""
        self.spec = spec
        self._parameters = a, b
        total = sum(tensor.numel() for tensor in a.values())
        units = unit(a), unit(b)
        single = total >= DOUBLE_BELOW and units == (1, 1)
        self.dtype = torch.float32 if single else torch.float64
        self.unit = units[0] * units[1]

    @classmethod
    def of(cls, a: nn.Module, b: nn.Module, spec: PermutationSpec) -> "Overlap":
        """The overlap of two models' parameters; norm statistics have no say.

        Raises:
            ValueError: if the models are not of one architecture, or not of the spec's, or if a
                parameter is not finite.
        """
        check_alike(a, b, spec)
        a_state, b_state = finite_parameters(a, "a"), finite_parameters(b, "b")
        return cls(a_state, {name: b_state[name] for name in a_state}, spec)

    @cached_property
    def _parts(self) -> tuple[float, list[Term]]:
        """What no permutation moves, and the terms; made when asked for, as they take memory."""
        constant = 0.0
        terms: list[Term] = []
        linear: dict[Cluster, list[tuple[Tensor, Tensor]]] = defaultdict(list)
        for name in self._parameters[0]:
            for clusters, a_block, b_block in self.blocks(name):
                if not clusters:
                    constant += inner_product(a_block, b_block)
                elif len(clusters) == 1:
                    linear[clusters[0]].append((a_block, b_block))
                else:
                    terms.append(Term(clusters, a_block, b_block))
        for cluster, pairs in linear.items():
            a_columns, b_columns = (torch.cat(side, dim=1) for side in zip(*pairs, strict=True))
            terms.append(Term((cluster,), a_columns, b_columns))
        return constant, terms

    @property
    def constant(self) -> float:
        """The overlap of all that no permutation moves."""
        return self._parts[0]

    @property
    def terms(self) -> list[Term]:
        """All that permutations move."""
        return self._parts[1]

    @cached_property
    def _at(self) -> dict[str, list[tuple[Term, int]]]:
        at: dict[str, list[tuple[Term, int]]] = defaultdict(list)
        for term in self.terms:
            for dim, cluster in enumerate(term.clusters):
                at[root(cluster)].append((term, dim))
        return at

    @cached_property
    def roots(self) -> tuple[str, ...]:
        """The groups that are not nested in another, in forward order."""
        return tuple(group for group in self.spec.groups if self._is_root(group))

    def blocks(self, name: str) -> Iterator[tuple[tuple[Cluster, ...], Tensor, Tensor]]:
        """A parameter's blocks in both networks, [units of each cluster..., rest]."""
        sides = [
            as_reals(self.spec.fold(name, state[name])).to(self.device, self.dtype)
            for state in self._parameters
        ]
        halves = sides[0].shape[len(self.spec.axes[name]) :]  # [2] of complex numbers, otherwise []
        for parts in itertools.product(*map(blocks, self.spec.axes[name])):
            clusters = tuple(cluster for part in parts for cluster in part.clusters)
            sizes = [size for part in parts for size in part.positions.shape]
            fixed = [end - 1 for end in itertools.accumulate(p.positions.ndim for p in parts)]
            fixed += range(len(sizes), len(sizes) + len(halves))
            sizes += halves
            order = [*(dim for dim in range(len(sizes)) if dim not in fixed), *fixed]
            a, b = sides
            for dim, part in enumerate(parts):
                a, b = part.of(a, dim), part.of(b, dim)
            heads = [sizes[dim] for dim in order[: len(clusters)]]
            yield (
                clusters,
                a.reshape(sizes).permute(order).reshape(*heads, -1),
                b.reshape(sizes).permute(order).reshape(*heads, -1),
            )

    def parameters(self) -> Iterator[tuple[str, Tensor, Tensor]]:
        """The name of each parameter, and its numbers in A and in B."""
        for name, of_a in self._parameters[0].items():
            yield name, of_a, self._parameters[1][name]

    def towards(self, a: State) -> "Overlap":
        """The overlap of other parameters with the same B."""
        return Overlap(a, self._parameters[1], self.spec)

    @property
    def device(self) -> torch.device:
        """Where A is, and all scores are."""
        return next(iter(self._parameters[0].values())).device

    def places(self, index: Mapping[str, Tensor], only: str | None = None) -> dict[Cluster, Tensor]:
        """For each cluster (of the root `only`, if given), which unit of B stands where."""
        groups = self._at if only is None else (only,)
        clusters = {cluster for group in groups for cluster in self.clusters(group)}
        return {cluster: place(cluster, index).to(self.device) for cluster in clusters}

    def _is_root(self, group: str) -> bool:
        """Whether `group` may move by itself: it is a root, and all that is nested in it is too."""
        factors = (f for term, dim in self._at.get(group, ()) for f in term.clusters[dim])
        return group in self._at and not any(self._deep.intersection(f.groups) for f in factors)

    @cached_property
    def _deep(self) -> set[str]:
        return set().union(*(too_deep(axis) for axes in self.spec.axes.values() for axis in axes))

    def scores(self, group: str, places: Mapping[Cluster, Tensor]) -> dict[Cluster, Tensor]:
        """For each cluster of the root `group`, the score of each pair of units.

        The overlap of all that moves with `group` is the sum of the scores at its places and of
        the `pairs`, if `group` has at most one dimension in each term; otherwise it is not linear.
        """
        found: dict[Cluster, list[Tensor]] = defaultdict(list)
        for term, dim in self._at[group]:
            cluster = term.clusters[dim]
            if len(cluster) < 3:
                found[cluster].append(term.scores(dim, places))
        return {cluster: total(parts) for cluster, parts in found.items()}

    @cached_property
    def bilinear(self) -> bool:
        """Whether at most two groups meet in each term, so that slopes are linear in mixtures."""
        return all(len(term.clusters) <= 2 for term in self.terms)

    def soft_roots(self) -> tuple[str, ...]:
        """The roots whose scores are not too many to mix all units with all."""
        return tuple(g for g in self.roots if all(len(c) < 3 for c in self.clusters(g)))

    def clusters(self, group: str) -> list[Cluster]:
        """The clusters of the root `group`, in one order in every process."""
        return list(dict.fromkeys(term.clusters[dim] for term, dim in self._at[group]))

    def gradient(
        self, mixtures: Mapping[Cluster, Tensor], *, even: bool = False
    ) -> tuple[dict[Cluster, Tensor], float]:
        """The overlap of A with a mixture of permutations of B, and its gradient.

        Args:
            mixtures: for each cluster of the soft roots, how much of each unit of B stands at each
                place, [H, H].
            even: whether that is as much of every unit everywhere, which makes it much cheaper.
        """
        slopes: dict[Cluster, Tensor] = {}
        value = self.constant
        for term in self.terms:
            for dim, cluster in enumerate(term.clusters):
                if dim > 0 and cluster not in mixtures:
                    continue
                slope = term.soft_scores(dim, mixtures, even=even)
                if dim == 0:
                    value += (
                        inner_product(slope, mixtures[cluster])
                        if cluster in mixtures
                        else (float(slope.diagonal().sum(dtype=torch.float64)))
                    )
                if cluster in mixtures:
                    slopes[cluster] = slopes[cluster] + slope if cluster in slopes else slope
        return slopes, value

    def pairs(
        self, group: str, places: Mapping[Cluster, Tensor]
    ) -> list[tuple[Cluster, PairScores]]:
        """The scores of clusters with several nested factors, which would be large as a whole.

        For each a function: the scores of what is in unit i of A with what is in unit j of B.
        """
        return [
            (term.clusters[dim], partial(_pair, *term.sides(dim, places), term.clusters[dim]))
            for term, dim in self._at[group]
            if len(term.clusters[dim]) > 2
        ]

    def bends(self, group: str) -> bool:
        """Whether the overlap is not linear in `group`, or in what is nested in it."""
        return group in self._bent

    @cached_property
    def _bent(self) -> set[str]:
        return {
            group
            for group, at in self._at.items()
            if len({id(term) for term, _ in at}) < len(at)
            or any(len(term.clusters[dim]) > 2 for term, dim in at)
        }

    def squares(self, group: str) -> list[Term] | None:
        """The terms that are quadratic in the plain `group`; None where they also hold others."""
        at = self._at[group]
        counts = {id(term): sum(other is term for other, _ in at) for term, _ in at}
        bent = list({id(term): term for term, _ in at if counts[id(term)] > 1}.values())
        lone = all(len(term.clusters) == 2 and len(term.clusters[0]) == 1 for term in bent)
        return bent if lone else None

    def value_at(self, group: str, places: Mapping[Cluster, Tensor]) -> float:
        """The overlap of all that moves with the root `group`."""
        terms = {id(term): term for term, _ in self._at[group]}
        return sum(term.value(places) for term in terms.values())

    def neighbours(self, group: str) -> set[str]:
        """The roots whose scores change when `group` moves."""
        return self._neighbours[group]

    @cached_property
    def _neighbours(self) -> dict[str, set[str]]:
        found = {
            group: {root(c) for term, _ in at for c in term.clusters}.intersection(self.roots)
            for group, at in self._at.items()
        }
        return {g: near if self.bends(g) else near - {g} for g, near in found.items()}

    def value(self, index: Mapping[str, Tensor]) -> float:
        """The sum over parameters of <W_A, P(W_B)>, summed in float64."""
        places = self.places(index)
        return self.constant + sum(term.value(places) for term in self.terms)

    def value_of_scores(self, places: Mapping[Cluster, Tensor]) -> float:
        """As `value`, of the scores at `places`: cheaper, where those are made in any case."""
        return self.constant + sum(
            term.value(places)
            if len(term.clusters[0]) > 2
            else total_score(term.scores(0, places), places[term.clusters[0]])
            for term in self.terms
        )

    @cached_property
    def bound(self) -> float:
        """What no permutation exceeds: the sum over parameters of what each could have at most."""
        return sum(
            bound(list(self.blocks(name)), *(self.spec.fold(name, side) for side in sides))
            for name, *sides in self.parameters()
        )


def _pair(a: Tensor, b: Tensor, cluster: Cluster, unit: int, other: int) -> Tensor:
    size = len(a) // cluster[0].size
    inside_a = a[unit * size : (unit + 1) * size]
    inside_b = b[other * size : (other + 1) * size]
    return inside_a @ inside_b.T
