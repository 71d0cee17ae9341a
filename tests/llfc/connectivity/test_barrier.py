"""From curve to number: what may never happen, what changes nothing, and plain numpy."""

import numpy as np
import pytest

from llfc.connectivity.barrier import (
    all_barriers,
    chord_barrier,
    curve_summaries,
    excess_area,
    lemma1_slack,
    mean_barrier,
    midpoint_gap,
)
from llfc.results import BARRIERS, midpoint

seeds = pytest.mark.parametrize("seed", range(5))


def draw(seed, size=11):
    rng = np.random.default_rng(seed)
    alpha = np.concatenate([[0], np.sort(rng.uniform(size=size - 2)), [1]])
    return alpha, rng.uniform(size=size)


@seeds
@pytest.mark.parametrize("number", [chord_barrier, midpoint_gap, excess_area])
def test_what_is_above_the_chord_is_unmoved_by_what_does_not_bend_the_curve(number, seed):
    alpha, loss = draw(seed)
    height = number(alpha, loss)
    assert number(alpha, loss + 3 - 2 * alpha) == pytest.approx(height)  # adding a line
    assert number(alpha, 4 * loss) == pytest.approx(4 * height)
    assert number(1 - alpha[::-1], loss[::-1]) == pytest.approx(height)  # swapping the ends
    assert number(alpha, 1 + alpha) == pytest.approx(0, abs=1e-15)


@seeds
def test_definitions_are_what_numpy_says(seed):
    alpha, loss = draw(seed)
    chord = np.interp(alpha, [0, 1], [loss[0], loss[-1]])
    at = int(np.argmin(abs(alpha - 0.5)))
    assert chord_barrier(alpha, loss) == pytest.approx((loss - chord).max())
    assert mean_barrier(alpha, loss) == pytest.approx(loss.max() - loss[[0, -1]].mean())
    assert midpoint_gap(alpha, loss) == pytest.approx((loss - chord)[at])
    steps, excess = np.diff(alpha), loss - chord
    area = (steps * (excess[1:] + excess[:-1]) / 2).sum()
    assert excess_area(alpha, loss) == pytest.approx(area)


@seeds
def test_chord_barrier_is_never_negative_and_mean_barrier_may_only_exceed_it_by_the_slope(seed):
    alpha, loss = draw(seed)
    chord, mean = chord_barrier(alpha, loss), mean_barrier(alpha, loss)
    assert chord >= 0
    assert chord_barrier(alpha, -abs(alpha - 0.5)) == pytest.approx(0.5 - abs(alpha - 0.5).min())
    assert chord_barrier(alpha, abs(alpha - 0.5)) == 0  # below its chord
    assert abs(mean - chord) <= abs(loss[-1] - loss[0]) / 2 + 1e-15


def test_level_curve_has_no_barrier_at_all():
    alpha = np.linspace(0, 1, 25)
    assert chord_barrier(alpha, np.full(25, 0.1)) == 0
    assert mean_barrier(alpha, np.full(25, 0.1)) == 0


def test_middle_is_the_nearest_position_and_the_first_of_two():
    assert midpoint(np.linspace(0, 1, 25)) == 12
    assert midpoint([0, 0.1, 0.3, 0.9, 1]) == 2
    assert midpoint([0, 0.25, 0.75, 1]) == 1


def test_all_barriers_and_summaries_are_there():
    alpha, loss = draw(0)
    columns = {name: draw(seed)[1] for seed, name in enumerate(("train_error", "test_loss"))}
    missing = np.full(len(alpha), np.nan)
    curve = {"alpha": alpha, "train_loss": missing, "test_error": loss, **columns}
    found = all_barriers(curve)
    assert tuple(found) == BARRIERS
    assert found["test_error_chord"] == chord_barrier(alpha, loss)
    assert found["test_loss_mean"] == mean_barrier(alpha, curve["test_loss"])
    assert all(np.isnan(found[f"train_loss_{kind}"]) for kind in ("chord", "mean"))
    scalars = curve_summaries(curve)
    for column in ("train_loss", "train_error", "test_loss", "test_error"):
        assert {f"{column}_{kind}" for kind in ("a", "b", "mid", "gap", "area")} <= set(scalars)
        expected = pytest.approx(curve[column][0], nan_ok=True)
        assert scalars[f"{column}_a"] == expected
    assert scalars["test_error_b"] == loss[-1]
    assert scalars["test_error_mid"] == loss[midpoint(alpha)]
    assert np.isnan(scalars["train_loss_gap"])
    assert np.isnan(scalars["train_loss_area"])


def test_lemma_1_slack():
    assert lemma1_slack([0.1, 0.3, 0.2]) == pytest.approx(0)
    assert lemma1_slack([0.1, 0.9, 0.2]) == pytest.approx(-0.6)
    assert lemma1_slack([0.1, 0.15, 0.2]) == pytest.approx(0.1)  # the worst is an end


@pytest.mark.parametrize(
    ("alpha", "line"),
    [
        ([0.1, 0.5, 1.0], "alpha must ascend from 0 to 1, got [0.1, 0.5, 1.0]"),
        ([0.0, 0.5, 0.9], "alpha must ascend from 0 to 1, got [0.0, 0.5, 0.9]"),
        ([0.0, 0.0, 1.0], "alpha must ascend from 0 to 1, got [0.0, 0.0, 1.0]"),
        ([0.0, 1.0], "alpha and curve must have one shape [P], got (2,) and (3,)"),
    ],
)
def test_positions_that_are_none_are_refused(alpha, line):
    for number in (chord_barrier, mean_barrier, midpoint_gap, excess_area):
        with pytest.raises(ValueError, match=r".") as refused:
            number(alpha, [1.0, 2.0, 1.0])
        assert str(refused.value) == line
