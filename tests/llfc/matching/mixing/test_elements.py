"""The best map of one group, against brute force, SciPy and what was planted."""

import itertools

import numpy as np
import pytest
import scipy.linalg
import scipy.optimize
import torch

from llfc.matching.mixing.elements import BEST
from llfc.matching.mixing.invertible import best_shrunk, solved
from llfc.matching.mixing.products import crossed, distance, products
from llfc.symmetry.transform.drawing import random_element

UNITS = 4
POWERS = {"permutation": (1, -1, 0), "signed": (1, -1, 0), "scaled": (1, -1, 0, -2)}


def drawn(kind, seed, rest=3):
    """Unrelated rows of A and B at each power of a map of this kind."""
    generator = torch.Generator().manual_seed(seed)
    return [
        (power, *torch.randn(2, UNITS, rest, generator=generator, dtype=torch.float64))
        for power in POWERS.get(kind, (1, -1))
    ]


def away(element, rows):
    """|A - E B|^2, of the rows themselves."""
    return sum(float((a - element.apply(b, power)).square().sum()) for power, a, b in rows)


@pytest.mark.parametrize("kind", BEST)
@pytest.mark.parametrize("seed", range(3))
def test_what_is_planted_is_undone(kind, seed):
    rows = drawn(kind, seed, rest=9)
    element = random_element(kind, torch.randperm(UNITS), torch.Generator().manual_seed(seed))
    rows = [(power, a, element.apply(a, power)) for power, a, _ in rows]
    found, gain = BEST[kind](products(rows, gram=True))
    assert away(found, rows) < 1e-9
    before = sum(float((a - b).square().sum()) for _, a, b in rows)
    assert gain == pytest.approx(before)
    both = found.after(element).as_matrix()
    assert torch.allclose(both, torch.eye(UNITS, dtype=torch.float64), atol=1e-6)


@pytest.mark.parametrize("kind", BEST)
@pytest.mark.parametrize("seed", range(3))
def test_the_gain_is_what_the_distance_falls_by(kind, seed):
    rows = drawn(kind, seed)
    found, gain = BEST[kind](products(rows, gram=True))
    before = sum(float((a - b).square().sum()) for _, a, b in rows)
    assert distance(products(rows)) == pytest.approx(before)
    assert before - away(found, rows) == pytest.approx(gain)
    assert gain > 0
    assert {found.kind} <= {kind, "permutation"}


@pytest.mark.parametrize("seed", range(3))
def test_no_other_permutation_with_signs_or_scales_is_closer(seed):
    """All of them by hand; scales by SciPy, around the best of a fine grid."""
    for kind in ("permutation", "signed", "scaled"):
        rows = drawn(kind, seed)
        found, _ = BEST[kind](products(rows))
        pairs = itertools.product(range(UNITS), repeat=2)
        by_hand = {pair: pair_by_hand(kind, rows, *pair) for pair in pairs}
        orders = itertools.permutations(range(UNITS))
        least = min(sum(by_hand[pair] for pair in enumerate(order)) for order in orders)
        assert away(found, rows) == pytest.approx(least, rel=1e-6)


def pair_by_hand(kind, rows, i, j):
    """The least squared distance of unit i of A from unit j of B."""

    each = [(p, a[i].numpy(), b[j].numpy()) for p, a, b in rows]

    def at(factor):
        return sum(float(np.square(a - factor**p * b).sum()) for p, a, b in each)

    if kind != "scaled":
        return min(map(at, (1.0, -1.0) if kind == "signed" else (1.0,)))
    grid = np.arange(-5, 5, 0.1)
    factors = np.exp(grid)[:, None]
    best = grid[sum(np.square(a - factors**p * b).sum(1) for p, a, b in each).argmin()]
    return scipy.optimize.minimize_scalar(
        lambda t: at(np.exp(t)), bounds=(best - 0.1, best + 0.1), method="bounded"
    ).fun


def test_a_ridge_draws_to_the_rotation_as_far_as_nothing_is_explained():
    rows = drawn("invertible", 0, rest=9)[:1]
    found = products(rows, gram=True)
    shrunk, gain = best_shrunk(found)
    assert distance(found) - away(shrunk, rows) == pytest.approx(gain)
    free, rotation = BEST["invertible"](found)[0].matrix, BEST["orthogonal"](found)[0].matrix
    assert (shrunk.matrix - rotation).norm() < 0.9 * (free - rotation).norm()
    explained = products([(1, a, 2 * a) for _, a, _ in rows], gram=True)
    half = torch.eye(UNITS, dtype=torch.float64) / 2
    assert torch.allclose(best_shrunk(explained)[0].matrix, half)


def test_rotations_are_those_of_scipy():
    rows = drawn("orthogonal", 0)
    a, b = (torch.cat([row[side] for row in rows], 1).T.numpy() for side in (1, 2))
    expected, value = scipy.linalg.orthogonal_procrustes(b, a)
    found, gain = BEST["orthogonal"](products(rows))
    assert np.allclose(found.matrix.T, expected)
    assert gain == pytest.approx(2 * (value - np.sum(a * b)))


def test_the_sylvester_equation_is_solved_as_by_scipy():
    found = products(drawn("invertible", 0, rest=6), gram=True)
    left, right, wanted = found[-1].a, found[1].b, crossed(found)
    expected = scipy.linalg.solve_sylvester(left.numpy(), right.numpy(), wanted.numpy())
    assert np.allclose(solved(left, right, wanted, torch.zeros_like(wanted)), expected)


def test_what_the_sylvester_equation_does_not_say_is_left():
    """One row on each side of four units: the rest of the map is the identity's."""
    rows = [(power, a, a) for power, a, _ in drawn("invertible", 1, rest=1)]
    found = products(rows, gram=True)
    eye = torch.eye(UNITS, dtype=torch.float64)
    assert torch.allclose(solved(found[-1].a, found[1].b, crossed(found), eye), eye)


@pytest.mark.parametrize("seed", range(3))
def test_the_invertible_map_is_a_minimum(seed):
    """No nearby map is closer, nor the best rotation."""
    rows = drawn("invertible", seed)
    found, _ = BEST["invertible"](products(rows, gram=True))
    rotation, _ = BEST["orthogonal"](products(rows))
    least = away(found, rows)
    assert least <= away(rotation, rows)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(5):
        step = 1e-2 * torch.randn(UNITS, UNITS, generator=generator, dtype=torch.float64)
        assert away(type(found)(matrix=found.matrix + step @ found.matrix), rows) > least
