"""Pairs are exchanged whole, and alike in every seed; where nothing goes together, p is uniform."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis.statistics.correlations import correlations
from analysis.statistics.permutations import permutation_test
from tests.helpers.fabricated_runs import grid, runs_of

WIDTHS = [0.25, 0.5, 1.0, 2.0]


def pearson(x, y):
    return float(stats.pearsonr(x, y).statistic)


def permutation_p(*arguments, **options):
    return permutation_test(*arguments, **options).p


@pytest.fixture
def trials():
    """Three seeds of four pairs of two trials, in any order."""
    frame = runs_of(grid(width=WIDTHS, seed=[0, 1, 2], matching=["none", "weights"])).trials
    rng = np.random.default_rng(0)
    columns = dict(zip("xy", rng.standard_normal((2, len(frame))), strict=True))
    return frame.assign(**columns).sample(frac=1, random_state=0)


def test_p_is_the_share_of_all_orders_that_are_as_close(trials):
    wide = {
        column: trials.pivot(index="seed", columns=["width", "matching"], values=column)
        for column in "xy"
    }

    def closeness(order):
        names = [(width, m) for width in order for m in ("none", "weights")]
        still = [(width, m) for width in WIDTHS for m in ("none", "weights")]
        x, y = wide["x"][names].to_numpy(), wide["y"][still].to_numpy()
        return abs(np.mean([pearson(*rows) for rows in zip(x, y, strict=True)]))

    every = [closeness(order) for order in itertools.permutations(WIDTHS)]
    expected = np.mean(np.array(every) >= closeness(WIDTHS) - 1e-12)
    assert permutation_p(trials, "x", "y", pearson) == pytest.approx(expected)


def test_a_perfect_relation_has_the_smallest_p(trials):
    assert permutation_p(trials.assign(y=trials["x"]), "x", "y", pearson) == pytest.approx(1 / 24)


def test_cells_that_a_seed_lacks_are_not_used(trials):
    more = runs_of(grid(width=[4.0], seed=[0], matching=["none", "weights"])).trials
    more = more.assign(x=[10.0, -10.0], y=[10.0, 3.0])
    both = pd.concat([trials, more])
    assert permutation_p(both, "x", "y", pearson) == permutation_p(trials, "x", "y", pearson)


@pytest.mark.slow
def test_pairs_with_other_kinds_of_trials_are_exchanged_among_themselves(trials):
    """Pooled sweeps have pairs of one trial beside pairs of two: none is left out in silence."""
    alone = runs_of(grid(width=[4.0, 8.0, 16.0, 32.0], seed=[0, 1, 2])).trials
    rng = np.random.default_rng(1)
    alone = alone.assign(**dict(zip("xy", rng.standard_normal((2, len(alone))), strict=True)))
    pooled = pd.concat([trials, alone]).sample(frac=1, random_state=0)
    found = permutation_test(pooled, "x", "y", pearson)
    assert found.trials == len(trials) + len(alone)
    assert 0 < found.p <= 1
    equal = pooled.assign(y=pooled["x"])
    assert permutation_p(equal, "x", "y", pearson, 500) == pytest.approx(1 / 501)
    # A pair alone of its kind can be exchanged with none.
    single = alone[alone["width"] == 4.0]
    found = permutation_test(pd.concat([trials, single]), "x", "y", pearson)
    assert found == permutation_test(trials, "x", "y", pearson)


def test_frames_from_a_file_and_rows_logged_twice_change_nothing(trials, tmp_path):
    trials.drop(columns="probes").to_parquet(tmp_path / "trials.parquet")
    back = pd.read_parquet(tmp_path / "trials.parquet")
    expected = permutation_test(trials, "x", "y", pearson)
    assert permutation_test(back, "x", "y", pearson) == expected
    twice = pd.concat([trials, trials.head(1)])
    assert permutation_test(twice, "x", "y", pearson) == expected
    coarse = trials.assign(alphas=5, x=0.0, y=1.0)
    assert permutation_test(pd.concat([coarse, trials]), "x", "y", pearson) == expected


def test_a_test_that_is_not_possible_is_said_with_its_trials(trials):
    few = trials[trials["width"] < 2]
    row = correlations(few, "x", "y", methods=["Pearson"], permutations=9).iloc[0]
    assert math.isnan(row["p_permuted"])
    assert row["note"] == f"no permutation test: {len(few)} trials of pairs that can be exchanged"
    row = correlations(trials, "x", "y", methods=["Pearson"], permutations=9).iloc[0]
    assert row["permuted"] == len(trials)


@pytest.mark.parametrize("column", ["llfc_error_mean", "test_loss_chord"])
def test_a_seed_in_which_a_column_is_constant_says_nothing(trials, column):
    level = trials.assign(**{column: trials[column].where(trials["seed"] != 0, 0.5)})
    found = permutation_test(level, "llfc_error_mean", "test_loss_chord", pearson)
    others = trials[trials["seed"] != 0]
    assert found == permutation_test(others, "llfc_error_mean", "test_loss_chord", pearson)
    assert (found.trials, found.p >= 1 / 24) == (16, True)
    still = permutation_test(
        trials.assign(**{column: 0.5}), "llfc_error_mean", "test_loss_chord", pearson
    )
    assert (still.trials, math.isnan(still.p)) == (0, True)


def test_rows_logged_twice_in_a_frame_of_few_columns_count_once(trials):
    few = trials[["seed", "width", "matching", "llfc_error_mean", "test_loss_chord"]]
    twice = pd.concat([few, few], ignore_index=True)
    asked = ("llfc_error_mean", "test_loss_chord", pearson)
    assert permutation_test(twice, *asked) == permutation_test(few, *asked)


def test_few_pairs_have_no_p(trials):
    few = trials[trials["width"] < 2]
    assert math.isnan(permutation_p(few, "x", "y", pearson))


@pytest.mark.slow
def test_where_nothing_goes_together_p_is_below_5_per_cent_in_5_per_cent():
    """Pairs share an effect, which would mislead a test that exchanges trial by trial."""
    frame = runs_of(
        grid(width=[2.0**k for k in range(-3, 3)], seed=[0, 1, 2], matching=["none", "weights"])
    ).trials.sort_values(["seed", "width", "matching"])
    rng = np.random.default_rng(0)
    found = []
    for _ in range(120):
        x, y = rng.normal(0, 1, (2, 3, 6, 1)) + rng.normal(0, 0.3, (2, 3, 6, 2))
        frame = frame.assign(x=x.ravel(), y=y.ravel())
        found.append(permutation_p(frame, "x", "y", lambda a, b: np.corrcoef(a, b)[0, 1], 99))
    assert 0.01 <= np.mean(np.array(found) <= 0.05) <= 0.11
