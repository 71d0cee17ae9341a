"""Specs made by hand, states for them, and their overlap by brute force."""

import itertools

import torch

from llfc.seeds import stream
from llfc.symmetry.spec import PermutationSpec
from llfc.symmetry.spec.axes import Factor, axis_size


def plain(size, group=None):
    return ((Factor(size, (group,) if group else ()),),)


def arranged(order, *segments):
    return ((Factor(len(order), order=order, inside=segments),),)


HEADS = Factor(3, ("heads",))
QK, VO, RQ = (tuple(f"{kind}{h}" for h in range(3)) for kind in ("qk", "vo", "rq"))
FIXED = plain(5)

SPECS = {
    "chain": PermutationSpec(
        {"g": 4, "h": 3},
        {
            "0.weight": (plain(4, "g"), FIXED),
            "0.bias": (plain(4, "g"),),
            "1.weight": (plain(3, "h"), plain(4, "g")),
            "1.bias": (plain(3, "h"),),
            "2.weight": (plain(2), plain(3, "h")),
            "scale": (),
        },
    ),
    "flattened": PermutationSpec(
        {"g": 4},
        {
            "conv": (plain(4, "g"), plain(2), plain(3)),
            "linear": (plain(5), ((Factor(4, ("g",)), Factor(6)),)),
        },
    ),
    "concatenated": PermutationSpec(
        {"g": 3, "h": 4},
        {
            "a": (plain(3, "g"), FIXED),
            "b": (plain(4, "h"), plain(3, "g")),
            "c": (FIXED, ((Factor(3, ("g",)),), (Factor(2),), (Factor(4, ("h",)),))),
        },
    ),
    "residual": PermutationSpec(  # a square tensor: both axes carry one group
        {"g": 5},
        {
            "in": (plain(5, "g"), FIXED),
            "mix": (plain(5, "g"), plain(5, "g")),
            "b": (plain(5, "g"),),
        },
    ),
    "heads": PermutationSpec(
        {"heads": 3} | dict.fromkeys(QK, 2) | dict.fromkeys(VO, 3),
        {
            "q": (((HEADS, Factor(2, QK)),), FIXED),
            "k": (((HEADS, Factor(2, QK)),), FIXED),
            "v": (((HEADS, Factor(3, VO)),), FIXED),
            "o": (FIXED, ((HEADS, Factor(3, VO)),)),
            "bias_table": (FIXED, plain(3, "heads")),
        },
    ),
    "grouped queries": PermutationSpec(
        {"heads": 3} | dict.fromkeys(RQ, 2) | dict.fromkeys(QK, 2),
        {
            "q": (
                ((HEADS, Factor(2, RQ), Factor(2, tuple(n for n in QK for _ in range(2)))),),
                FIXED,
            ),
            "k": (((HEADS, Factor(2, QK)),), FIXED),
        },
    ),
    "grouped convolution": PermutationSpec(
        {"heads": 3} | dict.fromkeys(RQ, 2) | dict.fromkeys(QK, 3),
        {
            # [3 groups x 2 outputs, 3 inputs, 4] folded to [18, 4]
            "conv": (
                ((HEADS, Factor(2, RQ), Factor(3, tuple(n for n in QK for _ in range(2)))),),
                plain(4),
            ),
            "before": (((HEADS, Factor(3, QK)),), FIXED),
            "after": (FIXED, ((HEADS, Factor(2, RQ)),)),
        },
    ),
    "units in fixed places": PermutationSpec(
        dict.fromkeys(QK, 3),
        {"a": (((Factor(3), Factor(3, QK)),), FIXED), "b": (FIXED, ((Factor(3), Factor(3, QK)),))},
    ),
    "arranged": PermutationSpec(
        {"g": 3, "h": 2},
        {
            "a": (
                arranged((0, 3, 1, 5, 2, 4, 6), *plain(3, "g"), *plain(2, "h"), *plain(2)),
                FIXED,
            ),
            "b": (FIXED, arranged((0, 5, 1, 3, 2, 4), *plain(3, "g"), *plain(3, "g"))),
            "c": (plain(2, "h"), plain(3, "g")),
        },
    ),
    "heads that vary faster": PermutationSpec(
        {"heads": 3, **dict.fromkeys(QK, 2)},
        {
            "q": (arranged((0, 2, 4, 1, 3, 5), (HEADS, Factor(2, QK))), FIXED),
            "k": (((HEADS, Factor(2, QK)),), FIXED),
        },
    ),
}


def states(spec, seed):
    """Two independent states of the shapes that the spec names, in double precision."""
    generator = stream(seed, "states")
    shapes = {name: [axis_size(axis) for axis in axes] for name, axes in spec.axes.items()}
    return [
        {
            name: torch.randn(shape, generator=generator, dtype=torch.float64)
            for name, shape in shapes.items()
        }
        for _ in range(2)
    ]


def overlap_by_hand(spec, a, b, perm):
    moved = spec.apply(perm, b)
    return sum(float((a[name] * moved[name]).sum()) for name in a)


def best_by_hand(spec, a, b):
    choices = [
        [(group, torch.tensor(order)) for order in itertools.permutations(range(units))]
        for group, units in spec.groups.items()
    ]
    return max(overlap_by_hand(spec, a, b, dict(perm)) for perm in itertools.product(*choices))
