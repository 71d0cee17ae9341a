"""Correlations are scipy's and statsmodels'; their intervals are over whole seeds."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.spatial.distance import pdist, squareform

from analysis.runs.pairs import count_networks, count_pairs
from analysis.statistics.coefficients import METHODS, clip, correlation, step
from analysis.statistics.correlations import correlations
from analysis.statistics.over_seeds import over_seeds
from tests.helpers.fabricated_runs import grid, runs_of, width_grid


def frame(x, y, seeds):
    return pd.DataFrame({"x": x, "y": y, "seed": seeds, "matching": "none"})


@pytest.fixture
def noisy():
    rng = np.random.default_rng(0)
    x = rng.uniform(1, 2, size=12)
    return frame(x, x + 0.3 * rng.standard_normal(12) + 2, np.repeat([0, 1, 2], 4))


def test_values_are_scipys(noisy):
    found = correlations(noisy, "x", "y").set_index("method")["value"]
    x, y = noisy["x"], noisy["y"]
    assert found["Spearman"] == stats.spearmanr(x, y).statistic
    assert found["Kendall"] == stats.kendalltau(x, y).statistic
    assert found["Pearson"] == stats.pearsonr(x, y).statistic
    assert found["Pearson, log-log"] == stats.pearsonr(np.log(x), np.log(y)).statistic


def test_a_power_law_is_perfect_log_log_and_in_ranks(noisy):
    found = correlations(noisy.assign(y=noisy["x"] ** 3), "x", "y").set_index("method")["value"]
    assert found["Pearson, log-log"] == pytest.approx(1)
    assert found["Spearman"] == pytest.approx(1)
    assert found["Kendall"] == pytest.approx(1)
    assert found["Pearson"] < 1


def distance_covariance(x, y):
    """By sums over pairs and triples of trials (Székely, Rizzo & Bakirov, 2007, theorem 2)."""
    a, b = (squareform(pdist(column[:, None])) for column in (x, y))
    return (a * b).mean() + a.mean() * b.mean() - 2 * (a.mean(0) * b.mean(0)).mean()


def test_the_distance_correlation_is_that_of_sums_over_pairs_and_triples(noisy):
    found = correlations(noisy, "x", "y", methods=["distance"]).iloc[0]
    x, y = noisy["x"].to_numpy(), noisy["y"].to_numpy()
    spread = np.sqrt(distance_covariance(x, x) * distance_covariance(y, y))
    assert found["value"] == pytest.approx(np.sqrt(distance_covariance(x, y) / spread))
    assert math.isnan(found["p"])  # it is positive where nothing goes together


def test_the_distance_correlation_is_1_on_a_line_and_sees_what_ranks_do_not():
    x = np.arange(-4.0, 5.0)
    assert correlation(np.stack([x, 3 - 2 * x], 1), "distance") == pytest.approx(1)
    assert correlation(np.stack([x, x * x], 1), "Spearman") == pytest.approx(0)
    assert correlation(np.stack([x, x * x], 1), "distance") > 0.4
    apart = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])  # independent: 0, not NaN
    assert correlation(apart, "distance") == pytest.approx(0, abs=1e-7)


@pytest.mark.parametrize("method", ["Spearman", "Kendall", "Pearson", "Pearson, log-log"])
def test_within_a_seed_is_the_seeds_own_correlation_averaged(noisy, method):
    row = correlations(noisy, "x", "y", methods=[method]).iloc[0]
    own = [METHODS[method].statistic(part["x"], part["y"]) for _, part in noisy.groupby("seed")]
    expected = over_seeds(np.clip(own, -1, 1 - METHODS[method].step(4) / 2), "fisher")
    assert row["within"] == pytest.approx(expected.value)
    assert (row["low"], row["high"]) == pytest.approx((expected.low, expected.high))
    assert row["p"] == pytest.approx(expected.p)
    assert (row["seeds"], row["note"]) == (3, "")


def test_what_differs_between_seeds_only_does_not_count_within_them(noisy):
    moved = noisy.assign(x=noisy["x"] + 50 * noisy["seed"], y=noisy["y"] - 50 * noisy["seed"])
    still = correlations(noisy, "x", "y", methods=["Pearson"]).iloc[0]
    row = correlations(moved, "x", "y", methods=["Pearson"]).iloc[0]
    assert row["within"] == pytest.approx(still["within"])
    assert row["value"] < -0.9 < 0.5 < row["within"]


@pytest.mark.parametrize("method", ["Spearman", "Kendall"])
@pytest.mark.parametrize("count", [4, 5, 7])
def test_a_step_is_the_distance_of_perfect_ranks_from_the_next(method, count):
    order = np.arange(count, dtype=float)
    swapped = order[[1, 0, *range(2, count)]]
    next_best = METHODS[method].statistic(order, swapped)
    assert 1 - next_best == pytest.approx(METHODS[method].step(count))


@pytest.mark.parametrize("method", ["Spearman", "Kendall"])
@pytest.mark.parametrize("count", [4, 7])
def test_with_ties_the_next_value_is_nearer(method, count):
    order = np.arange(count)
    one_tie = METHODS[method].statistic(order, np.maximum(order, 1))
    assert one_tie == pytest.approx(1 - step(method, count, tied=True))
    rng = np.random.default_rng(0)
    for _ in range(100):
        x, y = rng.integers(0, count, (2, count))
        x[:2], y[:2] = (0, 1), rng.permutation(2)  # neither is constant
        value = METHODS[method].statistic(np.sort(x), np.sort(y))
        assert value <= one_tie + 1e-12 or value == pytest.approx(1)


@pytest.mark.parametrize("method", ["Spearman", "Kendall"])
@pytest.mark.parametrize("count", [4, 9, 30])
def test_only_perfect_coefficients_are_moved_and_stay_the_largest(method, count):
    for tied in (False, True):
        gap = step(method, count, tied=tied)
        found = np.array([-1, -0.999999, -1 + gap, 0, 0.5, 1 - gap, 0.999999, 1 - 1e-15])
        moved = clip(found, gap)
        assert moved[1:-1].tolist() == found[1:-1].tolist()
        assert moved[[0, -1]] == pytest.approx([-1 + gap / 2, 1 - gap / 2])
        assert moved[-1] > 1 - gap


def test_seeds_with_ties_are_averaged_as_they_are():
    """Nine trials, two of them tied: 0.9958 is no perfect order, and above half a step below 1."""
    x = np.arange(9.0)
    orders = [[0, 0, 2, 3, 4, 5, 6, 7, 8], [0, 0, 2, 3, 5, 4, 6, 7, 8], [0, 0, 3, 2, 4, 5, 6, 7, 8]]
    trials = frame(np.tile(x, 3), np.ravel(orders).astype(float), np.repeat([0, 1, 2], 9))
    row = correlations(trials, "x", "y", methods=["Spearman"]).iloc[0]
    own = [stats.spearmanr(x, order).statistic for order in orders]
    assert max(own) > 1 - METHODS["Spearman"].step(9) / 2
    low, high = np.tanh(stats.ttest_1samp(np.arctanh(own), 0).confidence_interval(0.95))
    assert row["within"] == pytest.approx(np.tanh(np.mean(np.arctanh(own))))
    assert (row["low"], row["high"]) == pytest.approx((low, high))


def test_one_perfect_seed_leaves_an_interval():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((3, 6))
    y = np.stack([x[0], x[1] + rng.normal(0, 1, 6), x[2] + rng.normal(0, 1, 6)])
    trials = frame(x.ravel(), y.ravel(), np.repeat([0, 1, 2], 6))
    row = correlations(trials, "x", "y", methods=["Spearman"]).iloc[0]
    assert row["low"] < row["within"] < row["high"] < 1


def test_seeds_that_are_copies_have_no_interval():
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal((2, 6))
    copies = frame(np.tile(x, 4), np.tile(y, 4), np.repeat([0, 1, 2, 3], 6))
    row = correlations(copies, "x", "y", methods=["Pearson"]).iloc[0]
    assert row["within"] == pytest.approx(row["value"])
    assert row["note"] == "no interval: the seeds do not differ"


@pytest.mark.parametrize("seeds", [1, 2])
def test_two_seeds_have_no_interval(seeds):
    x = np.arange(8.0)
    row = correlations(frame(x, x**2, x % seeds), "x", "y").iloc[0]
    assert row["value"] == row["within"] == pytest.approx(1)
    assert all(math.isnan(row[end]) for end in ("low", "high", "p"))
    some = "1 seed" if seeds == 1 else "2 seeds"
    assert row["note"] == f"no interval: {some}, at least 3 are needed"


def test_seeds_of_few_trials_say_nothing_by_themselves(noisy):
    row = correlations(noisy.assign(seed=range(12)), "x", "y").iloc[0]
    assert math.isnan(row["within"])
    assert row["value"] == stats.spearmanr(noisy["x"], noisy["y"]).statistic
    assert row["note"] == "no interval: no seed has 4 trials that differ"


@pytest.mark.parametrize("y", [[1.0, 2.0], [1.0, 1.0, 1.0, 1.0]])
def test_what_has_no_correlation_gets_none(y):
    rows = correlations(frame(np.arange(len(y)), y, range(len(y))), "x", "y")
    assert rows["value"].isna().all()
    assert rows["note"].str.startswith("undefined").all()


def test_rows_that_a_method_cannot_use_are_counted(noisy):
    noisy.loc[0, "x"] = np.nan
    noisy.loc[1, "y"] = 0.0
    found = correlations(noisy, "x", "y").set_index("method")
    assert found.loc["Pearson", "left_out"] == 1
    assert found.loc["Pearson, log-log", "left_out"] == 2
    assert found.loc["Pearson, log-log", "trials"] == 10


def test_groups_are_correlated_by_themselves():
    trials = runs_of(width_grid()).trials
    error, barrier = "llfc_error_mean", "test_loss_chord"
    found = correlations(trials, error, barrier, by=["matching"], methods=["Pearson"])
    assert found["group"].tolist() == [
        "all", "matching none", "matching weights", "matching activations",
    ]  # fmt: skip
    part = trials[trials["matching"] == "weights"]
    value = stats.pearsonr(part[error], part[barrier]).statistic
    assert found.loc[found["group"] == "matching weights", "value"].item() == value


def test_pairs_and_networks_are_counted():
    spawned = grid(spawn_epoch=[None, 0, 2], seed=[0, 1], matching=["none", "weights"])
    trials = runs_of(spawned).trials
    assert count_pairs(trials) == 6
    networks = {n for one in spawned for n in (one.pair.a, one.pair.b)}
    assert count_networks(trials) == len(networks)
    shared = grid(spawn_epoch=[None, 2], seed=[0, 1], shared_data=[None, 1.0, 0.5, 0.0])
    networks = {n for one in shared for n in (one.pair.a, one.pair.b)}
    assert count_networks(runs_of(shared).trials) == len(networks)


def test_cells_of_the_grid_are_groups():
    trials = runs_of(width_grid()).trials
    cells = [("width", "matching")]
    found = correlations(trials, "llfc_error_mean", "test_loss_chord", by=cells)
    assert found["group"].nunique() == 1 + 15
    assert "width 0.125, matching none" in set(found["group"])
    assert set(found.loc[found["group"] != "all", "trials"]) == {3}


@pytest.mark.slow
def test_permutations_are_drawn_on_demand():
    trials = runs_of(width_grid()).trials
    given = (trials, "llfc_error_mean", "test_loss_chord")
    assert correlations(*given)["p_permuted"].isna().all()
    found = correlations(*given, permutations=999)
    assert found["p_permuted"].eq(found["p_permuted"].iloc[0]).all()
    assert found["p_permuted"].iloc[0] == pytest.approx(1 / 120)  # of five pairs, 120 orders
