"""A permutation test of association between two columns, which exchanges whole pairs of networks.

Under the null hypothesis that barrier and LLFC error are independent, the errors of one pair of
networks could equally belong to another pair. So errors are exchanged between the pairs of a seed,
never between seeds. All trials of a pair (its matchings, its corrections) are exchanged together,
as they share both networks, and in the same way in every seed, as pairs of different seeds in one
cell of the grid resemble one another. In simulated sweeps under the null hypothesis, exchanging
single trials rejected it at the 5 % level in up to 42 % of them, and exchanging pairs in 3 to 6 %.

It remains assumed that pairs of one seed are exchangeable. Spawned pairs of one trunk share
network A, which makes the test reject a little too often over spawn epochs.

Reference:
    Winkler, Webster, Vidaurre, Nichols & Smith, Multi-level Block Permutation, NeuroImage 123,
    2015.
"""

# Shape suffixes: S = seeds, P = pairs of networks of a seed, T = trials of a pair.

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.runs.pairs import FINENESS, group_index, measured_once, pair_columns, trial_columns
from analysis.statistics.over_seeds import RELATIVE_ROUNDING, Floats, is_constant

# Of fewer orders, as of three pairs, no p is below 1/24.
LEAST_ORDERS = 24


@dataclass(frozen=True)
class PermutationTest:
    """The result of a permutation test.

    Attributes:
        p: the two-sided p value; NaN if there are fewer than LEAST_ORDERS orders.
        trials: how many trials it rests on: those of cells of the grid that every seed has, of
            pairs that can be exchanged with another, in seeds where both columns vary.
    """

    p: float
    trials: int


def permutation_test(
    trials: pd.DataFrame,
    x: str,
    y: str,
    statistic: Callable[[Floats, Floats], float],
    permutations: int = 999,
    seed: int = 0,
) -> PermutationTest:
    """The permutation test of `statistic`, averaged over seeds, between `x` and `y`.

    The two-sided p value of `statistic` within seeds; the smallest there is, is one over the number
    of orders of a seed's pairs, or 1 / (permutations + 1) if those are more and drawn at random.
    Only cells of the grid that every seed has are used. Pairs are exchanged with those that have
    trials of the same kinds (matchings, corrections, ...); a pair alone of its kind stays, and
    says nothing; nor does a seed in which a column does not vary. Of trials that differ in nothing
    but how finely they were measured, or were logged twice, one is used.

    Args:
        trials: one row per trial.
        x: a column.
        y: another.
        statistic: how closely two columns go together.
        permutations: how many, at most.
        seed: of the draws.
    """
    blocks = _varying(_blocks(trials, x, y))
    used = sum(block.size for block, _ in blocks)
    sizes = [block.shape[1] for block, _ in blocks]
    orders = math.prod(math.factorial(size) for size in sizes)
    if orders < LEAST_ORDERS:
        return PermutationTest(math.nan, used)

    def closeness(moved: Sequence[NDArray[np.integer]]) -> float:
        x_SN = np.hstack([_flat(b[:, m]) for (b, _), m in zip(blocks, moved, strict=True)])
        y_SN = np.hstack([_flat(still) for _, still in blocks])
        found = [statistic(*pair) for pair in zip(x_SN, y_SN, strict=True)]
        return abs(float(np.mean(found)))

    reached = closeness([np.arange(size) for size in sizes]) * (1 - RELATIVE_ROUNDING)
    if orders <= permutations:
        every = itertools.product(*(itertools.permutations(range(size)) for size in sizes))
        found = [closeness([np.array(part) for part in order]) for order in every]
        return PermutationTest(float(np.mean(np.array(found) >= reached)), used)
    rng = np.random.default_rng(seed)
    drawn = [closeness([rng.permutation(size) for size in sizes]) for _ in range(permutations)]
    count = int((np.array(drawn) >= reached).sum())
    return PermutationTest((count + 1) / (permutations + 1), used)


def _blocks(trials: pd.DataFrame, x: str, y: str) -> list[tuple[Floats, Floats]]:
    """Both columns of the pairs that can be exchanged with one another, each of shape [S, P, T]."""
    once = measured_once(trials)
    cells = [column for column in pair_columns(once) if column != "seed"]
    kinds = [column for column in trial_columns(once) if column not in FINENESS]
    rows = pd.DataFrame(
        {
            "seed": once["seed"],
            "pair": group_index(once, cells),
            "trial": group_index(once, kinds),
            "x": once[x],
            "y": once[y],
        }
    ).sort_values(["seed", "pair", "trial"])
    rows = rows.drop_duplicates(["seed", "pair", "trial"])
    seeds = rows["seed"].nunique()
    rows = rows[rows.groupby(["pair", "trial"])["seed"].transform("nunique") == seeds]
    # Which trials a pair has, as a seed has them.
    alike: dict[tuple[int, ...], list[int]] = {}
    for pair, of in rows.groupby("pair")["trial"]:
        alike.setdefault(tuple(sorted(set(of))), []).append(int(str(pair)))
    found = []
    for kind, pairs in alike.items():
        if len(pairs) > 1:
            part = rows[rows["pair"].isin(pairs)]
            shape = (seeds, len(pairs), len(kind))
            x_SPT, y_SPT = (part[c].to_numpy(dtype=float).reshape(shape) for c in ("x", "y"))
            found.append((x_SPT, y_SPT))
    return found


def _varying(blocks: list[tuple[Floats, Floats]]) -> list[tuple[Floats, Floats]]:
    """The blocks, of the seeds in which both columns vary; no order of a constant says more."""
    if not blocks:
        return []
    x_SN, y_SN = (np.hstack([_flat(block[side]) for block in blocks]) for side in (0, 1))
    there = [not is_constant(np.column_stack(seed)) for seed in zip(x_SN, y_SN, strict=True)]
    return [(x_SPT[there], y_SPT[there]) for x_SPT, y_SPT in blocks] if any(there) else []


def _flat(of_SPT: Floats) -> Floats:
    return of_SPT.reshape(len(of_SPT), -1)
