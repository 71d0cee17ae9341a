"""Shares of unseen variance, effects through a mediator, and the layer that predicts best."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy import stats
from statsmodels.stats.mediation import Mediation

from analysis.explanation import QUESTIONS, explanations, mediation
from analysis.held_out import predict, ranks, shares
from analysis.layer_prediction import layer_predictions
from analysis.summaries import PLACES, with_summaries
from tests.fabricated import grid, runs_of, trial

FAMILIES = ["mlp", "vgg11", "resnet20"]


def frame(seeds=5, count=40, **columns):
    return pd.DataFrame({"seed": np.repeat(range(seeds), count), **columns})


def normal(seed, seeds=5, count=40):
    return np.random.default_rng(seed).standard_normal(seeds * count)


def test_a_prediction_has_not_seen_what_it_predicts():
    x, y = normal(0), normal(1)
    groups = np.repeat(range(5), 40).tolist()
    found = predict(x[:, None], y, groups)
    for group in range(5):
        out = np.array(groups) == group
        slope, constant, *_ = stats.linregress(x[~out], y[~out])
        assert found[out] == pytest.approx(constant + slope * x[out])


def test_shares_are_one_for_the_truth_and_zero_for_the_mean():
    y, seeds = np.arange(8.0), [0, 0, 0, 0, 1, 1, 1, 1]
    assert shares(y, y, seeds).tolist() == [1, 1]
    means = np.repeat([1.5, 5.5], 4)
    assert shares(y, means, seeds).tolist() == [0, 0]
    assert np.isnan(shares(y[:1], y[:1], [0])).all()


def test_words_have_a_column_a_value_but_one():
    design = ranks(pd.DataFrame({"a": ["x", "y", "z", "x"], "b": [3.0, 1.0, 2.0, 4.0]}), ["a", "b"])
    assert design.tolist() == [[0, 0, 0.75], [1, 0, 0.25], [0, 1, 0.5], [0, 0, 1.0]]


def test_one_group_cannot_be_held_out():
    with pytest.raises(ValueError, match=r"^groups to hold out must be at least 2, got 1$"):
        predict(np.zeros((3, 1)), np.zeros(3), [0, 0, 0])


def test_what_adds_nothing_gains_nothing_and_what_adds_gains():
    x, noise = normal(0), normal(1)
    trials = frame(x=x, noise=noise, y=x + 0.3 * normal(2))
    asked = {"noise": ("y", ["x"], ["noise"]), "x": ("y", ["noise"], ["x"])}
    found = explanations(trials, asked).set_index("question")
    assert found.loc["noise", "gain"] < 0.01
    assert found.loc["x", "low"] > 0.5
    gains = found["share_both"] - found["share_base"]
    assert found["gain"].to_numpy() == pytest.approx(gains.to_numpy())


def test_every_question_of_the_study_has_a_row():
    trials = with_summaries(runs_of(grid(width=[0.5, 1.0, 2.0], seed=[0, 1, 2],
                                         matching=["none", "weights"])))  # fmt: skip
    found = explanations(trials)
    assert set(found["question"]) == set(QUESTIONS)
    assert set(found["trials"]) == {18}
    left = explanations(trials.drop(columns="weight_distance"))["question"]
    assert set(QUESTIONS) - set(left) == {
        "LLFC error, beyond weight distance", "weight distance, beyond LLFC error",
    }  # fmt: skip


def test_a_full_mediator_leaves_no_direct_effect():
    x = normal(0)
    m = x + 0.5 * normal(1)
    trials = frame(x=x, m=m, y=m + 0.5 * normal(2))
    found = mediation(trials, cause="x", mediator="m", outcome="y", given=[]).set_index("effect")
    assert found.loc["indirect", "low"] > 0.4
    assert abs(found.loc["direct", "value"]) < 0.1
    assert found.loc["total", "value"] == pytest.approx(
        found.loc["direct", "value"] + found.loc["indirect", "value"]
    )


def test_effects_are_those_of_statsmodels():
    """On one seed's ranks; statsmodels draws its estimates, so to what draws leave open."""
    x = normal(0, 1, 60)
    m = x + normal(1, 1, 60)
    y = x + m + normal(2, 1, 60)
    one = pd.DataFrame({"x": x, "m": m, "y": y})
    scaled = one.rank().apply(stats.zscore)
    outcome = sm.OLS.from_formula("y ~ x + m", scaled)
    mediator = sm.OLS.from_formula("m ~ x", scaled)
    np.random.seed(0)
    theirs = Mediation(outcome, mediator, "x", "m").fit(n_rep=400, method="parametric")
    ours = mediation(one.assign(seed=0), cause="x", mediator="m", outcome="y", given=[])
    values = ours.set_index("effect")["value"]
    indirect, direct = theirs.ACME_avg, theirs.ADE_avg
    assert values["indirect"] == pytest.approx(indirect.mean(), abs=4 * indirect.std() / 20)
    assert values["direct"] == pytest.approx(direct.mean(), abs=4 * direct.std() / 20)
    assert ours["note"].eq("no interval: 1 seed, at least 3 are needed").all()


def test_a_missing_column_is_one_line():
    with pytest.raises(ValueError, match=r"^trials must have a column 'x', got none$"):
        mediation(frame(), cause="x")


def planted(depth_index):
    """Runs whose barrier follows one layer's error alone, by a law common to all families."""
    runs = runs_of(grid(architecture=FAMILIES, width=[0.5, 1.0, 2.0], seed=[0, 1, 2],
                        matching=["none", "weights"]), "architecture")  # fmt: skip
    rng = np.random.default_rng(0)

    def read(run_ids):
        found = {}
        for run_id, what in runs.read(run_ids).items():
            layers = [
                dataclasses.replace(layer, cos_error=rng.uniform(0.1, 1) * layer.cos_error)
                for layer in what.layers
            ]
            found[run_id] = dataclasses.replace(what, layers=tuple(layers))
        return found

    noisy = dataclasses.replace(runs, read=read)
    errors = noisy.layers[noisy.layers["index"] == depth_index].groupby("run_id", observed=True)
    barrier = runs.trials["run_id"].map(errors["cos_error"].max().to_dict())
    planted = dataclasses.replace(noisy, trials=runs.trials.assign(test_loss_chord=barrier))
    planted.__dict__["connections"] = noisy.connections
    return planted


@pytest.mark.parametrize(("index", "depth"), [(1, "0.2"), (3, "0.6"), (5, "1.0")])
def test_the_layer_that_decides_the_barrier_predicts_it_best(index, depth):
    found = layer_predictions(planted(index))
    assert found["depth"].iloc[0] == depth
    assert found["share"].iloc[0] == pytest.approx(1, abs=0.05)
    assert len(found) == len(PLACES) + 1
    assert set(found["held_out"]) == {3}


def test_over_the_baseline_is_another_prediction():
    runs = runs_of(grid(architecture=FAMILIES, width=[0.5, 1.0], seed=[0, 1, 2]), "architecture")
    raw, over = (layer_predictions(runs, over=which).set_index("depth") for which in (False, True))
    assert set(raw.index) == set(over.index)
    assert not raw["share"].equals(over["share"].reindex(raw.index))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hold_out": "colour"}, r"^hold_out must be an axis of the trials, got 'colour'$"),
        ({"barrier": "b"}, r"^barrier must be a column of the trials, got 'b'$"),
        ({}, r"^architecture must have at least 2 values to hold out, got 1$"),
    ],
)
def test_what_cannot_be_held_out_is_one_line(change, message):
    with pytest.raises(ValueError, match=message):
        layer_predictions(runs_of([trial()]), **change)
