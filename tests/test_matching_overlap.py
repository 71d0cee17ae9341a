"""The overlap, its scores and the ascent, on states and specs made by hand; brute force decides."""

import itertools

import pytest
import torch

from llfc.matching.ascent import ascend
from llfc.matching.axes import Factor, axis_size
from llfc.matching.blocks import blocks, place, too_deep
from llfc.matching.overlap import Overlap
from llfc.matching.permutation import PermutationSpec
from llfc.matching.relaxation import even_mixtures, relaxed
from llfc.matching.swaps import best_swap
from llfc.seeds import stream


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


@pytest.fixture(params=sorted(SPECS))
def spec(request):
    return SPECS[request.param]


def test_the_value_is_the_sum_of_inner_products_of_the_permuted_tensors(spec):
    a, b = states(spec, 0)
    overlap = Overlap(a, b, spec)
    for seed in range(3):
        perm = spec.random(seed)
        assert overlap.value(perm) == pytest.approx(overlap_by_hand(spec, a, b, perm), abs=1e-9)


def test_blocks_hold_every_position_once_and_move_as_the_spec_says(spec):
    perm = spec.random(1)
    for axis in {axis for axes in spec.axes.values() for axis in axes}:
        moved = torch.full((axis_size(axis),), -1)
        for block in blocks(axis):
            new = block.positions
            for dim, cluster in enumerate(block.clusters):
                new = new.index_select(dim, place(cluster, perm))
            assert (moved[block.positions] == -1).all()
            moved[block.positions] = new
        assert torch.equal(moved, spec.index(perm, axis))


def test_groups_nested_in_nested_ones_are_named_and_the_rest_still_moves():
    units = tuple(f"u{i}" for i in range(6))
    axis = ((HEADS, Factor(2, RQ), Factor(4, units)),)
    assert too_deep(axis) == set(units)
    sizes = {"heads": 3} | dict.fromkeys(RQ, 2) | dict.fromkeys(units, 4)
    deep = PermutationSpec(sizes, {"a": (axis, FIXED)})
    a, _ = states(deep, 0)
    still = {name: torch.arange(4) for name in units}
    planted = dict(deep.random(0)) | still
    index, _ = ascend(
        Overlap(a, deep.apply(planted, a), deep), dict(deep.identity()), stream(0, "order")
    )
    assert deep.compose(planted, index) == deep.identity()


def test_scores_are_first_differences_of_the_value_and_never_stale():
    """The score of each pair of units, against the value with that unit moved there."""
    spec = SPECS["chain"]
    a, b = states(spec, 3)
    overlap = Overlap(a, b, spec)
    index = dict(spec.identity())
    for step in range(6):  # partial moves, so that the kept products are updated, not remade
        scores = overlap.scores("h", overlap.places(index))
        (score,) = scores.values()
        for order in itertools.permutations(range(3)):
            moved = index | {"h": torch.tensor(order)}
            rest = overlap.value(moved) - sum(float(score[i, j]) for i, j in enumerate(order))
            if order == (0, 1, 2):
                first = rest
            assert rest == pytest.approx(first, abs=1e-9)
        swap = torch.arange(4)
        swap[[step % 4, (step + 1) % 4]] = swap[[(step + 1) % 4, step % 4]]
        index["g"] = index["g"][swap]


def test_the_ascent_never_ends_below_its_start(spec):
    for seed in range(4):
        a, b = states(spec, seed)
        overlap, generator = Overlap(a, b, spec), stream(seed, "order")
        start = spec.random(seed)
        found, passes = ascend(overlap, start, generator)
        assert overlap.value(found) >= overlap.value(start) - 1e-9
        assert passes >= 1
        again, _ = ascend(overlap, found, generator)
        assert all(torch.equal(again[group], found[group]) for group in found)


def test_the_best_of_several_ascents_is_the_best_of_all_permutations(spec):
    if torch.tensor(list(spec.groups.values())).prod() > 400:
        pytest.skip("too many permutations to try them all")
    for seed in range(3):
        a, b = states(spec, seed)
        overlap, generator = Overlap(a, b, spec), stream(seed, "order")
        starts = [spec.random(number) for number in range(30)]
        values = [overlap.value(ascend(overlap, start, generator)[0]) for start in starts]
        assert max(values) == pytest.approx(best_by_hand(spec, a, b), abs=1e-9)


def test_a_planted_permutation_is_undone(spec):
    a, _ = states(spec, 5)
    planted = spec.random(2)
    overlap, generator = Overlap(a, spec.apply(planted, a), spec), stream(0, "order")
    starts = [spec.identity(), *(spec.random(seed) for seed in range(20))]
    best = max((ascend(overlap, s, generator)[0] for s in starts), key=overlap.value)
    assert spec.compose(planted, best) == spec.identity()


def test_the_bound_holds_for_every_permutation_and_is_reached_by_a_network_and_itself(spec):
    a, b = states(spec, 6)
    overlap = Overlap(a, b, spec)
    assert max(overlap.value(spec.random(seed)) for seed in range(30)) <= overlap.bound
    planted = spec.random(0)
    same = Overlap(a, spec.apply(planted, a), spec)
    assert same.value(spec.inverse(planted)) == pytest.approx(same.bound, rel=1e-9)


def test_equal_networks_stay_in_place_even_where_units_are_equal(spec):
    a, _ = states(spec, 7)
    for name in a:
        a[name] = torch.zeros_like(a[name]) if spec.groups.get(name) else a[name].round()
    index, _ = ascend(Overlap(a, a, spec), dict(spec.identity()), stream(0, "order"))
    assert all(torch.equal(units, torch.arange(len(units))) for units in index.values())


def test_the_four_permutations_of_a_small_counterexample_all_lead_to_the_best():
    """Ainsworth, Hayase & Srinivasa, Git Re-Basin, ICLR 2023, appendix A.7.2."""
    e = 1e-3
    a = {"1": [[1.0], [1 + e]], "2": [[1.0, 0.0], [0.0, e]], "3": [[1.0, 0.0]]}
    b = {"1": [[1.0], [1 + e]], "2": [[0.0, 0.0], [0.0, 1.0]], "3": [[0.0, 1.0]]}
    a, b = ({name: torch.tensor(rows) for name, rows in side.items()} for side in (a, b))
    spec = PermutationSpec(
        {"g": 2, "h": 2},
        {
            "1": (plain(2, "g"), plain(1)),
            "2": (plain(2, "h"), plain(2, "g")),
            "3": (plain(1), plain(2, "h")),
        },
    )
    overlap = Overlap(a, b, spec)
    orders = [torch.tensor([0, 1]), torch.tensor([1, 0])]
    starts = [{"g": g, "h": h} for g in orders for h in orders]
    values = sorted(overlap.value(start) for start in starts)
    assert values == pytest.approx([2.002, 2.003001, 3.002001, 4.002], abs=1e-6)
    for start in starts:
        for seed in range(5):
            found, _ = ascend(overlap, start, stream(seed, "order"))
            assert overlap.value(found) == pytest.approx(4.002, abs=1e-6)


def test_scores_that_are_kept_up_to_date_are_those_made_anew():
    groups = {"g": 12, "h": 10}
    axes = {"1": (plain(10, "h"), plain(12, "g"), plain(3)), "0": (plain(12, "g"), FIXED)}
    spec = PermutationSpec(groups, axes)
    a, b = states(spec, 0)
    kept, index = Overlap(a, b, spec), dict(spec.identity())
    for step in range(6):
        anew = Overlap(a, b, spec)
        for group in groups:
            found = kept.scores(group, kept.places(index))
            for cluster, score in anew.scores(group, anew.places(index)).items():
                assert torch.allclose(found[cluster], score, atol=1e-9)
        index["g"] = index["g"].clone()
        index["g"][[step, step + 3]] = index["g"][[step + 3, step]]


def test_the_best_swap_is_the_best_of_all_swaps():
    spec = SPECS["residual"]
    for seed in range(5):
        a, b = states(spec, seed)
        overlap, index = Overlap(a, b, spec), dict(spec.random(seed))
        places = overlap.places(index)
        ((cluster, score),) = overlap.scores("g", places).items()
        found = best_swap(overlap.squares("g"), cluster, score, index["g"])
        swaps = []
        for i, j in itertools.combinations(range(5), 2):
            units = index["g"].clone()
            units[[i, j]] = units[[j, i]]
            swaps.append(overlap.value({"g": units}))
        stays = overlap.value(index)
        assert overlap.value({"g": found}) == pytest.approx(max([*swaps, stays]), abs=1e-9)


def soft(overlap, seed):
    """Mixtures of two random permutations."""
    one, other = (overlap.places(overlap.spec.random(seed + i)) for i in range(2))
    return {
        c: (torch.eye(len(m)).double()[one[c]] + 2 * torch.eye(len(m)).double()[other[c]]) / 3
        for c, m in even_mixtures(overlap).items()
    }


def test_scores_at_a_permutation_are_slopes_and_sum_to_the_value(spec):
    a, b = states(spec, 8)
    overlap, perm = Overlap(a, b, spec), spec.random(4)
    places = overlap.places(perm)
    assert overlap.value_of_scores(places) == pytest.approx(overlap.value(perm), abs=1e-9)
    corner = {c: torch.eye(len(m)).double()[places[c]] for c, m in even_mixtures(overlap).items()}
    if corner and len(corner) == len(places):  # else what is not mixed would stay in place
        slopes, value = overlap.gradient(corner)
        assert value == pytest.approx(overlap.value(perm), abs=1e-9)
        for group in overlap.soft_roots():
            for cluster, score in overlap.scores(group, places).items():
                assert torch.allclose(slopes[cluster], score, atol=1e-10)


def test_slopes_are_linear_in_mixtures_where_two_groups_meet_in_a_tensor(spec):
    a, b = states(spec, 9)
    overlap = Overlap(a, b, spec)
    assert overlap.bilinear
    start, end = soft(overlap, 0), soft(overlap, 5)
    slopes = [
        overlap.gradient({c: torch.lerp(start[c], end[c], t) for c in start})[0]
        for t in (0.0, 0.3, 1.0)
    ]
    for cluster, between in slopes[1].items():
        expected = torch.lerp(slopes[0][cluster], slopes[2][cluster], 0.3)
        assert torch.allclose(between, expected, atol=1e-10)


def test_the_gradient_at_the_even_mixture_needs_no_mixing(spec):
    a, b = states(spec, 10)
    overlap = Overlap(a, b, spec)
    even = even_mixtures(overlap)
    (quick, value), (slow, expected) = overlap.gradient(even, even=True), overlap.gradient(even)
    assert value == pytest.approx(expected, abs=1e-9)
    assert all(torch.allclose(quick[cluster], slow[cluster], atol=1e-10) for cluster in slow)


def test_the_relaxation_finds_a_planted_permutation():
    """From the even mixture, where no unit is told from another but by its own numbers."""
    spec = SPECS["chain"]
    for seed in range(5):
        a, _ = states(spec, seed)
        planted = spec.random(seed)
        index, steps = relaxed(Overlap(a, spec.apply(planted, a), spec))
        assert spec.compose(planted, index) == spec.identity()
        assert steps < 30
