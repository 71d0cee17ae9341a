"""Layer profiles are summed up, every barrier meets every summary, and chance is corrected for."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.metrics import r2_score

from analysis.answers.associations import adjusted, associations
from analysis.statistics.correlations import correlations
from analysis.statistics.partial import partial_correlations
from analysis.statistics.predictions.held_out import shares
from analysis.statistics.summaries import (
    DEPTHS,
    ERRORS,
    SUMMARIES,
    at_depths,
    middle,
    over_baseline,
    with_summaries,
)
from llfc.results import BARRIERS
from llfc.specs import fingerprint
from tests.helpers.fabricated_runs import MLP_LAYERS, connection, grid, runs_of, width_grid

ERROR, BARRIER = "llfc_error_mean", "test_loss_chord"


@pytest.fixture(scope="module")
def trials():
    return with_summaries(runs_of(width_grid()))


def test_summaries_are_those_of_the_profile(trials):
    assert len(trials) == 45
    assert set(SUMMARIES) <= set(trials)
    rows = trials.set_index("fingerprint")
    for one in width_grid():
        layers = connection(one).layers
        error = np.array([layer.cos_error[12] for layer in layers])
        over = error / [layer.baseline for layer in layers]
        row = rows.loc[fingerprint(one)]
        assert row["llfc_error_max"] == error.max()
        assert row["llfc_ratio_max"] == over.max()
        assert (row["llfc_error_last"], row["llfc_ratio_last"]) == (error[-1], over[-1])
        places = np.linspace(0, 1, len(MLP_LAYERS))
        for depth in DEPTHS:
            expected = np.interp(depth, places, error)
            assert row[f"llfc_error_depth_{depth}"] == pytest.approx(expected)
        assert row["endpoint_error"] == (row["test_error_a"] + row["test_error_b"]) / 2


def test_pre_activations_are_at_no_depth_and_in_no_mean():
    (one,) = grid(seed=[0])
    found = connection(one)
    kinds = ["pre-activation", "post-activation"] * 2 + ["pre-activation", "logits"]
    layers = tuple(
        replace(layer, kind=kind) for layer, kind in zip(found.layers, kinds, strict=True)
    )
    runs = replace(
        runs_of([one]), read=lambda ids: {next(iter(ids)): replace(found, layers=layers)}
    )
    rows = middle(runs.layers)
    assert rows["kind"].tolist() == kinds
    assert rows["depth"].tolist() == [0, 0, 0.5, 0.5, 1, 1]
    error = rows["cos_error"].to_numpy()[[1, 3, 5]]
    summed = with_summaries(runs).iloc[0]
    for depth in DEPTHS:
        expected = np.interp(depth, [0, 0.5, 1], error)
        assert summed[f"llfc_error_depth_{depth}"] == pytest.approx(expected)
    at = at_depths(runs).iloc[0]
    assert at["mean"] == pytest.approx(error[:2].mean())
    assert at["0.5"] == pytest.approx(error[1])


def test_rounding_over_rounding_is_agreement():
    error, baseline = pd.Series([2e-9, 0.0, 2e-3, 0.1]), pd.Series([0.0, 0.0, 0.0, 0.2])
    assert over_baseline(error, baseline).tolist() == [0, 0, np.inf, 0.5]


def test_a_sweep_without_trials_has_no_summaries():
    assert with_summaries(runs_of([])).empty


@pytest.mark.slow
def test_every_barrier_meets_every_summary(trials):
    found = associations(trials, methods=["Spearman"]).query("beside == ''")
    assert len(found) == len(BARRIERS) * len(SUMMARIES)
    row = found[(found["barrier"] == BARRIER) & (found["error"] == ERROR)].iloc[0]
    assert row["value"] == stats.spearmanr(trials[ERROR], trials[BARRIER]).statistic
    assert set(found["tests"]) == {found["p"].notna().sum()}


@pytest.mark.slow
def test_p_values_are_corrected_as_benjamini_and_yekutieli_do(trials):
    found = associations(trials, errors=ERRORS, barriers=[BARRIER], methods=["Spearman", "Pearson"])
    found = found[found["beside"] == ""]
    p = found["p"].to_numpy()
    by_scipy = stats.false_discovery_control(p[~np.isnan(p)], method="by")
    assert found["p_adjusted"].dropna().to_numpy() == pytest.approx(by_scipy)
    assert (found["p_adjusted"] >= found["p"])[found["p"].notna()].all()


def test_seeds_that_agree_to_the_last_digit_have_no_p_and_count_as_a_test(trials):
    """Otherwise the others would be corrected for fewer tests than were looked at."""
    first = trials[trials["seed"] == 0].reset_index(drop=True)
    copies = pd.concat([first.assign(seed=seed) for seed in range(3)], ignore_index=True)
    noise = np.random.default_rng(0).uniform(size=len(copies))
    found = associations(
        copies.assign(llfc_error_last=noise),
        errors=["llfc_error_mean", "llfc_error_last"],
        barriers=[BARRIER],
        methods=["Spearman"],
    ).set_index("error")
    assert np.isnan(found.loc["llfc_error_mean", "p"])
    assert np.isnan(found.loc["llfc_error_mean", "p_adjusted"])
    assert (found["tests"] == 2).all()
    p = found.loc["llfc_error_last", "p"]
    assert found.loc["llfc_error_last", "p_adjusted"] == pytest.approx(
        stats.false_discovery_control([p, 1.0], method="by")[0]
    )


@pytest.mark.parametrize("value", [0.3, 1e-12, 0.0])
@pytest.mark.parametrize("column", [BARRIER, ERROR])
@pytest.mark.parametrize("method", ["Spearman", "Pearson"])
def test_a_column_that_varies_by_rounding_alone_has_no_correlation(trials, value, column, method):
    noise = 1 + 1e-16 * np.arange(len(trials))
    flat = trials.assign(**{column: value * noise})
    for given in ([], ["width"], ["architecture", "width", "weight_distance"]):
        row = partial_correlations(flat, ERROR, BARRIER, given=given, methods=[method]).iloc[0]
        assert (row["seeds"], row["note"]) == (0, "no seed has an estimate")
    assert correlations(flat, ERROR, BARRIER, methods=[method])["within"].isna().all()


def test_a_constant_seed_has_no_share_of_variance():
    target = np.array([1.0, 2.0, 3.0, 0.5, 0.5, 0.5])
    found = shares(target, target + 0.1, [0, 0, 0, 1, 1, 1])
    assert found[0] == pytest.approx(r2_score([1, 2, 3], [1.1, 2.1, 3.1]))
    assert np.isnan(found[1])


def test_seeds_with_other_cells_are_told(trials):
    row = correlations(trials, ERROR, BARRIER, methods=["Spearman"]).iloc[0]
    assert row["uneven"] == 0
    failed = trials.drop(index=trials.index[0])
    row = correlations(failed, ERROR, BARRIER, methods=["Spearman"]).iloc[0]
    assert row["uneven"] == trials["seed"].nunique() - 1


def test_what_was_not_tested_does_not_count():
    found = adjusted(np.array([0.01, math.nan, 0.2]))
    assert found[[0, 2]] == pytest.approx(adjusted(np.array([0.01, 0.2])))
    assert math.isnan(found[1])


def test_without_either_column_there_is_one_line():
    with pytest.raises(ValueError, match=r"^trials must have columns of a barrier and"):
        associations(pd.DataFrame({"seed": [0]}))


def drawn(seeds=6, count=30):
    """x and y that both follow z, and nothing else."""
    rng = np.random.default_rng(0)
    z = rng.standard_normal((seeds, count))
    x, y = z + rng.normal(0, 0.5, (2, seeds, count))
    columns = {"x": x, "y": y, "z": z, "seed": np.repeat(range(seeds), count)}
    return pd.DataFrame({name: np.ravel(values) for name, values in columns.items()})


@pytest.mark.parametrize("method", ["Pearson", "Spearman"])
def test_what_two_owe_to_a_third_is_taken_off(method):
    row = partial_correlations(drawn(), "x", "y", given=["z"], methods=[method]).iloc[0]
    assert row["raw"] > 0.7
    assert row["low"] < 0 < row["high"]


def test_the_partial_correlation_is_the_closed_form():
    frame = drawn()
    own = []
    for _, part in frame.groupby("seed"):
        r = part[["x", "y", "z"]].corr()
        xy, xz, yz = r.loc["x", "y"], r.loc["x", "z"], r.loc["y", "z"]
        own.append((xy - xz * yz) / math.sqrt((1 - xz**2) * (1 - yz**2)))
    row = partial_correlations(frame, "x", "y", given=["z"], methods=["Pearson"]).iloc[0]
    assert row["within"] == pytest.approx(np.tanh(np.mean(np.arctanh(own))))


def test_a_level_for_each_word_takes_its_mean_off():
    frame = drawn().drop(columns="z")
    frame["kind"] = np.tile(["a", "b", "c"], len(frame) // 3)
    moved = frame.assign(x=frame["x"] + frame["kind"].map({"a": 0, "b": 9, "c": -9}))
    found = [partial_correlations(f, "x", "y", given=["kind"]) for f in (frame, moved)]
    by_pearson = [rows.set_index("method").loc["Pearson", "within"] for rows in found]
    assert by_pearson[0] == pytest.approx(by_pearson[1])


def test_a_covariate_that_does_not_vary_changes_nothing():
    row = partial_correlations(drawn().assign(one=1.0), "x", "y", given=["one"]).iloc[1]
    assert row["within"] == pytest.approx(row["raw"])


def test_seeds_with_few_trials_beyond_the_covariates_say_nothing():
    row = partial_correlations(drawn(count=4), "x", "y", given=["z"]).iloc[0]
    assert math.isnan(row["within"])
    assert row["note"] == "no seed has an estimate"


def test_a_covariate_that_was_not_measured_is_one_line():
    with pytest.raises(
        ValueError, match=r"^covariate must be a column that was measured, got 'w'$"
    ):
        partial_correlations(drawn(), "x", "y", given=["w"])


def test_architecture_width_ends_and_distance_are_given(trials):
    found = partial_correlations(trials, ERROR, BARRIER)
    assert found["note"].eq("").all()
    assert (found["low"] < found["within"]).all()


def test_none_is_a_value_of_spawn_epoch():
    spawned = with_summaries(runs_of(grid(spawn_epoch=[None, 0, 1, 2], seed=[0, 1, 2],
                                          matching=["none", "weights"])))  # fmt: skip
    found = partial_correlations(spawned, ERROR, BARRIER, given=["spawn_epoch"])
    assert found["within"].notna().all()


@pytest.mark.parametrize("method", ["Pearson", "Spearman"])
@pytest.mark.parametrize("column", ["x", "y", "z"])
@pytest.mark.parametrize(("unit", "zero"), [(1e12, 1e14), (1e300, 0), (1e-300, 0), (-1e-9, 2)])
def test_neither_unit_nor_zero_of_a_column_changes_what_is_left(method, column, unit, zero):
    frame = drawn()
    moved = frame.assign(**{column: frame[column] * unit + zero})
    found, plain = (
        partial_correlations(f, "x", "y", given=["z", "w"], methods=[method])["within"].iloc[0]
        for f in (each.assign(w=np.tile(range(30), 6)) for each in (moved, frame))
    )
    sign = -1 if unit < 0 and column != "z" else 1
    assert found == pytest.approx(sign * plain, rel=1e-3 if zero == 1e14 else 1e-6)


@pytest.mark.parametrize("gone", [math.inf, -math.inf])
def test_an_infinite_covariate_was_not_measured(gone):
    frame = drawn()
    left = frame.index % 7 == 3
    rest = partial_correlations(frame[~left], "x", "y", given=["z"])
    frame.loc[left, "z"] = gone
    assert partial_correlations(frame, "x", "y", given=["z"]).equals(rest)


def test_a_method_that_is_none_is_refused():
    with pytest.raises(ValueError, match=r"^unknown method 'Kendall': choose from Pearson"):
        partial_correlations(drawn(), "x", "y", given=["z"], methods=["Kendall"])
    with pytest.raises(ValueError, match=r"^unknown method 'spearman': choose from .* 'Spearman'"):
        correlations(drawn(), "x", "y", methods=["spearman"])
