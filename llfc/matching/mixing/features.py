"""Second moments of features at the taps of two networks, as what the best maps depend on."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from llfc.matching.activations import CrossMoments, with_ties_broken
from llfc.matching.mixing.elements import MIXED
from llfc.matching.mixing.heads import Family, Pairs
from llfc.matching.mixing.products import Product, Products, crossed, distance
from llfc.matching.taps import FeatureReader, Tap, Taps
from llfc.modules import copy_of
from llfc.modules.inputs import Inputs
from llfc.symmetry.spec import PermutationSpec
from llfc.symmetry.spec.blocks import Cluster
from llfc.symmetry.transform import Transform


@dataclass
class Moments:
    """Running moments of the features at one tap, [units, samples] of A and of B."""

    cross: CrossMoments
    products: Product | None = None

    def update(self, a: Tensor, b: Tensor, mixed: bool) -> None:
        """Add a batch; with the products within each network if units are mixed."""
        self.cross.update(a, b)
        if mixed:
            product = Product.of(a.to(torch.float64), b.to(torch.float64), gram=True)
            self.products = product if self.products is None else self.products + product


def read_moments(
    a: nn.Module,
    b: nn.Module,
    where: Mapping[Cluster, Taps],
    batches: Iterable[Inputs],
    kinds: Mapping[str, str],
) -> tuple[dict[Tap, Moments], int]:
    """The moments of each tap over all batches, and the number of batches.

    Raises:
        ValueError: there are none.
    """
    mixed = {
        tap: kinds[cluster[-1].groups[0]] in MIXED
        for cluster, its in where.items()
        for tap in (*read_at(its, kinds[cluster[-1].groups[0]]), its.first)
    }
    moments = {tap: Moments(CrossMoments()) for tap in mixed}
    read_a, read_b = FeatureReader(a, moments), FeatureReader(b, moments)
    count = 0
    for batch in batches:
        of_a, of_b = read_a(batch), read_b(batch)
        for tap, found in moments.items():
            for x, y in zip(of_a[tap], of_b[tap], strict=True):
                found.update(x, y, mixed[tap])
        count += 1
    if not count:
        raise ValueError("activation matching needs batches of inputs, got none")
    return moments, count


def read_at(its: Taps, kind: str) -> tuple[Tap, ...]:
    """The taps at which a group of a kind is read.

    Units that are permuted are told best by what is last computed of them. What an orthogonal group
    carries changes with depth, as in a residual stream, and its basis is all that stays: on five
    pairs of gpt, independent and in canonical form, the loss half-way was .76 nats above the ends'
    so, and 1.65 without a matching; on two of them 1.51 and 1.90 where the stream was read at its
    end alone, and .83 and .83 so.
    """
    return its.every if kind == "orthogonal" else its.last


@dataclass
class Read:
    """What was read of all clusters, as products.

    Attributes:
        kinds: of the groups.
        moments: at each tap.
        where: the taps of each cluster.
        powers: of the map of an invertible group in what is read at its taps.
    """

    kinds: Mapping[str, str]
    moments: Mapping[Tap, Moments]
    where: Mapping[Cluster, Taps]
    powers: Mapping[Tap, int]

    def products(self, cluster: Cluster) -> Products:
        """Of all units of a cluster.

        Where units are not mixed: their mean correlations, and the variances at the first tap.
        Otherwise products, not centred, of each tap as a share of A's square there.
        """
        its = self.where[cluster]
        if self.kinds[cluster[-1].groups[0]] not in MIXED:
            return {1: self._correlations(its)}
        found: Products = {}
        for tap in read_at(its, self.kinds[cluster[-1].groups[0]]):
            product = self.moments[tap].products
            assert product is not None
            share = 1 / max(float(product.a.trace()), 1e-300)
            power = self.powers.get(tap, 1)
            scaled = Product(*(share * x.cpu() for x in (product.cross, product.a, product.b)))
            found[power] = found[power] + scaled if power in found else scaled
        return found

    def _correlations(self, its: Taps) -> Product:
        at = [self.moments[tap].cross for tap in its.last]
        score = torch.stack([each.correlation() for each in at]).mean(0)
        alike = torch.stack([each.agreement() for each in at]).mean(0)
        score = with_ties_broken(score, alike, self.moments[its.first].cross.agreement())
        a, b, a_squares, b_squares, _ = at[0].means
        means = ((a, a_squares), (b, b_squares))
        variances = ((square - mean.abs().square()).clamp(min=0).cpu() for mean, square in means)
        return Product(score.cpu(), *variances)

    def family(self, cluster: Cluster) -> Family:
        """What is nested in the units of a cluster's root."""
        names = cluster[-1].groups
        pairs = {power: _in_pairs(x, len(names)) for power, x in self.products(cluster).items()}
        return Family(names, self.kinds[names[0]], pairs)

    @staticmethod
    def distance(kind: str, found: Products) -> float:
        """The squared distance; of units that are not mixed as if all variances were 1."""
        if kind in MIXED:
            return distance(found)
        cross = crossed(found)
        return 2 * float(len(cross) - cross.trace())


def _in_pairs(product: Product, heads: int) -> Pairs:
    """Products of all units with all, by what they are nested in."""
    units = len(product.cross) // heads
    cross = product.cross.reshape(heads, units, heads, units).transpose(1, 2)
    own = []
    for side in (product.a, product.b):
        if side.ndim == 1:
            own.append(side.reshape(heads, units))
        else:
            blocks = side.reshape(heads, units, heads, units)
            own.append(blocks.diagonal(dim1=0, dim2=2).movedim(-1, 0))
    return Pairs(cross, *own)


def powers_of_taps(
    b: nn.Module, spec: PermutationSpec, where: Mapping[Cluster, Taps], batch: Inputs
) -> dict[Tap, int]:
    """The power, 1 or -1, of the map of an invertible group in what is read at each tap.

    A spec knows the powers of tensors alone. So B is moved by random maps of the innermost groups,
    once, and read before and after.
    """
    drawn = Transform.random(spec, 0)
    inner = {c: c[-1].groups for c in where if spec.kinds[c[-1].groups[0]] == "invertible"}
    moves = Transform(spec, {g: drawn[g] for groups in inner.values() for g in groups})
    taps = [tap for cluster in inner for tap in where[cluster].last]
    if not taps:
        return {}
    moved = copy_of(b)
    moved.load_state_dict(moves.apply(b.state_dict()))
    before, after = FeatureReader(b, taps)(batch), FeatureReader(moved, taps)(batch)
    found = {}
    for cluster, groups in inner.items():
        for tap in where[cluster].last:
            old, new = (read[tap][0].double().cpu() for read in (before, after))
            gaps = [0.0, 0.0]
            for each, x, y in zip(
                groups, *(side.chunk(len(groups)) for side in (old, new)), strict=True
            ):
                for side, power in enumerate((1, -1)):
                    gaps[side] += float((y - moves[each].apply(x, power)).norm())
            found[tap] = 1 if gaps[0] <= gaps[1] else -1
    return found
