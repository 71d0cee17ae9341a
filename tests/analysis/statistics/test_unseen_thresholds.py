"""A threshold that some families of networks give, judged on another."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.metrics import balanced_accuracy_score

from analysis.runs.schema import BASELINE, INSTABILITY, LLFC
from analysis.statistics.predictions.threshold import OVER, thresholds

FAMILIES = {"mlp": 100, "resnet20": 300, "vgg11": 150}


def drawn(noise=0.3, scale=1.0, families=FAMILIES):
    """Pairs that are connected where the LLFC error is below .1, or `scale` of it in VGGs."""
    rng = np.random.default_rng(0)
    parts = []
    for family, count in families.items():
        error = rng.uniform(0.001, 0.3, count)
        least = 0.1 * (scale if family == "vgg11" else 1)
        wrong = rng.uniform(size=count) < noise
        parts.append(
            pd.DataFrame(
                {
                    "architecture": family,
                    "seed": np.arange(count) % 3,
                    LLFC: error,
                    BASELINE: error + rng.normal(0, 0.05, count),
                    INSTABILITY: np.where((error < least) ^ wrong, 0.001, 0.2),
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def naive(trials, column, family):
    """The balanced accuracy in `family`, all thresholds of the others being tried in turn."""
    true = trials[INSTABILITY] < 0.02
    others, own = trials["architecture"] != family, trials["architecture"] == family
    counts = trials["architecture"].map(trials["architecture"].value_counts())
    best = {}
    for most in sorted(trials[column][others]):
        said = trials[column] <= most
        parts = [
            (said[others & kind] * (1 / counts[others & kind])).sum()
            / (1 / counts[others & kind]).sum()
            for kind in (true, ~true)
        ]
        best.setdefault(round(parts[0] - parts[1], 9), most)
    most = best[max(best)]
    return most, balanced_accuracy_score(true[own], trials[column][own] <= most)


@pytest.mark.parametrize("column", [LLFC, BASELINE])
def test_it_is_the_best_of_the_other_families_judged_on_the_one_held_out(column):
    trials = drawn()
    found = thresholds(trials).set_index(["predictor", "held_out"]).loc[column]
    for family in FAMILIES:
        most, right = naive(trials, column, family)
        assert found.loc[family, "threshold"] == pytest.approx(most)
        assert found.loc[family, "right"] == pytest.approx(right)
    assert found["trials"].to_dict() == {**FAMILIES, OVER: sum(FAMILIES.values())}


def test_the_mean_is_over_families_and_paired():
    found = thresholds(drawn()).set_index(["held_out", "predictor"])
    own, other = (found.xs(name, level=1)["right"].drop(OVER) for name in (LLFC, BASELINE))
    row = found.loc[(OVER, BASELINE)]
    test = stats.ttest_1samp(own - other, 0).confidence_interval(0.95)
    assert row["right"] == pytest.approx(other.mean())
    assert row["difference"] == pytest.approx((own - other).mean())
    assert (row["difference_low"], row["difference_high"]) == pytest.approx((test.low, test.high))
    assert found.index[-1][0] == OVER


def test_one_law_holds_everywhere_and_a_family_of_its_own_scale_is_told_wrong():
    alike = thresholds(drawn(noise=0)).query("predictor == @LLFC").set_index("held_out")
    assert (alike["right"].drop(OVER) > 0.95).all()
    apart = thresholds(drawn(noise=0, scale=0.1)).query("predictor == @LLFC").set_index("held_out")
    assert apart.loc["vgg11", "sensitivity"] == 1
    assert apart.loc["vgg11", "specificity"] < 0.8


def test_a_family_without_connected_pairs_has_no_balanced_accuracy():
    trials = drawn(noise=0)
    trials.loc[trials["architecture"] == "vgg11", INSTABILITY] = 0.3
    found = thresholds(trials).query("predictor == @LLFC").set_index("held_out")
    row = found.loc["vgg11"]
    assert row[["sensitivity", "right"]].isna().all()
    assert 0 < row["specificity"] < 1
    assert (row["connected"], found.loc[OVER, "families"]) == (0, 2)


def test_without_connected_pairs_elsewhere_there_is_no_threshold():
    trials = drawn(noise=0)
    trials.loc[trials["architecture"] != "mlp", INSTABILITY] = 0.3
    found = thresholds(trials).query("predictor == @LLFC").set_index("held_out")
    told = found[["threshold", "sensitivity", "specificity", "right"]].notna()
    assert told.loc["mlp"].tolist() == [False] * 4
    assert told.loc["vgg11"].tolist() == [True, False, True, False]
    assert "no interval" in found.loc[OVER, "note"]


def test_a_comparator_is_judged_where_it_was_measured():
    trials = drawn(noise=0)
    trials.loc[trials["architecture"] != "mlp", BASELINE] = np.nan
    assert set(thresholds(trials)["predictor"]) == {LLFC}


def test_one_family_cannot_be_held_out():
    with pytest.raises(ValueError, match=r"^families of networks to hold out must be at least 2"):
        thresholds(drawn(families={"mlp": 9}))
