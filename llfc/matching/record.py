"""What a matcher says about its permutation; the same fields for every matcher."""

import time
from collections.abc import Mapping

from torch import Tensor

from llfc.matching.overlap.overlap import Overlap
from llfc.symmetry.permutation import Permutation

FIELDS = (
    "objective_before",
    "objective",
    "overlap_before",
    "overlap",
    "certificate",
    "moved",
    "iterations",
    "groups_unread",
    "seconds",
)


def with_record(
    overlap: Overlap,
    index: Mapping[str, Tensor],
    *,
    began: float,
    iterations: int,
    objective: tuple[float, float] | None = None,
    left_out: Mapping[str, str] | None = None,
) -> Permutation:
    """The permutation of `index`, with its record.

    The record holds, all as floats: `objective_before` and `objective`, what the matcher maximises
    at the identity and at the permutation; `overlap_before` and `overlap`, the sum over parameters
    of <W_A, P(W_B)> at the two, the same measure for every matcher; `certificate`, the overlap
    over a bound that no permutation exceeds, at most 1 (of a bound that is not positive, 1 where it
    is reached and 0 where not); `moved`, the number of units that change place; `iterations`;
    `groups_unread`, of how many groups no feature was read, 0 for a matcher that reads none; and
    `seconds`, all of the matching but the certificate.

    Args:
        overlap: of the two networks.
        index: the index vector of each group.
        began: time.perf_counter() at the start.
        iterations: of the matcher, in its own unit.
        objective: before and after; None where it is the overlap.
        left_out: the groups of which no feature was read, each with the reason.
    """
    values = overlap.value(overlap.spec.identity()), overlap.value(index)
    before, after = values if objective is None else objective
    seconds = time.perf_counter() - began
    permutation = Permutation(index)
    fields = (
        before,
        after,
        *values,
        values[1] / overlap.bound if overlap.bound > 0 else values[1] >= overlap.bound,
        permutation.moved(),
        iterations,
        len(left_out or ()),
        seconds,
    )
    record = dict(zip(FIELDS, map(float, fields), strict=True))
    return Permutation(index, record=record, left_out=left_out)
