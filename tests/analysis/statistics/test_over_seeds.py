"""Seeds are averaged on a scale, with scipy's t interval; too few say that they are too few."""

import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.power import TTestPower

from analysis.statistics.over_seeds import over_seeds, seeds_needed

GIVEN = [0.2, 0.5, 0.7, 0.4]


@pytest.mark.parametrize(
    ("scale", "there", "back"),
    [("plain", lambda x: x, lambda x: x), ("fisher", np.arctanh, np.tanh), ("log", np.log, np.exp)],
)
def test_the_interval_is_scipys_on_the_scale(scale, there, back):
    found = over_seeds(GIVEN, scale)
    test = stats.ttest_1samp(there(np.array(GIVEN)), 0)
    assert found.value == pytest.approx(back(there(np.array(GIVEN)).mean()))
    assert (found.low, found.high) == pytest.approx(tuple(back(test.confidence_interval(0.95))))
    assert found.p == pytest.approx(test.pvalue)
    assert (found.seeds, found.note) == (4, "")


def test_a_seed_without_an_estimate_is_not_counted():
    assert over_seeds([*GIVEN, math.nan]) == over_seeds(GIVEN)


def test_the_order_of_seeds_does_not_matter():
    assert over_seeds(GIVEN[::-1]).low == pytest.approx(over_seeds(GIVEN).low)


@pytest.mark.parametrize(
    ("given", "value", "note"),
    [
        ([], math.nan, "no seed has an estimate"),
        ([0.5], 0.5, "no interval: 1 seed, at least 3 are needed"),
        ([0.4, 0.6], 0.5, "no interval: 2 seeds, at least 3 are needed"),
        ([0.3, 0.3, 0.3], 0.3, "no interval: the seeds do not differ"),
        ([0.1 + 0.2, 0.3, 0.3], 0.3, "no interval: the seeds do not differ"),
    ],
)
def test_where_there_is_no_interval_the_note_says_why(given, value, note):
    found = over_seeds(given)
    assert found.value == pytest.approx(value, nan_ok=True)
    assert all(math.isnan(end) for end in (found.low, found.high, found.p))
    assert found.note == note


def test_a_perfect_correlation_is_at_the_end_of_the_scale():
    found = over_seeds([0.5, 0.8, 1.0], "fisher")
    assert found.note == "no interval: a seed's estimate is at the end of the scale"
    assert found.value == 1.0


def test_an_interval_is_cut_at_what_is_possible():
    shares = [0.9, 0.97, 1.0]
    whole, cut = over_seeds(shares), over_seeds(shares, possible=(0, 1))
    assert whole.high > 1
    assert cut.high == 1
    assert (cut.value, cut.low, cut.p) == (whole.value, whole.low, whole.p)


@pytest.mark.parametrize("given", [[1.0, math.inf, 2.0], [math.inf, math.inf, math.inf]])
def test_seeds_of_which_one_is_infinite_are_not_said_to_agree(given):
    found = over_seeds(given)
    assert found.value == math.inf
    assert found.note == "no interval: a seed's estimate is at the end of the scale"


@pytest.mark.parametrize(
    "given",
    [GIVEN, [-0.1, 0.2, 0.3, 0.4], [0.3, -0.2, 0.1, -0.1, 0.2, math.nan], [-1.0, -1.01, -0.99]],
)
def test_with_so_many_seeds_the_power_is_first_that_of_statsmodels(given):
    known = np.array([value for value in given if not math.isnan(value)])
    effect, count = known.mean() / known.std(ddof=1), seeds_needed(given)
    assert TTestPower().power(effect, count, 0.05) >= 0.8
    assert count == 3 or TTestPower().power(effect, count - 1, 0.05) < 0.8
    assert seeds_needed([-value for value in given]) == count
    assert seeds_needed([100 * value for value in given]) == count


def test_how_many_seeds_are_needed_can_be_unknown_or_more_than_there_will_be():
    assert all(math.isnan(seeds_needed(few)) for few in ([], [0.1, 0.2], [0.1, 0.1, 0.1]))
    assert seeds_needed([1.0, -1.0, 1.0, -1.0]) == math.inf
