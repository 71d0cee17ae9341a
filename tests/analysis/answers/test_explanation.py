"""Shares of unseen variance, held out by seed and by family, and the layer that predicts best."""

import dataclasses
import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.metrics import r2_score

from analysis.answers.explanation import QUESTIONS, explanations
from analysis.answers.layer_prediction import layer_predictions
from analysis.runs.grid import family_axes, family_names
from analysis.runs.schema import BARRIER, LLFC
from analysis.statistics.predictions.held_out import design, places, predict, shares
from analysis.statistics.summaries import PROFILE_DEPTHS, with_summaries
from tests.helpers.fabricated_runs import grid, runs_of, trial

FAMILIES = ["mlp", "vgg11", "resnet20"]


def frame(seeds=5, count=40, **columns):
    return pd.DataFrame({"seed": np.repeat(range(seeds), count), **columns})


def normal(seed, seeds=5, count=40):
    return np.random.default_rng(seed).standard_normal(seeds * count)


def test_a_prediction_has_not_seen_what_it_predicts():
    """By hand, with scipy: ranks and line from the fitted trials alone."""
    trials = frame(x=np.exp(normal(0)), y=np.exp(normal(0) + normal(1)))
    found = predict(trials, ["x"], "y", trials["seed"].tolist())
    for seed in range(5):
        out = (trials["seed"] == seed).to_numpy()
        x, y = (trials[name].to_numpy() for name in "xy")
        n = (~out).sum()
        slope, constant, *_ = stats.linregress(*(stats.rankdata(v[~out]) / n for v in (x, y)))
        place = [(stats.percentileofscore(x[~out], v, "mean") / 100 * n + 0.5) / n for v in x[out]]
        assert found["predicted"].to_numpy()[out] == pytest.approx(
            constant + slope * np.array(place)
        )


def test_what_is_held_out_moves_no_prediction():
    trials = frame(x=normal(0), y=normal(0) + normal(1))
    groups = trials["seed"].tolist()
    other = trials.copy()
    out = other["seed"] == 2
    other.loc[out, "y"] = 100 + normal(5)[out]
    other.loc[out & (other.index % 2 == 0), "x"] += 50
    still = out & (other.index % 2 == 1)
    one, two = (predict(each, ["x"], "y", groups)[still] for each in (trials, other))
    assert one["predicted"].tolist() == two["predicted"].tolist()
    assert one["predicted_value"].tolist() == two["predicted_value"].tolist()
    assert (two["wanted"] > 1).all()


def test_in_its_own_unit_a_prediction_has_the_values_of_the_fitted_trials():
    trials = frame(x=normal(0), y=7 + 3 * normal(0))
    found = predict(trials, ["x"], "y", trials["seed"].tolist())
    assert found["wanted_value"].tolist() == trials["y"].tolist()
    assert r2_score(found["wanted_value"], found["predicted_value"]) > 0.98


def test_a_place_that_is_predicted_has_the_value_that_is_there():
    known = np.arange(10.0, 110, 10)
    both = np.array([*known, 30, 10, 35])
    trials = pd.DataFrame({"x": both, "y": both})
    found = predict(trials, ["x"], "y", [0] * 10 + [1] * 3)[10:]
    assert found["predicted"].tolist() == pytest.approx([0.3, 0.1, 0.35])
    assert found["predicted_value"].tolist() == pytest.approx([30, 10, 35])


def test_shares_are_one_for_the_truth_and_zero_for_the_mean():
    y, seeds = np.arange(8.0), [0, 0, 0, 0, 1, 1, 1, 1]
    assert shares(y, y, seeds).tolist() == [1, 1]
    means = np.repeat([1.5, 5.5], 4)
    assert shares(y, means, seeds).tolist() == [0, 0]
    assert np.isnan(shares(y[:1], y[:1], [0])).all()


def test_words_have_a_column_a_value_but_one():
    trials = pd.DataFrame({"a": ["x", "y", "z", "x"], "b": [3.0, 1.0, 2.0, 4.0]})
    every = np.ones(4, dtype=bool)
    found = design(trials, ["a", "b"], every)
    assert found.tolist() == [[0, 0, 0.75], [1, 0, 0.25], [0, 1, 0.5], [0, 0, 1.0]]
    lines = design(trials, ["a:b"], every)
    assert lines.tolist() == [
        [0.75, 0, 0, 0, 0], [0.25, 1, 0, 0.25, 0], [0.5, 0, 1, 0, 0.5], [1.0, 0, 0, 0, 0],
    ]  # fmt: skip


def test_places_are_ranks_of_the_fitted():
    x = np.array([3.0, 1.0, 1.0, 2.0, 5.0, 0.0, 1.5])
    fitted = np.array([True] * 4 + [False] * 3)
    found = places(pd.Series(x), fitted)
    assert found[:4] == pytest.approx(stats.rankdata(x[:4]) / 4)
    assert found[4:] == pytest.approx([4.5 / 4, 0.5 / 4, 2.5 / 4])


def test_one_group_cannot_be_held_out():
    trials = pd.DataFrame({"x": [1.0, 2.0, 3.0], "y": [1.0, 2.0, 3.0]})
    with pytest.raises(ValueError, match=r"^groups to hold out must be at least 2, got 1$"):
        predict(trials, ["x"], "y", [0, 0, 0])


def test_what_adds_nothing_gains_nothing_and_what_adds_gains():
    x, noise = normal(0), normal(1)
    trials = frame(x=x, noise=noise, y=x + 0.3 * normal(2))
    asked = {"noise": ("y", ["x"], ["noise"]), "x": ("y", ["noise"], ["x"])}
    found = explanations(trials, asked).set_index("question")
    assert found.loc["noise", "gain"] < 0.01
    assert found.loc["x", "low"] > 0.5
    gains = found["share_both"] - found["share_base"]
    assert found["gain"].to_numpy() == pytest.approx(gains.to_numpy())


@pytest.mark.slow
def test_every_question_of_the_study_has_a_row():
    trials = with_summaries(runs_of(grid(width=[0.5, 1.0, 2.0], seed=[0, 1, 2],
                                         matching=["none", "weights"])))  # fmt: skip
    found = explanations(trials)
    assert set(found["question"]) == set(QUESTIONS)
    assert set(found["trials"]) == {18}
    left = explanations(trials.drop(columns=["weight_cos", "weight_cos_distance"]))["question"]
    assert set(QUESTIONS) - set(left) == {
        "LLFC error, beyond family × weight cosine", "weight cosine, beyond LLFC error",
    }  # fmt: skip


def test_a_network_of_another_size_is_no_gain_over_its_weights():
    """A barrier that the angle decides, family by family; the distance is its size besides."""
    rng = np.random.default_rng(0)
    trials = frame(seeds=4, count=60)
    family = np.tile(np.repeat([0, 1, 2], 20), 4)
    angle = rng.uniform(size=len(trials))
    trials = trials.assign(
        architecture=np.array(["mlp", "vgg11", "resnet20"])[family],
        norm="none",
        weight_cos=1 - angle,
        weight_distance=angle * 10.0 ** rng.integers(0, 4, len(trials)),
        **{BARRIER: angle * 10.0**family, LLFC: angle * 10.0**family},
    )
    straw = {"straw": (BARRIER, ["weight_distance"], [LLFC])}
    assert explanations(trials, straw)["gain"].item() > 0.4
    found = explanations(trials).set_index("question")
    assert found.loc["LLFC error, beyond family × weight cosine", "gain"] < 0.15


@pytest.mark.slow
def test_in_one_family_a_question_is_about_that_family():
    axes = {"architecture": FAMILIES, "width": [0.5, 1.0, 2.0], "seed": [0, 1, 2]}
    trials = with_summaries(runs_of(grid(**axes, matching=["none", "weights"]), "architecture"))
    asked = dict(list(QUESTIONS.items())[:3])
    found = explanations(trials, asked, by=["architecture"])
    assert len(found) == 4 * len(asked)
    alone = explanations(trials[trials["architecture"] == "vgg11"], asked)
    part = found[found["group"] == "architecture vgg11"]
    assert part["gain"].tolist() == pytest.approx(alone["gain"].tolist())


def test_families_are_architectures_with_their_norms():
    two = pd.DataFrame({"architecture": ["mlp", "vgg11"], "norm": ["none", "none"]})
    assert family_names(two).tolist() == ["mlp", "vgg11"]
    norms = pd.DataFrame({"architecture": ["mlp", "resnet20"], "norm": ["none", "layer"]})
    assert family_names(norms).tolist() == ["mlp, none norm", "resnet20, layer norm"]
    assert family_names(pd.DataFrame({"x": [1, 2]})).nunique() == 1


def test_data_tell_families_apart_where_nothing_else_does():
    nets = {"architecture": ["gpt", "gpt", "mlp"], "dataset": ["king-james", "sums", "sums"]}
    assert family_names(pd.DataFrame(nets)).tolist() == ["gpt, king-james", "gpt, sums", "mlp"]
    assert family_axes(pd.DataFrame(nets)) == ("architecture", "dataset")
    other = pd.DataFrame({"architecture": ["gpt", "mlp"], "dataset": ["king-james", "sums"]})
    assert family_names(other).tolist() == ["gpt", "mlp"]
    assert family_axes(other) == "architecture"


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
    assert len(found) == len(PROFILE_DEPTHS) + 1
    assert set(found["held_out"]) == {3}


@pytest.mark.slow
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


@pytest.mark.parametrize("gone", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("column", ["x", "y"])
def test_what_was_not_measured_has_no_rank_and_moves_no_prediction(column, gone):
    trials = frame(x=normal(0), y=normal(0) + normal(1))
    left = trials.index % 7 == 3
    rest = predict(trials[~left], ["x"], "y", trials["seed"][~left].tolist())
    trials.loc[left, column] = gone
    found = predict(trials, ["x"], "y", trials["seed"].tolist())
    assert found[~left].equals(rest)
    assert found.loc[left, ["wanted", "predicted", "predicted_value"]].isna().all(axis=None)
    own = shares(found["wanted"], found["predicted"], trials["seed"].tolist())
    seeds = trials["seed"][~left].tolist()
    assert own.tolist() == shares(rest["wanted"], rest["predicted"], seeds).tolist()
    fitted = (trials["seed"] > 0).to_numpy()
    known = places(trials.loc[~left, column], fitted[~left])
    assert places(trials[column], fitted)[~left].tolist() == known.tolist()


def test_a_group_without_which_nothing_is_measured_is_refused():
    trials = frame(x=normal(0), y=normal(0)).assign(x=lambda t: t["x"].where(t["seed"] == 2))
    with pytest.raises(ValueError, match=r"^no trial has y, x where one is held out$"):
        predict(trials, ["x"], "y", trials["seed"].tolist())


def test_rows_of_one_name_are_trials_of_their_own():
    trials = frame(x=normal(0), y=normal(0) + normal(1))
    renamed = trials.set_axis(trials.index % 3)
    one, two = (predict(each, ["x"], "y", each["seed"].tolist()) for each in (trials, renamed))
    assert (one.to_numpy() == two.to_numpy()).all()
    assert two.index.equals(renamed.index)
