"""What was not measured, or failed, is in no number: neither as the largest value nor as zero."""

import dataclasses
import math

import numpy as np
import pandas as pd
import pytest

from analysis.answers.answer import answer, counts
from analysis.answers.layer_prediction import layer_predictions
from analysis.answers.onset import onsets
from analysis.page.sections import explained, together
from analysis.page.sections.part import find
from analysis.runs.frames import Runs
from analysis.runs.schema import BARRIER, INSTABILITY, LLFC
from analysis.statistics.correlations import correlations
from analysis.statistics.partial import partial_correlations
from analysis.statistics.predictions.transfer import transfers
from analysis.statistics.summaries import with_summaries
from tests.helpers.fabricated_runs import MATCHINGS, grid, runs_of, width_grid

BARRIERS = {0: 0.1, 1: 0.05, 2: 0.01, 4: 0.0}


def spawned(seeds: int = 3) -> pd.DataFrame:
    """Trials that are connected from a spawn epoch between 1 and 2 on."""
    trials = runs_of(grid(spawn_epoch=list(BARRIERS), seed=range(seeds))).trials
    return trials.assign(**{INSTABILITY: trials["spawn_epoch"].map(BARRIERS)})


def without_layers(runs: Runs, gone: list[str]) -> Runs:
    """`runs`, of which the trials `gone` have probed no layer."""

    def read(run_ids):
        found = runs.read(run_ids)
        return {
            run_id: dataclasses.replace(one, layers=()) if run_id in gone else one
            for run_id, one in found.items()
        }

    return dataclasses.replace(runs, read=read)


@pytest.mark.parametrize("gone", [lambda t: t["seed"] == 0, lambda t: t["spawn_epoch"] == 0])
def test_a_seed_that_was_not_measured_is_not_connected_from_the_start(gone):
    trials = spawned()
    trials.loc[
        (trials["seed"] == 0) & (gone(trials) | (trials["spawn_epoch"] < 4)), INSTABILITY
    ] = math.nan
    row = onsets(trials, "spawn_epoch").iloc[0]
    assert (row["from_start"], row["unknown"], row["never"]) == (0, 1, 0)
    assert math.isnan(row["onset"])


def test_a_value_at_which_every_seed_failed_is_one_of_the_grid():
    trials = spawned().assign(**{INSTABILITY: 0.5})
    failed = runs_of([], failed=grid(spawn_epoch=[8], seed=range(3))).unfinished
    row = onsets(trials, "spawn_epoch", unfinished=failed).iloc[0]
    assert (row["never"], row["unknown"]) == (0, 3)
    assert onsets(trials, "spawn_epoch").iloc[0]["never"] == 3


def test_of_a_seed_that_was_not_measured_at_the_end_the_onset_is_not_known():
    trials = spawned()
    trials.loc[(trials["seed"] == 0) & (trials["spawn_epoch"] == 4), INSTABILITY] = math.nan
    row = onsets(trials, "spawn_epoch").iloc[0]
    assert (row["unknown"], row["never"]) == (1, 0)
    assert math.isnan(row["onset"])


@pytest.mark.parametrize("seeds", [1, 2])
def test_a_bracket_of_too_few_seeds_is_no_interval_over_seeds(seeds):
    row = onsets(spawned(seeds), "spawn_epoch").iloc[0]
    assert 1 < row["onset"] < 2
    assert row[["low", "high"]].isna().all()
    assert "too few seeds" in row["note"]


@pytest.mark.slow
def test_profiles_that_were_not_measured_predict_nothing():
    runs = runs_of(width_grid())
    gone = runs.trials["run_id"].tolist()[::3]
    rest = dataclasses.replace(runs, trials=runs.trials[~runs.trials["run_id"].isin(gone)])
    found = layer_predictions(without_layers(runs, gone), hold_out="seed")
    assert found.equals(layer_predictions(rest, hold_out="seed"))
    with pytest.raises(ValueError, match="at least 2 values"):
        layer_predictions(without_layers(runs, runs.trials["run_id"].tolist()), hold_out="seed")


def test_a_page_of_barriers_that_were_not_measured_is_drawn():
    runs = runs_of(width_grid())
    runs.trials[BARRIER] = math.nan
    findings = find(runs)
    assert together.prediction_section(findings) is None
    assert explained.transfer_section(findings) is None


@pytest.mark.parametrize("column", ["weight_cos", "commutativity_dist_h_mean", LLFC])
def test_families_are_held_out_where_they_were_measured(column):
    runs = runs_of(grid(architecture=["mlp", "vgg11"], width=[0.25, 0.5, 1.0, 2.0], seed=[0, 1]))
    runs.trials.loc[runs.trials["architecture"] == "vgg11", column] = math.nan
    if column == LLFC:
        assert explained.transfer_section(find(runs)) is None
        return
    found = transfers(with_summaries(runs))
    assert set(found["held_out"]) == {"mlp", "vgg11"}
    assert "weight_cos_distance" not in set(found["predictor"]) or column != "weight_cos"
    assert (found["trials"] == 8).all()


@pytest.mark.slow
def test_a_trial_without_a_covariate_is_left_out_and_not_its_seed():
    trials = with_summaries(runs_of(width_grid()))
    rng = np.random.default_rng(0)
    trials["endpoint_error"] = rng.normal(size=len(trials))
    gone = trials.index[::7]
    rest = partial_correlations(trials.drop(index=gone), LLFC, BARRIER)
    trials.loc[gone, "endpoint_error"] = math.nan
    found = partial_correlations(trials, LLFC, BARRIER)
    assert found.equals(rest)
    assert (found["trials"] == 3 * (15 - len(gone))).all()  # of cells that every seed has
    # Of eight trials' ranks the covariates may decide a column: as numbers they do not.
    assert found.set_index("method").loc["Pearson", "seeds"] == 3


@pytest.mark.parametrize("method", ["Spearman", "Kendall"])
def test_seeds_with_other_cells_that_agree_do_not_differ(method):
    """Half a step below 1 is another number for every number of trials: of nothing but that."""
    trials = runs_of(grid(width=[2.0**i for i in range(8)], seed=[0, 1, 2])).trials
    trials = trials.assign(**{BARRIER: trials["width"], LLFC: trials["width"] ** 2})
    some = trials[trials["width"] < 2.0 ** (8 - trials["seed"])]
    row = correlations(some, LLFC, BARRIER, methods=[method]).iloc[0]
    assert row["within"] == pytest.approx(1)
    assert math.isnan(row["low"])
    assert math.isnan(row["p"])


def test_sentences_count_the_trials_that_they_rest_on():
    trials = runs_of(grid(width=[0.25, 0.5, 1.0, 2.0], seed=[0, 1, 2], matching=MATCHINGS)).trials
    trials.loc[trials["width"] == 2.0, LLFC] = math.nan
    text = answer(trials, correlations(trials, LLFC, BARRIER))
    assert "27 trials" in counts(trials)
    assert "9 more" in counts(trials)
    assert "over all 27 trials" in text
    assert "of 9 pairs" in text


def test_a_family_predicted_much_worse_than_its_mean_leaves_the_picture_readable():
    runs = runs_of(grid(architecture=["mlp", "vgg11"], width=[0.25, 0.5, 1.0, 2.0], seed=[0, 1, 2]))
    of_vgg, wide = runs.trials["architecture"] == "vgg11", runs.trials["width"] >= 1
    middle = np.sort(runs.trials.loc[~of_vgg, BARRIER])[6]  # nearly all the same, beside one of 12
    runs.trials.loc[of_vgg, BARRIER] = middle + np.where(wide, 1e-9, -1e-9)[of_vgg]
    part = explained.transfer_section(find(runs))
    assert part.tables[0].numbers["share"].min() < -5
    assert part.figure.axes[0].get_xlim()[0] > -1.5
    runs.trials[INSTABILITY] = np.where(runs.trials[LLFC] < runs.trials[LLFC].median(), 0.0, 1.0)
    assert explained.transfer_section(find(runs)).tables[1].key == "thresholds"
