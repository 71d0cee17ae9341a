"""Weight matching: coordinate ascent on the overlap, one group of units after the other."""

import math
import time
from collections.abc import Iterable, Iterator, Mapping

import torch
from torch import Generator, Tensor, nn

from llfc.matching.blocks import Cluster
from llfc.matching.nested import TOLERANCE, best_partners, improved_partners
from llfc.matching.overlap import Index, Overlap
from llfc.matching.permutation import Permutation, PermutationSpec
from llfc.matching.record import with_record
from llfc.matching.relaxation import STEPS, relaxed
from llfc.matching.swaps import best_swap
from llfc.matching.taps import Inputs
from llfc.seeds import stream

# Local optima are real, and a start costs a fraction of what a network's training costs.
STARTS = 8
# A relaxation costs about as much as four ascents, and ends above ten of them on wide networks. Its
# first step alone costs less than one ascent, and is already a better start than the identity.
RELAXED_FROM = 4
PASSES = 1000  # a bound that no network came near; real gains end, those of rounding might not
SHUFFLED = 0.05, 0.3  # the least and the largest share of units that a new start shuffles


def match_weights(
    a: nn.Module,
    b: nn.Module,
    spec: PermutationSpec,
    batches: Iterable[Inputs] | None,
    *,
    seed: int,
    starts: int = STARTS,
) -> Permutation:
    r"""The permutation of b that maximises the overlap of its parameters with a's.

    .. math:: \max_P \sum_l \langle W_A^l, P(W_B)^l \rangle

    The best of several coordinate ascents: the first from the identity, the second from where
    Frank-Wolfe's relaxation ends (of fewer than four, from its first step), each other from the
    best so far with a share of every group's units shuffled, which finds more than fresh starts do.
    In an ascent, one linear assignment a group, until no group improves. Parameters only: norm
    statistics are permuted, but not matched on. `iterations` in the record counts passes over the
    groups, over all starts, and the relaxation's steps.

    Args:
        a: the network that stays as it is.
        b: the network whose units are permuted; neither model is modified.
        spec: the symmetry of both.
        batches: not used.
        seed: of the shuffled starts and of the order of the groups.
        starts: number of ascents, at least 1.

    Raises:
        ValueError: if the models differ in architecture or hold a number that is not finite.

    Reference:
        Ainsworth, Hayase & Srinivasa, Git Re-Basin: Merging Models modulo Permutation Symmetries,
        ICLR 2023. https://arxiv.org/abs/2209.04836
        Crisostomi, Fumero, Baieri, Bernard & Rodolà, C2M3: Cycle-Consistent Multi-Model Merging,
        NeurIPS 2024, for the relaxation. https://arxiv.org/abs/2405.17897
        Lourenço, Martin & Stützle, Iterated Local Search, Handbook of Metaheuristics, 2003.
        https://arxiv.org/abs/math/0102188
    """
    del batches
    if starts < 1:
        raise ValueError(f"starts must be at least 1, got {starts}")
    began = time.perf_counter()
    overlap = Overlap.of(a, b, spec)
    best, iterations = best_of_starts(overlap, stream(seed, "matching/weights"), starts)
    return with_record(overlap, best, began=began, iterations=iterations)


def best_of_starts(
    overlap: Overlap, generator: Generator, starts: int = STARTS
) -> tuple[Index, int]:
    """The best of `starts` ascents: from the identity, a relaxation, and near the best so far.

    Also the passes and the relaxation's steps, all together.
    """
    best, iterations = ascend(overlap, dict(overlap.spec.identity()), generator)
    for number in range(1, starts):
        if number == 1:
            start, steps = relaxed(overlap, STEPS if starts >= RELAXED_FROM else 1)
        else:
            start, steps = shuffled(best, generator), 0
        found, passes = ascend(overlap, start, generator)
        best = better(overlap, best, found)
        iterations += passes + steps
    return best, iterations


def shuffled(index: Mapping[str, Tensor], generator: Generator) -> Index:
    """The permutation with a random share of every group's units in random order."""
    least, largest = SHUFFLED
    share = least + (largest - least) * float(torch.rand((), generator=generator))
    new: Index = {}
    for group, units in index.items():
        picked = torch.randperm(len(units), generator=generator)[
            : math.ceil(share * len(units)) + 1
        ]
        new[group] = units.clone()
        new[group][picked] = units[picked.roll(1)]
    return new


def ascend(
    overlap: Overlap, start: Mapping[str, Tensor], generator: Generator
) -> tuple[Index, int]:
    """The permutation that no single group can improve, from `start` up, and the passes it took.

    A group is visited again only after one of its neighbours has moved.
    """
    index = dict(start)
    places = overlap.places(index)
    waiting = set(overlap.roots)
    passes = 0
    while waiting and passes < PASSES:
        passes += 1
        for position in torch.randperm(len(overlap.roots), generator=generator).tolist():
            group = overlap.roots[position]
            if group not in waiting:
                continue
            waiting.discard(group)
            if _improve(overlap, group, index, places):
                waiting |= overlap.neighbours(group)
    return index, passes


def _improve(overlap: Overlap, group: str, index: Index, places: dict[Cluster, Tensor]) -> bool:
    """Move `group` to its best partners, all others held; False if it stands there already."""
    scores = overlap.scores(group, places)
    if not overlap.bends(group):
        found = improved_partners(scores, index)
        if found is not None:
            _move(overlap, group, found, index, places)
        return found is not None
    before = overlap.value_at(group, places)
    for found in _proposals(overlap, group, scores, places):
        after = overlap.value_at(group, places | overlap.places(index | found, only=group))
        if after - before > TOLERANCE[overlap.dtype] * (abs(before) + abs(after)):
            _move(overlap, group, found, index, places)
            return True
    return False


def _proposals(
    overlap: Overlap,
    group: str,
    scores: Mapping[Cluster, Tensor],
    places: Mapping[Cluster, Tensor],
) -> Iterator[Index]:
    """What may be better for a group in which the overlap is not linear."""
    yield best_partners(scores, overlap.pairs(group, places))
    squares = overlap.squares(group)
    if squares and len(scores) == 1:
        ((cluster, score),) = scores.items()
        yield {group: best_swap(squares, cluster, score, places[cluster]).cpu()}


def _move(
    overlap: Overlap, group: str, found: Index, index: Index, places: dict[Cluster, Tensor]
) -> None:
    index |= found
    places |= overlap.places(index, only=group)


def better(overlap: Overlap, first: Index, second: Index) -> Index:
    """The permutation of larger overlap; of two that tie, the first."""
    before, after = overlap.value(first), overlap.value(second)
    # A network that is matched with itself must not be moved for the sake of rounding.
    return second if after > before + 1e-6 * abs(before) else first


def random_index(overlap: Overlap, generator: Generator) -> Index:
    """A permutation in which every group is in random order."""
    sizes = overlap.spec.groups
    return {group: torch.randperm(size, generator=generator) for group, size in sizes.items()}
