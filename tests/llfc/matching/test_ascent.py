"""The ascent, its swaps and the relaxation before it; brute force decides."""

import itertools

import pytest
import torch

from llfc.matching.ascent.ascent import ascend
from llfc.matching.ascent.relaxation import relaxed
from llfc.matching.ascent.swaps import best_swap
from llfc.matching.overlap.overlap import Overlap
from llfc.seeds import stream
from llfc.symmetry.spec import PermutationSpec
from llfc.symmetry.spec.axes import Factor
from llfc.symmetry.spec.blocks import too_deep
from tests.helpers.handmade_specs import (
    FIXED,
    HEADS,
    RQ,
    SPECS,
    best_by_hand,
    plain,
    states,
)


@pytest.fixture(params=sorted(SPECS))
def spec(request):
    return SPECS[request.param]


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


def test_an_ascent_ends_where_a_group_is_nested_in_one_tensor_and_alone_in_another():
    axis = ((HEADS, Factor(2, RQ), Factor(4, tuple(f"u{i}" for i in range(6)))),)
    sizes = {"heads": 3, "s": 4} | dict.fromkeys(RQ, 2) | {f"u{i}": 4 for i in range(6)}
    spec = PermutationSpec(sizes, {"a": (axis, FIXED), "b": (plain(4, "u0"), plain(4, "s"))})
    a, b = states(spec, 0)
    overlap, start = Overlap(a, b, spec), dict(spec.identity())
    # Of others it would wait for ever.
    assert all(near <= set(overlap.roots) for near in map(overlap.neighbours, overlap.roots))
    found, _ = ascend(overlap, start, stream(0, "order"), most=50)
    assert overlap.value(found) >= overlap.value(start)


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
    for seed in range(2):
        a, b = states(spec, seed)
        overlap, generator = Overlap(a, b, spec), stream(seed, "order")
        starts = [spec.random(number) for number in range(20)]
        values = [overlap.value(ascend(overlap, start, generator)[0]) for start in starts]
        assert max(values) == pytest.approx(best_by_hand(spec, a, b), abs=1e-9)


def test_a_planted_permutation_is_undone(spec):
    a, _ = states(spec, 5)
    planted = spec.random(2)
    overlap, generator = Overlap(a, spec.apply(planted, a), spec), stream(0, "order")
    starts = [spec.identity(), *(spec.random(seed) for seed in range(20))]
    best = max((ascend(overlap, s, generator)[0] for s in starts), key=overlap.value)
    assert spec.compose(planted, best) == spec.identity()


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


def test_the_relaxation_finds_a_planted_permutation():
    """From the even mixture, where no unit is told from another but by its own numbers."""
    spec = SPECS["chain"]
    for seed in range(5):
        a, _ = states(spec, seed)
        planted = spec.random(seed)
        index, steps = relaxed(Overlap(a, spec.apply(planted, a), spec))
        assert spec.compose(planted, index) == spec.identity()
        assert steps < 30
