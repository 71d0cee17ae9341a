"""Correlations are scipy's; their intervals resample whole seeds."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis.correlations import (
    METHODS,
    _bootstrap,
    _jackknife,
    _resamples,
    correlations,
    count_networks,
    count_pairs,
)
from tests.fabricated import grid, runs_of, width_grid


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


@pytest.mark.parametrize("count", [3, 4])
def test_listed_resamples_are_all_ordered_draws(count):
    draws, weights = _resamples(count, np.random.default_rng(0))
    by_hand = {}
    for drawn in itertools.product(range(count), repeat=count):
        key = tuple(np.bincount(drawn, minlength=count))
        by_hand[key] = by_hand.get(key, 0) + 1 / count**count
    listed = dict(zip(map(tuple, draws.tolist()), weights, strict=True))
    assert listed == pytest.approx(by_hand)


def test_many_seeds_are_drawn_at_random_and_repeatably():
    draws, weights = _resamples(20, np.random.default_rng(3))
    assert (draws.sum(axis=1) == 20).all()
    assert weights.sum() == pytest.approx(1)
    assert (draws == _resamples(20, np.random.default_rng(3))[0]).all()


def in_seeds(noisy, count):
    """The same rows in `count` seeds, and the seeds' values."""
    frame = noisy.assign(seed=np.repeat(range(count), len(noisy) // count))
    return frame, [part[["x", "y"]].to_numpy() for _, part in frame.groupby("seed")]


@pytest.mark.parametrize("count", [3, 4])
def test_the_bootstrap_is_the_quantiles_of_every_resample(noisy, count):
    trials, clusters = in_seeds(noisy, count)
    every = [
        stats.pearsonr(*np.concatenate([clusters[i] for i in drawn]).T).statistic
        for drawn in itertools.product(range(count), repeat=count)
    ]
    low, high = np.quantile(every, [0.025, 0.975], method="inverted_cdf")
    row = correlations(trials, "x", "y", methods=["Pearson"]).iloc[0]
    assert (row["low"], row["high"]) == pytest.approx((low, high))


@pytest.mark.parametrize("count", [3, 4])
def test_the_jackknife_is_a_t_interval_of_pseudo_values(noisy, count):
    trials, _ = in_seeds(noisy, count)
    whole = np.arctanh(stats.pearsonr(trials["x"], trials["y"]).statistic)
    pseudo = []
    for out in range(count):
        rest = trials[trials["seed"] != out]
        left = np.arctanh(stats.pearsonr(rest["x"], rest["y"]).statistic)
        pseudo.append(count * whole - (count - 1) * left)
    expected = np.tanh(stats.ttest_1samp(pseudo, 0).confidence_interval(0.95))
    row = correlations(trials, "x", "y", methods=["Pearson"]).iloc[0]
    assert (row["t_low"], row["t_high"]) == pytest.approx(tuple(expected))


def test_a_seed_stays_together():
    """With every seed a copy of the same trials, resampling seeds changes nothing."""
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal((2, 6))
    copies = frame(np.tile(x, 4), np.tile(y, 4), np.repeat([0, 1, 2, 3], 6))
    row = correlations(copies, "x", "y", methods=["Pearson"]).iloc[0]
    assert row["low"] == row["high"] == pytest.approx(row["value"])
    assert row["t_high"] - row["t_low"] == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("seeds", [1, 2])
def test_two_seeds_have_no_interval(seeds):
    x = np.arange(8.0)
    row = correlations(frame(x, x**2, x % seeds), "x", "y").iloc[0]
    assert row["value"] == pytest.approx(1)
    assert all(math.isnan(row[end]) for end in ("low", "high", "t_low", "t_high"))
    assert row["note"] == f"no interval: {seeds} seeds, at least 3 are needed"


def test_few_seeds_are_said_to_be_few(noisy):
    assert correlations(noisy, "x", "y").iloc[0]["note"] == "3 seeds make it coarse and too narrow"


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


def test_the_jackknife_covers_what_a_bootstrap_of_three_seeds_does_not():
    """Three seeds whose trials share an effect: why both intervals are given."""
    rng = np.random.default_rng(0)
    cells = np.linspace(-1, 1, 8)

    def draw(seeds):
        shared = 0.4 * rng.standard_normal((2, seeds, 1))
        return np.stack([cells, cells])[:, None] + shared + 0.3 * rng.standard_normal((2, seeds, 8))

    pearson = METHODS["Pearson"]
    truth = pearson(*draw(20_000).reshape(2, -1))
    hits = np.zeros(2)
    for _ in range(200):
        clusters = list(draw(3).transpose(1, 2, 0))
        low, high, _ = _bootstrap(pearson, clusters, 0)
        t_low, t_high = _jackknife(pearson, clusters)
        hits += (low <= truth <= high, t_low <= truth <= t_high)
    assert hits[0] / 200 < 0.85
    assert hits[1] / 200 > 0.88
