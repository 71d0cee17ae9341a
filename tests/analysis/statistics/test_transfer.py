"""A line of some families of networks, judged on another: in ranks, and in the barrier's unit."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis.runs.schema import BARRIER, BASELINE, LLFC
from analysis.statistics.predictions.transfer import transfers

FAMILIES = [("mlp", "none"), ("resnet20", "batch"), ("resnet20", "layer"), ("vgg11", "none")]


def drawn(scale=(1, 1, 1, 1), seeds=3, count=12):
    """Barriers that follow the LLFC error, in each family by a factor of its own."""
    rng = np.random.default_rng(0)
    rows = []
    for (architecture, norm), factor in zip(FAMILIES, scale, strict=True):
        for seed in range(seeds):
            error = rng.uniform(0.01, 1, count)
            rows.append(
                pd.DataFrame(
                    {
                        "architecture": architecture,
                        "norm": norm,
                        "seed": seed,
                        LLFC: error,
                        BASELINE: error + rng.normal(0, 0.3, count),
                        BARRIER: factor * error,
                    }
                )
            )
    return pd.concat(rows, ignore_index=True)


def by_name(trials):
    return transfers(trials).set_index(["held_out", "predictor"])


def test_a_law_common_to_all_families_carries_over():
    found = by_name(drawn())
    own = found.xs(LLFC, level="predictor")
    assert (own["share"] > 0.97).all()
    assert (own["share_value"] > 0.97).all()
    assert (found.xs(BASELINE, level="predictor")["share"] < 0.9).all()


def test_an_architecture_is_held_out_whole_and_its_norms_alone():
    found = transfers(drawn())
    held = found.drop_duplicates("held_out").set_index("held_out")["trials"]
    assert held.to_dict() == {
        "mlp": 36, "resnet20": 72, "vgg11": 36,
        "resnet20, batch norm": 36, "resnet20, layer norm": 36,
    }  # fmt: skip


def test_an_architecture_is_no_activation_of_its_own():
    trials = drawn().assign(norm="none")
    trials["activation"] = np.where(trials["architecture"] == "resnet20", "tanh", "relu")
    trials["architecture"] = trials["architecture"].replace("resnet20", "mlp")
    trials.loc[trials["activation"] == "relu", "activation"] = None
    held = transfers(trials).drop_duplicates("held_out").set_index("held_out")["trials"]
    assert held.to_dict() == {"mlp": 108, "vgg11": 36, "mlp, usual": 36, "mlp, tanh": 72}


def test_of_another_scale_the_order_carries_over_and_the_values_do_not():
    found = by_name(drawn(scale=(1, 1, 0.05, 1))).loc[("resnet20, layer norm", LLFC)]
    assert found["share_value"] < 0


def test_the_ranks_are_those_of_the_other_families_alone():
    trials = drawn(scale=(1, 2, 3, 4))
    out = trials["architecture"] == "vgg11"
    x, y = (trials[~out][name] for name in (LLFC, BARRIER))
    n = len(x)
    slope, constant, *_ = stats.linregress(stats.rankdata(x) / n, stats.rankdata(y) / n)
    shares = []
    for _, rows in trials[out].groupby("seed"):
        place = [
            [(stats.percentileofscore(fitted, v, "mean") / 100 * n + 0.5) / n for v in rows[name]]
            for fitted, name in ((x, LLFC), (y, BARRIER))
        ]
        left = np.array(place[1]) - constant - slope * np.array(place[0])
        shares.append(1 - (left**2).mean() / np.var(place[1]))
    row = by_name(trials).loc[("vgg11", LLFC)]
    test = stats.ttest_1samp(shares, 0).confidence_interval(0.95)
    assert row["share"] == pytest.approx(np.mean(shares))
    assert row["low"] == pytest.approx(test.low)
    assert row["high"] == pytest.approx(min(test.high, 1))


def test_one_family_cannot_be_held_out():
    one = drawn()[lambda rows: rows["architecture"] == "mlp"]
    with pytest.raises(ValueError, match=r"^families of networks to hold out must be at least 2"):
        transfers(one)
