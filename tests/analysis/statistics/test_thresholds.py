"""Onsets, agreement of two criteria, and how well one tells where the other holds."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis.answers.agreement import agreements, roc, roc_area
from analysis.answers.onset import onsets
from analysis.statistics.crossing import onset_of
from tests.helpers.fabricated_runs import grid, runs_of, trial, width_grid

WIDTHS = [0.25, 0.5, 1.0, 2.0]


def sweep(axis, values, barriers):
    """Trials whose instability is `barriers[seed][i]` at `values[i]`."""
    trials = runs_of(grid(**{axis: values, "seed": range(len(barriers))})).trials
    known = {
        (seed, value): barriers[seed][i]
        for seed, (i, value) in itertools.product(range(len(barriers)), enumerate(values))
    }
    at = [(seed, value) for seed, value in zip(trials["seed"], trials[axis], strict=True)]
    return trials.assign(test_error_mean=[known[place] for place in at])


def own(barriers, noise=0.0, threshold=0.2):
    """The onset of one seed on the grid 0, 1, 2, ..."""
    values = np.array(barriers)
    places = np.arange(len(values), dtype=float)
    return onset_of(places, values, np.full(len(values), noise), threshold)


def test_an_onset_is_where_the_barrier_falls_below_for_good():
    late = own([0.4, 0.0, 0.3, 0.1])
    assert (late.at, late.low, late.high) == (pytest.approx(2.5), 2.0, 3.0)
    assert not late.monotone
    assert own([0.1] * 4).at == own([0.1] * 4).low == -math.inf
    assert own([0.1] * 4).high == 0.0
    never = own([0.1, 0.1, 0.1, 0.2])
    assert (never.at, never.low, never.high) == (math.inf, 3.0, math.inf)
    assert not never.monotone
    assert own([0.4, 0.3, 0.1, 0.1]).monotone
    assert (late.again, never.again, own([0.4, 0.3, 0.1, 0.1]).again) == ((2.0,), (3.0,), ())
    assert own([0.4, 0.0, 0.3, 0.1], noise=0.06).again == (), "within the noise of the threshold"


def test_what_was_not_measured_widens_the_bracket_and_is_not_called_unconnected():
    gap = own([0.4, math.nan, 0.1, 0.1])
    assert (gap.low, gap.high, gap.complete) == (0.0, 2.0, True)
    failed = own([0.4, 0.1, 0.1, math.nan])
    assert (failed.low, failed.high, failed.complete) == (0.0, math.inf, False)
    assert failed.at == own([0.4, 0.1, 0.1]).at
    barriers = [[0.5, 0.4, 0.3, 0.0]] * 2 + [[0.5, 0.4, 0.3, math.nan]]
    trials = sweep("width", WIDTHS, barriers)
    row = onsets(trials, "width").iloc[0]
    missing = onsets(trials.dropna(subset="test_error_mean"), "width").iloc[0]
    for found in (row, missing):
        assert (found["never"], found["unknown"], found["seeds"]) == (0, 1, 3)
        assert math.isnan(found["onset"])
        assert math.isnan(found["high"])
        assert found["low"] == 1.0


@pytest.mark.parametrize("noise", [0.0, 0.01, 0.03])
def test_a_barrier_near_the_threshold_is_neither(noise):
    found = own([0.4, 0.21, 0.19, 0.0], noise)
    assert found.at == pytest.approx(1.5)
    assert (found.low, found.high) == ((1.0, 2.0) if noise == 0 else (0.0, 3.0))


def test_the_standard_error_of_the_trials_widens_the_interval():
    steep = [[0.5, 0.03, 0.01, 0.0], [0.5, 0.5, 0.03, 0.01], [0.03, 0.01, 0.0, 0.0]]
    trials = sweep("width", WIDTHS, steep)
    sure = onsets(trials.assign(test_error_mean_se=1e-6), "width").iloc[0]
    unsure = onsets(trials.assign(test_error_mean_se=0.007), "width").iloc[0]
    assert sure["onset"] == unsure["onset"]
    assert sure.to_dict() == onsets(trials, "width").iloc[0].to_dict()
    assert math.isnan(unsure["low"])  # of one seed no width is known to be unconnected
    assert math.isnan(unsure["high"])


@pytest.mark.slow
def test_intervals_hold_the_mean_onset_of_new_seeds():
    """Whatever the grid, with a test set of 2000 images, in 95 % of simulated sweeps at least."""
    rng = np.random.default_rng(0)
    held = []
    for _ in range(60):
        true = np.exp(rng.normal(math.log(2), 0.3, size=4))
        share = np.clip(0.05 * np.sqrt(np.outer(1 / true, np.arange(1, 9.0))) ** -3 * 0.4, 0, 0.5)
        seen = rng.binomial(2000, share) / 2000
        trials = sweep("width", [float(i) for i in range(1, 9)], seen.tolist())
        se = np.sqrt(trials["test_error_mean"] * (1 - trials["test_error_mean"]) / 2000)
        row = onsets(trials.assign(test_error_mean_se=se), "width").iloc[0]
        low, high = row[["low", "high"]].fillna({"low": 0, "high": math.inf})
        held.append(low <= 2 <= high)
    assert np.mean(held) >= 0.95


def test_an_interval_stays_on_the_axis():
    """Epochs are not negative, however far apart the seeds are."""
    barriers = [[0.5, 0.0, 0.0, 0.0], [0.5, 0.5, 0.5, 0.0], [0.5, 0.0, 0.0, 0.0]]
    row = onsets(sweep("spawn_epoch", [0, 1, 2, 8], barriers), "spawn_epoch").iloc[0]
    assert row["low"] == 0
    assert row["high"] > 8


def test_onsets_are_averaged_on_a_logarithmic_axis():
    steep = [[0.5, 0.03, 0.01, 0.0], [0.5, 0.5, 0.03, 0.01], [0.03, 0.01, 0.0, 0.0]]
    row = onsets(sweep("width", WIDTHS, steep), "width").iloc[0]
    own = np.sqrt([0.5 * 1.0, 1.0 * 2.0, 0.25 * 0.5])  # half-way, from 0.03 to 0.01
    assert row["onset"] == pytest.approx(np.exp(np.log(own).mean()))
    assert row["low"] < row["onset"] < row["high"]
    ends = np.log([[0.25, 0.5], [0.5, 1.0], [1.0, 2.0]])
    lower, upper = (stats.ttest_1samp(side, 0).confidence_interval(0.95) for side in ends.T)
    assert row["low"] == pytest.approx(np.exp(lower.low))
    assert row["high"] == pytest.approx(np.exp(upper.high))
    assert (row["seeds"], row["never"], row["from_start"]) == (3, 0, 0)


def test_an_epoch_of_zero_has_a_place_and_independent_pairs_have_none():
    trials = sweep("spawn_epoch", [0, 1, 3, None], [[0.03, 0.01, 0.0, 0.9]] * 3)
    row = onsets(trials, "spawn_epoch").iloc[0]
    assert row["onset"] == pytest.approx(math.sqrt(2) - 1)  # half-way from 1 + 0 to 1 + 1
    assert (row["low"], row["high"]) == (0, 1)  # seeds in one bracket: no closer than that
    always = sweep("spawn_epoch", [0, 1, 3, None], [[0.01, 0.01, 0.0, 0.9]] * 3)
    row = onsets(always, "spawn_epoch").iloc[0]
    assert (row["onset"], row["low"], row["high"], row["from_start"]) == (0, 0, 0, 3)


def test_an_axis_has_an_onset_only_where_it_varies():
    wide = sweep("width", WIDTHS, [[0.5, 0.03, 0.01, 0.0]] * 3)
    alone = sweep("width", [1.0], [[0.01]] * 3).assign(architecture="vgg11")
    found = onsets(pd.concat([wide, alone], ignore_index=True), "width")
    assert found["group"].tolist() == ["architecture mlp, matching none"]
    assert found["onset"].tolist() == onsets(wide, "width")["onset"].tolist()


def test_seeds_outside_the_grid_are_counted_and_leave_no_onset():
    never, always = [0.5] * 4, [0.0] * 4
    barriers = [never, always, [0.5, 0.0, 0.0, 0.0], [0.5, 0.0, 0.4, 0.0]]
    row = onsets(sweep("width", WIDTHS, barriers), "width").iloc[0]
    assert (row["seeds"], row["never"], row["from_start"], row["not_monotone"]) == (4, 1, 1, 1)
    assert row[["onset", "low", "high"]].isna().all()
    assert row["note"] == (
        "of 4 seeds 1 not connected at the grid's end, 1 connected from its start on; 1 connected"
        " at a value and not at a larger one"
    )
    row = onsets(sweep("width", WIDTHS, [never, *barriers[2:]]), "width").iloc[0]
    assert row["low"] > 0  # one side is known all the same
    assert math.isnan(row["high"])


def test_there_is_an_onset_a_combination_of_the_other_axes():
    found = onsets(runs_of(width_grid()).trials, "width", threshold=0.2)
    assert found["group"].tolist() == [
        "matching none", "matching weights", "matching activations",
    ]  # fmt: skip
    assert found["never"].tolist()[0] == 3


def test_the_stricter_the_threshold_the_later_the_onset():
    trials = runs_of(width_grid()).trials
    found = [onsets(trials, "width", threshold=t)["onset"].iloc[1] for t in (0.25, 0.2, 0.15)]
    assert found == sorted(found)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"axis": "width"},
            r"^width must have at least 2 numbers with everything else equal",
        ),
        ({"axis": "deepness"}, r"^x must be an axis of the trials"),
        ({"axis": "width", "barrier": "b"}, r"^barrier must be a column of the trials, got 'b'$"),
        (
            {"axis": "width", "threshold": math.nan},
            r"^threshold must be a finite number, got nan$",
        ),
    ],
)
def test_what_has_no_onset_is_one_line(change, message):
    with pytest.raises(ValueError, match=message):
        onsets(runs_of([trial()]).trials, **change)


@pytest.fixture
def drawn():
    rng = np.random.default_rng(0)
    error = rng.uniform(0, 0.3, 60)
    barrier = 0.3 * error + rng.normal(0, 0.02, 60)
    return pd.DataFrame(
        {"seed": np.repeat([0, 1, 2], 20), "llfc_error_mean": error, "test_error_mean": barrier}
    )


def test_tables_count_every_trial(drawn):
    found = agreements(drawn)
    counts = found[["both", "lmc_only", "llfc_only", "neither"]]
    assert (counts.sum(axis=1) == 60).all()
    row = found[(found["lmc"] == 0.02) & (found["llfc"] == 0.05)].iloc[0]
    lmc, llfc = drawn["test_error_mean"] < 0.02, drawn["llfc_error_mean"] < 0.05
    assert row["both"] == (lmc & llfc).sum()
    assert row["lmc_only"] == (lmc & ~llfc).sum()
    assert row["agree"] == pytest.approx((lmc == llfc).mean())  # seeds are of one size
    by_chance = lmc.mean() * llfc.mean() + (1 - lmc.mean()) * (1 - llfc.mean())
    assert row["kappa"] == pytest.approx((row["agree"] - by_chance) / (1 - by_chance))


def test_what_always_holds_has_no_kappa(drawn):
    row = agreements(drawn, lmc=[9.0], llfc=[9.0]).iloc[0]
    assert (row["both"], row["agree"]) == (60, 1.0)
    assert math.isnan(row["kappa"])


def test_a_roc_goes_from_corner_to_corner_and_meets_the_table(drawn):
    curve = roc(drawn)
    assert curve.iloc[0, 1:].tolist() == [0, 0]
    assert curve.iloc[-1, 1:].tolist() == [1, 1]
    assert curve["true_positives"].is_monotonic_increasing
    holds = drawn["test_error_mean"] < 0.02
    at = curve.iloc[7]
    small = drawn["llfc_error_mean"] <= at["llfc"]
    assert at["true_positives"] == pytest.approx(small[holds].mean())
    assert at["false_positives"] == pytest.approx(small[~holds].mean())


def test_the_area_is_how_often_the_connected_trial_has_the_smaller_error(drawn):
    areas = []
    for _, rows in drawn.groupby("seed"):
        holds = rows["test_error_mean"] < 0.02
        pairs = itertools.product(rows[holds]["llfc_error_mean"], rows[~holds]["llfc_error_mean"])
        areas.append(np.mean([a < b for a, b in pairs]))
    row = roc_area(drawn).iloc[0]
    assert row["area"] == pytest.approx(np.mean(areas))
    assert row["low"] < row["area"] < row["high"]


def test_without_both_kinds_of_trials_there_is_no_roc(drawn):
    assert roc(drawn, lmc=9.0).empty
    row = roc_area(drawn, lmc=9.0).iloc[0]
    assert math.isnan(row["area"])
    assert row["note"] == "no seed has an estimate"
