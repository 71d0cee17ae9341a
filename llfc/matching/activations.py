"""Activation matching: units are paired by how well their features agree on the same inputs."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from llfc.matching.overlap.assignment import total_score
from llfc.matching.overlap.nested import improved_partners
from llfc.matching.taps import FeatureReader, Tap, Taps, batch_definitions, taps, unread_groups
from llfc.modules.inputs import Inputs
from llfc.symmetry.spec import Permutation, PermutationSpec
from llfc.symmetry.spec.blocks import Cluster, place, root

TRACE = 1e-6  # far below the contribution of any two active units to the objective


@dataclass
class CrossMoments:
    """Running moments of the features of two networks: enough for all correlations of their units.

    All in double precision, in which units that differ by a constant alone can be told apart, and
    a large mean costs no digits that count. Memory does not grow with the number of samples.
    """

    count: int = 0
    sums: list[Tensor] = field(default_factory=list)

    def update(self, a: Tensor, b: Tensor) -> None:
        """Add a batch of features of A and of B, each of shape [units, samples]."""
        double = torch.complex128 if a.is_complex() else torch.float64
        a, b = a.to(double), b.to(double)
        squares = [x.abs().square().sum(1) for x in (a, b)]
        batch = [a.sum(1), b.sum(1), *squares, a @ b.mH]
        self.sums = (
            batch if not self.sums else [s + t for s, t in zip(self.sums, batch, strict=True)]
        )
        self.count += a.shape[1]

    @property
    def means(self) -> tuple[Tensor, ...]:
        """Of each unit of A and of B, of their squares, [H] each; of the products, [H, H]."""
        return tuple(total / self.count for total in self.sums)

    def correlation(self) -> Tensor:
        """Pearson's correlation of unit i of A with unit j of B, [H, H]; 0 for a constant unit.

        Of complex features the real part: how well the one is the other, not turned.
        """
        a, b, a_squares, b_squares, products = self.means
        a_variance, b_variance = a_squares - a.abs().square(), b_squares - b.abs().square()
        covariance = (products - a[:, None] * b.conj()[None]).real
        # A variance that is all rounding is that of a constant unit.
        a_scale = torch.where(a_variance > 1e-12 * a_squares, a_variance, torch.inf).sqrt()
        b_scale = torch.where(b_variance > 1e-12 * b_squares, b_variance, torch.inf).sqrt()
        return covariance / a_scale[:, None] / b_scale[None]

    def product(self) -> Tensor:
        """The mean product of unit i of A with unit j of B, not centred, [H, H].

        Of complex features <x, y> is the real part of x times y conjugated.
        """
        return self.means[4].real

    def agreement(self) -> Tensor:
        """2 <x, y> / (<x, x> + <y, y>), not centred, [H, H]; 1 only for equal features."""
        _, _, a_squares, b_squares, products = self.means
        both = a_squares[:, None] + b_squares[None]
        return 2 * products.real / torch.where(both > 0, both, torch.inf)


def match_activations(
    a: nn.Module,
    b: nn.Module,
    spec: PermutationSpec,
    batches: Iterable[Inputs] | None,
    *,
    seed: int,
) -> Permutation:
    r"""The permutation of b that maximises the correlation of its units' features with a's.

    .. math:: \max_{P_g} \sum_i \mathrm{corr}(x^A_i, x^B_{P_g(i)})

    for each group g, in one pass over the data for all groups. A unit's feature is read at the last
    value of the network's graph that is computed for it: after the activation function, after the
    last addition of a residual stage, inside each head of an attention; but before pooling, as
    every position of a spatial feature is a sample. If there are several such values (queries and
    keys), their mean correlation is used. Both networks run in eval mode. Groups whose units are in
    no value are not permuted; the permutation's `left_out` names them. Its `definitions` say so
    where features depend on the batch, as with a batch norm without running statistics.

    `objective` in the record is the sum of correlations over all units; `iterations` is the number
    of batches.

    Costs a forward pass of both networks over the batches, the products of H² moments for each
    group of H units, and one linear assignment per group; memory does not grow with the data. Use
    it where there are inputs: it is exact given them, and needs no search.

    Args:
        a: the network that stays as it is.
        b: the network whose units are permuted; neither model is modified.
        spec: the symmetry of both.
        batches: inputs that the models accept, each a tensor or a tuple of tensors.
        seed: not used; nothing here is random.

    Raises:
        ValueError: if there are no batches, or the models differ in architecture.

    Reference:
        Li, Yosinski, Clune, Lipson & Hopcroft, Convergent Learning: Do Different Neural Networks
        Learn the Same Representations?, ICLR 2016. https://arxiv.org/abs/1511.07543
        Jordan, Sedghi, Saukh, Entezari & Neyshabur, REPAIR: REnormalizing Permuted Activations for
        Interpolation Repair, ICLR 2023. https://arxiv.org/abs/2211.08403
    """
    del seed
    return _match(a, b, spec, batches, CrossMoments.correlation)


def match_activations_uncentred(
    a: nn.Module,
    b: nn.Module,
    spec: PermutationSpec,
    batches: Iterable[Inputs] | None,
    *,
    seed: int,
) -> Permutation:
    r"""The permutation of b that maximises the inner product of its features with a's.

    .. math:: \max_{P_g} \sum_i \langle x^A_i, x^B_{P_g(i)} \rangle

    As `match_activations`, but neither centred nor scaled. `objective` is the sum over units of the
    mean product.

    Costs what `match_activations` does. Use it to compare with Git Re-Basin: units with large
    features count for more, and a common mean counts as agreement.

    Reference:
        Ainsworth, Hayase & Srinivasa, Git Re-Basin: Merging Models modulo Permutation Symmetries,
        ICLR 2023, section 3.1. https://arxiv.org/abs/2209.04836
    """
    del seed
    return _match(a, b, spec, batches, CrossMoments.product)


def _match(
    a: nn.Module,
    b: nn.Module,
    spec: PermutationSpec,
    batches: Iterable[Inputs] | None,
    similarity: Callable[[CrossMoments], Tensor],
) -> Permutation:
    if batches is None:
        raise ValueError("activation matching needs batches of inputs, got None")
    batches, definitions = batch_definitions(a, b, batches)
    where = taps(spec)
    moments, count = cross_moments(a, b, where, batches)
    scores: dict[str, dict[Cluster, Tensor]] = {}
    for cluster, its in where.items():
        score = torch.stack([similarity(moments[tap]) for tap in its.last]).mean(0)
        alike = torch.stack([moments[tap].agreement() for tap in its.last]).mean(0)
        score = with_ties_broken(score, alike, moments[its.first].agreement())
        scores.setdefault(root(cluster), {})[cluster] = score
    index = dict(spec.identity())
    before = after = 0.0
    for of_root in scores.values():
        before += sum(total_score(s, place(c, index)) for c, s in of_root.items())
        index |= improved_partners(of_root, index) or {}
        after += sum(total_score(s, place(c, index)) for c, s in of_root.items())
    record = {"objective_before": before, "objective": after, "iterations": count}
    return Permutation(index, record, unread_groups(spec, where), definitions)


def with_ties_broken(score: Tensor, alike: Tensor, earlier: Tensor) -> Tensor:
    """The scores, with a small term that breaks ties between units of equal score.

    Units that never cross the threshold of a ReLU may differ by a constant only, to which a
    correlation is blind. Units that are zero on all inputs agree after the ReLU, but not before it.
    """
    silent = (score == 0).all(1)[:, None] & (score == 0).all(0)[None]
    return score + TRACE * score.abs().max() * torch.where(silent, earlier, alike)


def cross_moments(
    a: nn.Module, b: nn.Module, where: Mapping[Cluster, Taps], batches: Iterable[Inputs]
) -> tuple[dict[Tap, CrossMoments], int]:
    """For each tap the moments over all batches, and the number of batches."""
    moments = {tap: CrossMoments() for its in where.values() for tap in (*its.last, its.first)}
    read_a, read_b = FeatureReader(a, moments), FeatureReader(b, moments)
    count = 0
    for batch in batches:
        of_a, of_b = read_a(batch), read_b(batch)
        for tap, found in moments.items():
            for x, y in zip(of_a[tap], of_b[tap], strict=True):
                found.update(x, y)
        count += 1
    if not count:
        raise ValueError("activation matching needs batches of inputs, got none")
    return moments, count
