"""Sinkhorn matching: gradient ascent of the overlap over soft permutations."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from llfc.matching.ascent.ascent import ascend, better
from llfc.matching.overlap.assignment import best_assignment
from llfc.matching.overlap.overlap import Index, Overlap
from llfc.matching.overlap.terms import PIECE
from llfc.modules.inputs import Inputs
from llfc.seeds import stream
from llfc.symmetry.spec import Permutation, PermutationSpec
from llfc.symmetry.spec.blocks import Cluster

ASCENT_STEPS = 60
LEARNING_RATE = 0.1  # of Adam on the logits, whose temperature is 1
SCALINGS = 12  # of row and column scaling; rows and columns then sum to one within some per cent


def match_sinkhorn(
    a: nn.Module,
    b: nn.Module,
    spec: PermutationSpec,
    batches: Iterable[Inputs] | None,
    *,
    seed: int,
) -> Permutation:
    r"""The permutation of b that maximises the overlap of its parameters with a's, softly first.

    Each group has a matrix of logits, made doubly stochastic by scaling rows and columns in turn.
    Adam maximises the overlap of a with the softly permuted b, through the unrolled scaling.
    Coordinate ascent then starts from the best assignment of the logits; the better of its result
    and that of coordinate ascent from the identity is returned. `iterations` in the record counts
    steps and visits.

    Costs 60 steps of Adam on a matrix of H² logits for each group of H units, with 12 scalings in
    each, and two ascents. Use it to compare with the relaxation of its paper.

    Raises:
        ValueError: if the models differ in architecture or hold a number that is not finite.

    Reference:
        Peña, Medeiros, Dubail, Aminbeidokhti, Granger & Pedersoli, Re-basin via Implicit Sinkhorn
        Differentiation, CVPR 2023. https://arxiv.org/abs/2212.12042
    """
    del batches
    overlap = Overlap.of(a, b, spec)
    generator = stream(seed, "matching/sinkhorn")
    start, visits = ascend(overlap, dict(spec.identity()), generator)
    found, more = ascend(overlap, hardened(overlap, climbed(overlap)), generator)
    return Permutation(better(overlap, start, found), {"iterations": ASCENT_STEPS + visits + more})


def doubly_stochastic(logits: Tensor) -> Tensor:
    """exp(logits), its rows and columns scaled in turn to sum to one, SCALINGS times; [..., H, H].

    Reference:
        Sinkhorn, A Relationship Between Arbitrary Positive Matrices and Doubly Stochastic Matrices,
        Annals of Mathematical Statistics 35(2), 1964.
    """
    scaled: Tensor = _Scaling.apply(logits)  # type: ignore[no-untyped-call]
    return scaled


class _Scaling(torch.autograd.Function):
    """The scaling and its derivative, which store two vectors per round instead of two matrices."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor) -> Tensor:
        rows = [torch.zeros_like(logits[..., :1])]
        columns = [torch.zeros_like(logits[..., :1, :])]
        for _ in range(SCALINGS):
            rows.append((logits - columns[-1]).logsumexp(-1, keepdim=True))
            columns.append((logits - rows[-1]).logsumexp(-2, keepdim=True))
        ctx.save_for_backward(logits, *rows, *columns)
        return _scaled(logits, rows[-1], columns[-1])

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> Tensor:
        logits, *scales = ctx.saved_tensors
        rows, columns = scales[: SCALINGS + 1], scales[SCALINGS + 1 :]
        slope = _scaled(logits, rows[-1], columns[-1]).mul_(slope)
        for round_ in range(SCALINGS, 0, -1):
            # The derivative of logsumexp is what the scaling by it leaves.
            after = _scaled(logits, rows[round_], columns[round_])
            slope -= after.mul_(slope.sum(-2, keepdim=True))
            after = _scaled(logits, rows[round_], columns[round_ - 1])
            slope -= after.mul_(slope.sum(-1, keepdim=True))
        return slope


def _scaled(logits: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    return (logits - rows).sub_(columns).exp_()


def climbed(overlap: Overlap) -> dict[str, Tensor]:
    """The logits of every group after ASCENT_STEPS steps up the overlap."""
    clusters = list(dict.fromkeys(c for g in overlap.soft_roots() for c in overlap.clusters(g)))
    names = {name for cluster in clusters for factor in cluster for name in factor.groups}
    by_size: dict[int, list[str]] = {}
    for name, size in overlap.spec.groups.items():
        if name in names:
            by_size.setdefault(size, []).append(name)
    # Groups of one size are scaled together, but few at a time, so that little is copied.
    stacks = [
        group[start : start + count]
        for size, group in by_size.items()
        for count in [max(1, PIECE // size**2)]
        for start in range(0, len(group), count)
    ]
    logits = [
        torch.zeros(len(stack), size, size, dtype=overlap.dtype, device=overlap.device)
        for stack in stacks
        for size in [overlap.spec.groups[stack[0]]]
    ]
    if not logits:
        return {}
    adam = torch.optim.Adam(
        [t.requires_grad_() for t in logits],
        lr=LEARNING_RATE,
        eps=1e-8 * overlap.unit,
        maximize=True,
    )
    for _ in range(ASCENT_STEPS):
        with torch.enable_grad():
            soft = {
                name: matrix
                for stack, own in zip(stacks, logits, strict=True)
                for name, matrix in zip(stack, doubly_stochastic(own), strict=True)
            }
            mixtures = {cluster: _mixture(cluster, soft) for cluster in clusters}
        slopes, _ = overlap.gradient({c: m.detach() for c, m in mixtures.items()})
        adam.zero_grad()
        ordered = list(mixtures)
        torch.autograd.backward([mixtures[c] for c in ordered], [slopes[c] for c in ordered])
        adam.step()
    return {
        name: matrix
        for stack, own in zip(stacks, logits, strict=True)
        for name, matrix in zip(stack, own.detach(), strict=True)
    }


def _mixture(cluster: Cluster, soft: Mapping[str, Tensor]) -> Tensor:
    """How much of each unit of B stands at each place of the cluster, [H, H]."""
    mixture = soft[cluster[0].groups[0]]
    if len(cluster) == 1:
        return mixture
    inside = torch.stack([soft[name] for name in cluster[1].groups])
    size = len(mixture) * inside.shape[1]
    return torch.einsum("hk,huv->hukv", mixture, inside).reshape(size, size)


def hardened(overlap: Overlap, logits: Mapping[str, Tensor]) -> Index:
    """The permutation that is nearest to the logits; groups without any stay in place."""
    hard = {name: best_assignment(matrix) for name, matrix in logits.items()}
    return dict(overlap.spec.identity()) | hard
