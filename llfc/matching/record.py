"""The record of what a matcher found; the same fields for every matcher."""

import time

from llfc.matching.overlap.overlap import Overlap
from llfc.matching.overlap.terms import inner_product
from llfc.matching.overlap.transformed import moved_products, transformed_bound
from llfc.modules.reals import as_reals
from llfc.symmetry.spec import Permutation
from llfc.symmetry.transform import Transform

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


def recorded(
    found: Permutation | Transform, overlap: Overlap, began: float
) -> Permutation | Transform:
    """What a matcher found, with its whole record.

    The record holds, all as floats: `objective_before` and `objective`, the value of what the
    matcher maximises, at the identity and at what it found; `overlap_before` and `overlap`, the
    sum over parameters of <W_A, T(W_B)> at the two, comparable between matchers; `certificate`, the
    overlap divided by a bound, at most 1 (if the bound is not positive, 1 if it is reached and 0 if
    not); `moved`, the number of units that are not mapped to themselves; `iterations`;
    `groups_unread`, the number of groups for which no feature was read, 0 for a matcher that uses
    no features; and `seconds`, the time of matching without the certificate.

    A permutation's bound is one that no permutation exceeds. A transform's is one that no other of
    the groups' kinds exceeds, in parameters that permutations, signed ones and rotations move; what
    scales or invertible maps move has no bound, so that half of |W_A|^2 + |T(W_B)|^2 takes its
    place, which is reached only where T(W_B) equals W_A (`llfc.matching.overlap.transformed`).

    Args:
        found: the map, with what only the matcher knows: `iterations`, in its own unit; both
            objectives where they are not the overlap; what it left out, and what holds under a
            condition only.
        overlap: of the two networks.
        began: time.perf_counter() when the matcher was called.
    """
    if isinstance(found, Transform):
        products = moved_products(overlap, found)
        after = sum(product for product, _ in products.values())
        before = sum(inner_product(as_reals(a), as_reals(b)) for _, a, b in overlap.parameters())
    else:
        before, after = overlap.value(overlap.spec.identity()), overlap.value(found)
    seconds = time.perf_counter() - began
    if isinstance(found, Transform):
        bound = transformed_bound(overlap, found, products)
    else:
        bound = overlap.bound
    known = {
        "objective_before": before,
        "objective": after,
        "overlap_before": before,
        "overlap": after,
        "certificate": after / bound if bound > 0 else after >= bound,
        "moved": found.moved(),
        "groups_unread": len(found.left_out),
        "seconds": seconds,
        **found.record,
    }
    report = {name: float(known[name]) for name in FIELDS}, found.left_out, found.definitions
    if isinstance(found, Transform):
        return Transform(found.spec, found, *report)
    return Permutation(found, *report)
