"""Beside every LLFC association stands what needs no blend; differences are paired, by seed."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis.answers.associations import associations
from analysis.runs.schema import BARRIER, BASELINE, LLFC, WEIGHTS
from analysis.statistics.comparators import comparators, comparisons, over_families
from analysis.statistics.summaries import BASELINES, SUMMARIES, with_summaries
from llfc.results import BARRIERS
from tests.helpers.fabricated_runs import connection, runs_of, width_grid


def drawn(seeds=5, count=40, noise=(0.2, 0.6)):
    """A barrier, an LLFC error and a baseline that follow one number, with noise of these sizes."""
    rng = np.random.default_rng(0)
    z = rng.standard_normal((seeds, count))
    columns = {
        BARRIER: z,
        LLFC: z + noise[0] * rng.standard_normal(z.shape),
        BASELINE: z + noise[1] * rng.standard_normal(z.shape),
        "seed": np.repeat(range(seeds), count),
    }
    return pd.DataFrame({name: np.ravel(values) for name, values in columns.items()})


def by_hand(trials, column):
    return np.array(
        [
            stats.spearmanr(rows[column], rows[BARRIER]).statistic
            for _, rows in trials.groupby("seed")
        ]
    )


def test_the_difference_is_taken_seed_by_seed():
    trials = drawn()
    own, other = by_hand(trials, LLFC), by_hand(trials, BASELINE)
    test = stats.ttest_rel(own, other)
    row = (
        comparisons(trials, LLFC, BARRIER, methods=["Spearman"])
        .set_index("predictor")
        .loc[BASELINE]
    )
    assert row["within"] == pytest.approx(np.tanh(np.arctanh(other).mean()))
    assert row["difference"] == pytest.approx((own - other).mean())
    ends = row[["difference_low", "difference_high"]].tolist()
    assert ends == pytest.approx(list(test.confidence_interval(0.95)))
    assert row["difference_p"] == pytest.approx(test.pvalue)


def families(noises, counts):
    """Trials of as many families, in each of which the LLFC error has its own noise."""
    parts = [drawn(noise=(noise, 0.6), count=n) for noise, n in zip(noises, counts, strict=True)]
    named = [part.assign(architecture=f"net{place}") for place, part in enumerate(parts)]
    return pd.concat(named, ignore_index=True)


def test_over_families_each_counts_once_whatever_its_trials():
    trials = families((0.1, 0.5, 2.0, 0.3), (20, 40, 200, 30))
    own = {name: by_hand(rows, LLFC) for name, rows in trials.groupby("architecture")}
    other = {name: by_hand(rows, BASELINE) for name, rows in trials.groupby("architecture")}
    means = np.array([(own[name] - other[name]).mean() for name in own])
    test = stats.ttest_1samp(means, 0)
    row = over_families(trials, LLFC, BARRIER).set_index("predictor").loc[BASELINE]
    assert row["families"] == 4
    assert row["difference"] == pytest.approx(means.mean())
    ends = row[["difference_low", "difference_high"]].tolist()
    assert ends == pytest.approx(list(test.confidence_interval(0.95)))
    assert row["difference_p"] == pytest.approx(test.pvalue)
    tests = [stats.ttest_rel(own[name], other[name]).confidence_interval(0.95) for name in own]
    assert row["more"] == sum(low > 0 for low, _ in tests) > 0
    assert row["less"] == sum(high < 0 for _, high in tests) > 0
    assert row["more"] + row["less"] + row["open"] == 4


def test_a_family_in_perfect_order_is_one_of_several():
    found = over_families(families((0.0, 0.5, 2.0), (20, 20, 20)), LLFC, BARRIER)
    assert found["families"].tolist() == [3, 3]
    assert found["within"].iloc[0] < 0.95
    assert math.isfinite(found["low"].iloc[0])


def test_two_families_have_no_interval_and_data_sets_are_families_of_their_own():
    trials = families((0.1, 0.5), (20, 20))
    row = over_families(trials, LLFC, BARRIER).iloc[1]
    assert math.isnan(row["difference_low"])
    assert row["note"] == "no interval over 2"
    parted = trials.assign(dataset=np.where(trials.index % 2, "text", "sums"))
    assert over_families(parted, LLFC, BARRIER)["families"].tolist() == [4, 4]


def test_what_is_as_close_has_a_difference_of_zero():
    trials = drawn(noise=(0.4, 0.4))
    row = comparisons(trials, LLFC, BARRIER, methods=["Spearman"]).iloc[1]
    assert row["difference_low"] < 0 < row["difference_high"]
    copies = comparisons(trials.assign(**{BASELINE: trials[LLFC]}), LLFC, BARRIER).iloc[1]
    assert copies["difference"] == 0
    assert copies["difference_note"] == "no interval: the seeds do not differ"


def test_both_are_of_the_same_trials():
    trials = drawn()
    trials.loc[::3, BASELINE] = np.nan
    row = comparisons(trials, LLFC, BARRIER, methods=["Spearman"]).iloc[1]
    there = trials[trials[BASELINE].notna()]
    assert row["trials"] == len(there)
    assert row["difference"] == pytest.approx(
        (by_hand(there, LLFC) - by_hand(there, BASELINE)).mean()
    )


def test_the_llfc_error_itself_comes_first_and_has_no_difference():
    found = comparisons(drawn(), LLFC, BARRIER)
    first = found[found["predictor"] == LLFC]
    assert found.groupby("method", sort=False)["predictor"].first().eq(LLFC).all()
    assert first["difference"].isna().all()
    assert first["difference_note"].eq("").all()


def test_weights_are_compared_by_their_angle():
    """Their distance grows with the size of the networks, which a grid of sizes pools."""
    trials = drawn().assign(weight_cos=0.5, weight_distance=1.0)
    trials["weight_cos"] = 1 - stats.rankdata(trials[BARRIER]) / len(trials)
    found = comparisons(trials, LLFC, BARRIER, methods=["Spearman"]).set_index("predictor")
    assert found.loc[WEIGHTS, "within"] > found.loc[LLFC, "within"]
    assert "weight_distance" not in found.index


def test_a_baseline_is_summed_up_as_its_error():
    trials = with_summaries(runs_of(width_grid()))
    for error, baseline in zip(SUMMARIES, (*BASELINES, *BASELINES), strict=True):
        assert comparators(trials, error)[0] == baseline
    one = width_grid()[7]
    layers = connection(one).layers
    row = (
        trials[trials["run_id"].str.len() > 0]
        .set_index("run_id")
        .loc[runs_of([one]).trials["run_id"].item()]
    )
    assert row["llfc_baseline_max"] == max(layer.baseline for layer in layers)
    assert row["llfc_baseline_last"] == layers[-1].baseline


@pytest.mark.slow
def test_every_association_has_its_comparators_beside_it():
    trials = with_summaries(runs_of(width_grid()))
    found = associations(trials, barriers=[BARRIER], methods=["Spearman"])
    for error in SUMMARIES:
        own = found[(found["error"] == error) & (found["beside"] == "")]
        beside = found[found["beside"] == error]
        assert len(own) == 1
        assert beside["error"].tolist() == list(comparators(trials, error))
        assert beside["difference"].notna().all()
        expected = comparisons(trials, error, BARRIER, methods=["Spearman"]).iloc[1:]
        assert beside["within"].tolist() == expected["within"].tolist()
    assert set(found["tests"]) == {len(SUMMARIES)}
    assert set(found["difference_tests"].dropna()) == {(found["beside"] != "").sum()}
    assert found.loc[found["beside"] != "", "p_adjusted"].isna().all()


@pytest.mark.slow
def test_a_corrected_difference_is_benjamini_and_yekutielis():
    trials = with_summaries(runs_of(width_grid()))
    found = associations(trials, barriers=BARRIERS[:2], errors=SUMMARIES[:3], methods=["Spearman"])
    known = found["difference_p"].dropna().to_numpy()
    assert len(known) > 12
    expected = stats.false_discovery_control(known, method="by")
    assert found["difference_p_adjusted"].dropna().to_numpy() == pytest.approx(expected)


def test_without_a_comparator_there_is_the_association_alone():
    trials = drawn().drop(columns=BASELINE)
    found = comparisons(trials, LLFC, BARRIER, methods=["Spearman"])
    assert found["predictor"].tolist() == [LLFC]
    assert math.isnan(found["difference"].item())
