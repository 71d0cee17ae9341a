"""The overlap, its blocks, scores, bound and slopes, on states and specs made by hand."""

import itertools

import pytest
import torch
from scipy.optimize import linear_sum_assignment

from llfc.matching.ascent.relaxation import even_mixtures
from llfc.matching.overlap.assignment import best_assignment, best_total, total_score
from llfc.matching.overlap.overlap import Overlap
from llfc.matching.overlap.terms import Term, total
from llfc.symmetry.spec import PermutationSpec
from llfc.symmetry.spec.axes import axis_size
from llfc.symmetry.spec.blocks import blocks, place
from tests.helpers.handmade_specs import (
    FIXED,
    SPECS,
    best_by_hand,
    overlap_by_hand,
    plain,
    states,
)


@pytest.fixture(params=sorted(SPECS))
def spec(request):
    return SPECS[request.param]


@pytest.mark.parametrize("units", [1, 2, 50])
def test_of_one_number_a_unit_the_largest_total_is_that_of_an_assignment(units):
    a, b = torch.randn(2, units, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    score = torch.outer(a, b)
    assert best_total(a, b) == pytest.approx(total_score(score, best_assignment(score)))


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


def test_the_bound_holds_for_every_permutation_and_is_reached_by_a_network_and_itself(spec):
    a, b = states(spec, 6)
    overlap = Overlap(a, b, spec)
    assert max(overlap.value(spec.random(seed)) for seed in range(30)) <= overlap.bound
    assert overlap.bound <= von_neumann(spec, a, b) + 1e-9
    planted = spec.random(0)
    same = Overlap(a, spec.apply(planted, a), spec)
    assert same.value(spec.inverse(planted)) == pytest.approx(same.bound, rel=1e-9)


def von_neumann(spec, a, b):
    """Every tensor by its singular values, as if units lay on both of its sides."""
    return sum(
        float(torch.linalg.svdvals(matrix(a[name])) @ torch.linalg.svdvals(matrix(b[name])))
        for name in spec.axes
    )


def matrix(tensor):
    return tensor.reshape(len(tensor) if tensor.ndim else 1, -1)


def test_layers_of_one_permuted_side_are_bounded_by_what_they_reach():
    """A single hidden layer has no other: its best permutation is the bound, layer by layer."""
    groups, axes = {"g": 4}, {"in": (plain(4, "g"), FIXED)}
    alone = PermutationSpec(groups, axes)
    a, b = states(alone, 2)
    assert Overlap(a, b, alone).bound == pytest.approx(best_by_hand(alone, a, b), rel=1e-12)
    spec = PermutationSpec(groups, axes | {"bias": (plain(4, "g"),), "out": (FIXED, plain(4, "g"))})
    a, b = states(spec, 2)
    best, bound = best_by_hand(spec, a, b), Overlap(a, b, spec).bound
    assert best <= bound < 0.8 * von_neumann(spec, a, b)


def test_the_certificate_of_complex_parameters_counts_both_parts():
    spec = SPECS["chain"]
    (a, b), (a_i, b_i) = states(spec, 0), states(spec, 1)
    whole_a, whole_b = ({n: torch.complex(x[n], y[n]) for n in x} for x, y in ((a, a_i), (b, b_i)))
    overlap, perm = Overlap(whole_a, whole_b, spec), spec.random(2)
    expected = overlap_by_hand(spec, a, b, perm) + overlap_by_hand(spec, a_i, b_i, perm)
    assert overlap.value(perm) == pytest.approx(expected, abs=1e-9)
    assert max(overlap.value(spec.random(seed)) for seed in range(30)) <= overlap.bound
    same = Overlap(whole_a, spec.apply(perm, whole_a), spec)
    assert same.value(spec.inverse(perm)) == pytest.approx(same.bound, rel=1e-9)


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


def test_values_that_are_kept_are_those_summed_anew(spec, monkeypatch):
    """To the bit, and a block whose units have not moved is not summed again."""
    a, b = states(spec, 0)
    overlap, summed = Overlap(a, b, spec), []
    anew = Term._value
    monkeypatch.setattr(Term, "_value", lambda term, at: summed.append(term) or anew(term, at))
    best = spec.random(0)
    for seed in range(4):
        group = sorted(spec.groups)[seed % len(spec.groups)]
        tried = {**best, group: spec.random(seed + 1)[group]}
        for index in (best, tried, best, tried):
            fresh = Overlap(a, b, spec).value(index)
            summed.clear()
            assert overlap.value(index) == fresh
        assert not summed
    assert overlap.value(spec.random(9)) == Overlap(a, b, spec).value(spec.random(9))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("units", [1, 7, 300])
def test_the_assignment_is_scipys_of_the_scores_as_they_are(units, dtype):
    score = torch.randn(units, units, generator=torch.Generator().manual_seed(1)).to(dtype)
    before = score.clone()
    _, wanted = linear_sum_assignment(score.double().numpy(), maximize=True)
    assert best_assignment(score).tolist() == wanted.tolist()
    assert torch.equal(score, before)


def test_a_sum_of_scores_adds_from_the_first_to_the_last_and_leaves_them_alone():
    parts = [torch.randn(600, 600, generator=torch.Generator().manual_seed(s)) for s in range(4)]
    before = [part.clone() for part in parts]
    assert torch.equal(total(parts), ((parts[0] + parts[1]) + parts[2]) + parts[3])
    assert total(parts[:1]) is parts[0]
    assert all(map(torch.equal, parts, before))
