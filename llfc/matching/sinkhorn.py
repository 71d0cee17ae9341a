"""Sinkhorn matching: gradient ascent of the overlap over soft permutations."""

import time
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from llfc.matching.assignment import best_assignment
from llfc.matching.blocks import Cluster
from llfc.matching.overlap import Index, Overlap
from llfc.matching.permutation import Permutation, PermutationSpec
from llfc.matching.record import with_record
from llfc.matching.taps import Inputs
from llfc.matching.weights import ascend, better
from llfc.seeds import stream

STEPS = 60
RATE = 0.1  # of Adam on the logits, whose temperature is 1
ROUNDS = 12  # of row and column scaling; rows and columns then sum to one within some per cent


def match_sinkhorn(
    a: nn.Module,
    b: nn.Module,
    spec: PermutationSpec,
    batches: Iterable[Inputs] | None,
    *,
    seed: int,
) -> Permutation:
    r"""The permutation of b that maximises the overlap of its parameters with a's, softly first.

    Each group has a matrix of logits, which rows and columns scaled in turn make doubly stochastic.
    The overlap of a with the softly permuted b is climbed by Adam through the unrolled scaling. The
    logits' own best assignment is where coordinate ascent sets out; the better of its end and that
    of coordinate ascent from the identity is returned. `iterations` in the record counts steps and
    passes.

    Raises:
        ValueError: if the models differ in architecture or hold a number that is not finite.

    Reference:
        Peña, Medeiros, Dubail, Aminbeidokhti, Granger & Pedersoli, Re-basin via Implicit Sinkhorn
        Differentiation, CVPR 2023. https://arxiv.org/abs/2212.12042
    """
    del batches
    began = time.perf_counter()
    overlap = Overlap.of(a, b, spec)
    generator = stream(seed, "matching/sinkhorn")
    start, passes = ascend(overlap, dict(spec.identity()), generator)
    found, more = ascend(overlap, hardened(overlap, climbed(overlap)), generator)
    best = better(overlap, start, found)
    return with_record(overlap, best, began=began, iterations=STEPS + passes + more)


def doubly_stochastic(logits: Tensor) -> Tensor:
    """exp(logits), its rows and columns scaled in turn to sum to one, ROUNDS times; [..., H, H].

    Reference:
        Sinkhorn, A Relationship Between Arbitrary Positive Matrices and Doubly Stochastic Matrices,
        Annals of Mathematical Statistics 35(2), 1964.
    """
    for _ in range(ROUNDS):
        logits = logits - logits.logsumexp(-1, keepdim=True)
        logits = logits - logits.logsumexp(-2, keepdim=True)
    return logits.exp()


def climbed(overlap: Overlap) -> dict[str, Tensor]:
    """The logits of every group after STEPS steps up the overlap."""
    clusters = list(dict.fromkeys(c for g in overlap.soft_roots() for c in overlap.clusters(g)))
    names = {name for cluster in clusters for factor in cluster for name in factor.groups}
    by_size: dict[int, list[str]] = {}  # groups of one size are scaled together
    for name, size in overlap.spec.groups.items():
        if name in names:
            by_size.setdefault(size, []).append(name)
    logits = {
        size: torch.zeros(len(group), size, size, dtype=overlap.dtype, device=overlap.device)
        for size, group in by_size.items()
    }
    if not logits:
        return {}
    adam = torch.optim.Adam([t.requires_grad_() for t in logits.values()], lr=RATE, maximize=True)
    for _ in range(STEPS):
        with torch.enable_grad():
            soft = {
                name: matrix
                for size, group in by_size.items()
                for name, matrix in zip(group, doubly_stochastic(logits[size]), strict=True)
            }
            mixtures = {cluster: _mixture(cluster, soft) for cluster in clusters}
        slopes, _ = overlap.gradient({c: m.detach() for c, m in mixtures.items()})
        adam.zero_grad()
        ordered = list(mixtures)
        torch.autograd.backward([mixtures[c] for c in ordered], [slopes[c] for c in ordered])
        adam.step()
    return {
        name: matrix
        for size, group in by_size.items()
        for name, matrix in zip(group, logits[size].detach(), strict=True)
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
