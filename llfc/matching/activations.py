"""Activation matching: units that fire together on the same inputs become one unit."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from llfc.matching.assignment import total_score
from llfc.matching.blocks import Cluster, place, root
from llfc.matching.nested import improved_partners
from llfc.matching.overlap import Overlap
from llfc.matching.permutation import Permutation, PermutationSpec
from llfc.matching.record import with_record
from llfc.matching.taps import Inputs, Key, listening, taps

TRACE = 1e-6  # far below what any two units that do fire add to the objective


@dataclass
class CrossMoments:
    """Running moments of the features of two networks: enough for all correlations of their units.

    Features are shifted by the mean of the first batch before anything is squared, so the moments
    lose no digits to a large mean; products are taken in the features' own precision, sums over
    batches in float64. Memory does not grow with the number of samples.
    """

    count: int = 0
    shift: tuple[Tensor, Tensor] | None = None
    sums: list[Tensor] = field(default_factory=list)

    def update(self, a: Tensor, b: Tensor) -> None:
        """Add a batch of features of A and of B, each of shape [units, samples]."""
        if self.shift is None:
            self.shift = a.mean(1, keepdim=True), b.mean(1, keepdim=True)
        a, b = a - self.shift[0], b - self.shift[1]
        parts = [a.sum(1), b.sum(1), a.square().sum(1), b.square().sum(1), a @ b.T]
        batch = [part.double() for part in parts]
        self.sums = (
            batch if not self.sums else [s + t for s, t in zip(self.sums, batch, strict=True)]
        )
        self.count += a.shape[1]

    def correlation(self) -> Tensor:
        """Pearson's correlation of unit i of A with unit j of B, [H, H]; 0 for a constant unit."""
        a, b, a_squares, b_squares, products = (total / self.count for total in self.sums)
        a_variance, b_variance = a_squares - a.square(), b_squares - b.square()
        covariance = products - a[:, None] * b[None]
        # A variance that is all rounding is that of a constant unit.
        a_scale = torch.where(a_variance > 1e-12 * a_squares, a_variance, torch.inf).sqrt()
        b_scale = torch.where(b_variance > 1e-12 * b_squares, b_variance, torch.inf).sqrt()
        return covariance / a_scale[:, None] / b_scale[None]

    def product(self) -> Tensor:
        """The mean product of unit i of A with unit j of B, not centred, [H, H]."""
        assert self.shift is not None
        a, b, _, _, products = (total / self.count for total in self.sums)
        a_shift, b_shift = (shift[:, 0].double() for shift in self.shift)
        crossed = a[:, None] * b_shift[None] + a_shift[:, None] * b[None]
        return products + crossed + a_shift[:, None] * b_shift[None]


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

    for each group g, in one pass over the data for all groups. A unit is read where the last module
    in forward order carries it, after the activation function if that is a module; every position
    of a spatial feature is a sample. Both networks run in eval mode.

    `objective` in the record is the sum of correlations over all units; `iterations` is the number
    of batches.

    Args:
        a: the network that stays as it is.
        b: the network whose units are permuted; neither model is modified.
        spec: the symmetry of both.
        batches: inputs as the models take them, a tensor or a tuple of tensors each.
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
    began = time.perf_counter()
    if batches is None:
        raise ValueError("activation matching needs batches of inputs, got None")
    overlap = Overlap.of(a, b, spec)
    moments, count = cross_moments(a, b, spec, batches)
    scores: dict[str, dict[Cluster, Tensor]] = {}
    for (cluster, end), found in moments.items():
        if end == "last":
            score = _with_ties_broken(similarity(found), moments[cluster, "first"].correlation())
            scores.setdefault(root(cluster), {})[cluster] = score
    index = dict(spec.identity())
    before = after = 0.0
    for of_root in scores.values():
        before += sum(total_score(s, place(c, index)) for c, s in of_root.items())
        index |= improved_partners(of_root, index) or {}
        after += sum(total_score(s, place(c, index)) for c, s in of_root.items())
    return with_record(overlap, index, began=began, iterations=count, objective=(before, after))


def _with_ties_broken(score: Tensor, earlier: Tensor) -> Tensor:
    """The scores, with a trace of the units' earlier correlation where two score with none at all.

    Units that a rectifier silences on all inputs are alike there, but not before it.
    """
    silent = (score == 0).all(1)[:, None] & (score == 0).all(0)[None]
    return score + TRACE * score.abs().max() * earlier * silent


def cross_moments(
    a: nn.Module, b: nn.Module, spec: PermutationSpec, batches: Iterable[Inputs]
) -> tuple[dict[Key, CrossMoments], int]:
    """For each cluster where it is read last and first, the moments over all batches.

    Also the number of batches.
    """
    where = taps(spec)
    moments = {key: CrossMoments() for key in where}
    count = 0
    with listening(a, where) as listen_a, listening(b, where) as listen_b:
        for batch in batches:
            of_a, of_b = listen_a(batch), listen_b(batch)
            for key in where:
                for x, y in zip(of_a[key], of_b[key], strict=True):
                    moments[key].update(x, y)
            count += 1
    if not count:
        raise ValueError("activation matching needs batches of inputs, got none")
    return moments, count
