"""The record of a permutation that a matcher found; the same fields for every matcher."""

import time

from llfc.matching.overlap.overlap import Overlap
from llfc.symmetry.spec import Permutation

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


def recorded(found: Permutation, overlap: Overlap, began: float) -> Permutation:
    """What a matcher found, with its whole record.

    The record holds, all as floats: `objective_before` and `objective`, the value of what the
    matcher maximises, at the identity and at the permutation; `overlap_before` and `overlap`, the
    sum over parameters of <W_A, P(W_B)> at the two, comparable between matchers; `certificate`, the
    overlap divided by a bound that no permutation exceeds, at most 1 (if the bound is not positive,
    1 if it is reached and 0 if not); `moved`, the number of units that change places; `iterations`;
    `groups_unread`, the number of groups for which no feature was read, 0 for a matcher that uses
    no features; and `seconds`, the time of matching without the certificate.

    Args:
        found: the permutation, with what only the matcher knows: `iterations`, in its own unit;
            both objectives where they are not the overlap; what it left out, and what holds under
            a condition only.
        overlap: of the two networks.
        began: time.perf_counter() when the matcher was called.
    """
    before, after = overlap.value(overlap.spec.identity()), overlap.value(found)
    seconds = time.perf_counter() - began
    known = {
        "objective_before": before,
        "objective": after,
        "overlap_before": before,
        "overlap": after,
        "certificate": after / overlap.bound if overlap.bound > 0 else after >= overlap.bound,
        "moved": found.moved(),
        "groups_unread": len(found.left_out),
        "seconds": seconds,
        **found.record,
    }
    record = {name: float(known[name]) for name in FIELDS}
    return Permutation(found, record, found.left_out, found.definitions)
