"""Seeds are compared on the cells of the grid that all of them have, and families not pooled."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis.answers.agreement import agreements, roc_area
from analysis.answers.explanation import explanations
from analysis.answers.layer_prediction import layer_predictions
from analysis.page.across import page_across
from analysis.page.sections.part import find
from analysis.runs.grid import values
from analysis.runs.schema import BARRIER, LLFC
from analysis.statistics.comparators import BASELINE, comparisons
from analysis.statistics.correlations import correlations
from analysis.statistics.partial import partial_correlations
from analysis.statistics.predictions.held_out import places
from tests.helpers.fabricated_runs import grid, runs_of

WIDTHS = [2.0**power for power in range(-5, 5)]


def drawn(cells=10, seeds=3):
    """One line per cell, one cell far off it: what seeds say hangs on whether they have it."""
    rng = np.random.default_rng(0)
    rows = []
    for seed in range(seeds):
        for cell, width in enumerate(WIDTHS[:cells]):
            x = cell + rng.normal(0, 0.8)
            columns = {
                LLFC: x,
                BASELINE: x + rng.normal(0, 1),
                BARRIER: cell + rng.normal() if cell else 30.0,
            }
            rows.append({"architecture": "mlp", "width": width, "seed": seed, **columns})
    return pd.DataFrame(rows)


def by_hand(trials, column, partners):
    """Spearman's rho of each seed over the cells that every one of them has, by plain loops."""
    sets = [set(rows["width"]) for _, rows in trials.groupby("seed")]
    common = set.intersection(*sets)
    return np.array(
        [
            stats.spearmanr(*rows[rows["width"].isin(common)][[column, partners]].to_numpy().T)[0]
            for _, rows in trials.groupby("seed")
        ]
    )


@pytest.fixture
def failed():
    """The cell that is far off the line failed in one of three seeds."""
    trials = drawn()
    return trials[~((trials["seed"] == 1) & (trials["width"] == WIDTHS[0]))]


def test_a_cell_that_failed_in_one_seed_counts_in_none(failed):
    own = by_hand(failed, LLFC, BARRIER)
    row = correlations(failed, LLFC, BARRIER, methods=["Spearman"]).iloc[0]
    assert row["within"] == pytest.approx(np.tanh(np.arctanh(own).mean()))
    assert (row["uneven"], row["trials"], row["note"]) == (2, 29, "")
    assert row["value"] == pytest.approx(stats.spearmanr(failed[LLFC], failed[BARRIER])[0])


def test_paired_differences_are_over_common_cells_too(failed):
    own, other = (by_hand(failed, name, BARRIER) for name in (LLFC, BASELINE))
    found = comparisons(failed, LLFC, BARRIER, methods=["Spearman"]).set_index("predictor")
    row, test = found.loc[BASELINE], stats.ttest_rel(own, other)
    assert row["difference"] == pytest.approx((own - other).mean())
    assert row["difference_p"] == pytest.approx(test.pvalue)
    assert row["within"] == pytest.approx(np.tanh(np.arctanh(other).mean()))


def test_a_comparator_that_a_seed_lacks_in_one_cell_is_compared_without_the_cell():
    trials = drawn()
    trials.loc[(trials["seed"] == 2) & (trials["width"] == WIDTHS[0]), BASELINE] = np.nan
    measured = trials.dropna()
    own, other = (by_hand(measured, name, BARRIER) for name in (LLFC, BASELINE))
    found = comparisons(trials, LLFC, BARRIER, methods=["Spearman"]).set_index("predictor")
    assert found.loc[BASELINE, "difference"] == pytest.approx((own - other).mean())
    assert found.loc[LLFC, "trials"] == 30


def test_a_partial_correlation_is_over_common_cells(failed):
    common = failed[failed["width"] != WIDTHS[0]]
    rows = [
        partial_correlations(each, LLFC, BARRIER, given=["width"], methods=["Spearman"]).iloc[0]
        for each in (failed, common)
    ]
    assert rows[0]["within"] == pytest.approx(rows[1]["within"])
    assert rows[0]["raw"] == pytest.approx(rows[1]["raw"])


def test_without_covariates_a_partial_correlation_is_the_correlation():
    """Of one that repeats in one seed alone, both count it once."""
    trials = pd.concat([drawn().assign(matching=each) for each in ("none", "weights")])
    rng = np.random.default_rng(1)
    again = (trials["seed"] == 0) & trials["width"].isin(WIDTHS[:3])
    moved = (trials["matching"] == "weights") & ~again
    trials.loc[moved, [LLFC, BARRIER]] += rng.normal(size=(moved.sum(), 2))
    row = partial_correlations(trials, LLFC, BARRIER, given=[], methods=["Spearman"]).iloc[0]
    assert row["within"] == pytest.approx(row["raw"])


def test_a_seed_in_perfect_order_does_not_decide_a_partial_correlation():
    """As without covariates, it counts as half a step of ranks below 1."""
    rng = np.random.default_rng(0)
    trials = pd.DataFrame(rng.normal(size=(40, 3)), columns=[LLFC, BARRIER, "width"])
    trials = trials.assign(architecture="mlp", seed=np.repeat(range(5), 8))
    first = trials["seed"] == 0
    trials.loc[first, BARRIER] = trials.loc[first, LLFC]
    row = partial_correlations(trials, LLFC, BARRIER, given=["width"], methods=["Spearman"]).iloc[0]
    own = []
    for _, rows in trials[~first].groupby("seed"):
        design = np.column_stack([np.ones(8), stats.rankdata(rows["width"])])
        placed = np.column_stack([stats.rankdata(rows[name]) for name in (LLFC, BARRIER)])
        left = placed - design @ np.linalg.lstsq(design, placed)[0]
        own.append(np.corrcoef(left.T)[0, 1])
    perfect = 1 - 6 / (7 * 48)  # of 7 trials, as the covariate takes one
    assert row["within"] == pytest.approx(np.tanh(np.arctanh([perfect, *own]).mean()))


def test_where_no_trial_has_a_number_there_is_no_partial_correlation():
    trials = drawn().assign(**{BARRIER: np.nan})
    row = partial_correlations(trials, LLFC, BARRIER, given=["width"], methods=["Spearman"]).iloc[0]
    assert row["trials"] == 0
    assert np.isnan(row["within"])


@pytest.mark.parametrize("left", [range(7), range(2)], ids=["few in common", "a seed begun"])
def test_where_few_cells_are_common_all_count_or_the_seed_does_not(left):
    trials = drawn()
    gone = (trials["seed"] == 1) & ~trials["width"].isin([WIDTHS[i] for i in left])
    gone |= (trials["seed"] == 2) & trials["width"].isin(WIDTHS[:5] if len(left) > 3 else [])
    row = correlations(trials[~gone], LLFC, BARRIER, methods=["Spearman"]).iloc[0]
    own = [
        stats.spearmanr(rows[LLFC], rows[BARRIER])[0]
        for _, rows in trials[~gone].groupby("seed")
        if len(rows) > 3
    ]
    assert row["within"] == pytest.approx(np.tanh(np.arctanh(own).mean()))
    assert ("other cells" in row["note"]) == (len(left) > 3)


@pytest.mark.slow
def test_families_of_one_architecture_are_groups_of_their_own(monkeypatch):
    monkeypatch.setattr("analysis.page.across.SECTIONS_ACROSS", ())
    runs = runs_of(
        grid(architecture=["vgg11"], norm=["none", "batch"], width=[0.5, 1.0, 2.0], seed=[0, 1, 2])
        + grid(architecture=["mlp"], width=[0.5, 1.0, 2.0], seed=[0, 1, 2])
    )
    families = {
        f"architecture {each}"
        for each in ("mlp, norm none", "vgg11, norm batch", "vgg11, norm none")
    }
    assert {*find(runs, "width").found["group"]} == {"all", *families}
    page = page_across([runs, runs_of(grid(width=[0.25], seed=[0]), "other")])
    numbers = page.parts[0].tables[0].numbers
    assert {*numbers[numbers["panel"] == "by architecture"]["group"]} == families
    assert len(values(runs.trials, "norm")) == 2


def test_norms_of_one_architecture_are_no_one_family_for_covariates():
    trials = pd.concat([drawn().assign(norm=norm) for norm in ("none", "batch")])
    trials.loc[trials["norm"] == "batch", [LLFC, BARRIER]] += 100  # between norms alone
    found = partial_correlations(trials, LLFC, BARRIER, methods=["Pearson"]).iloc[0]
    expected = partial_correlations(
        trials, LLFC, BARRIER, given=["norm", "width"], methods=["Pearson"]
    ).iloc[0]
    assert found["within"] == pytest.approx(expected["within"])


def common_of(failed):
    return failed[failed["width"] != WIDTHS[0]]


def test_an_agreement_is_averaged_over_common_cells_and_counted_over_all(failed):
    own = []
    for _, rows in common_of(failed).groupby("seed"):
        both = zip(rows[BARRIER], rows[LLFC], strict=True)
        own.append(np.mean([(barrier < 4) == (error < 4) for barrier, error in both]))
    row = agreements(failed, barrier=BARRIER, lmc=[4], llfc=[4]).iloc[0]
    assert row["agree"] == pytest.approx(np.mean(own))
    assert row[["both", "lmc_only", "llfc_only", "neither"]].sum() == 29


def test_an_area_is_over_common_cells(failed):
    own = []
    for _, rows in common_of(failed).groupby("seed"):
        near, far = (rows[LLFC][(rows[BARRIER] < 4) == which] for which in (True, False))
        own.append(np.mean([a < b for a in near for b in far]))
    row = roc_area(failed, barrier=BARRIER, lmc=4).iloc[0]
    assert row["area"] == pytest.approx(np.mean(own))


def test_a_gain_is_over_common_cells(failed):
    found = explanations(failed, {"all": (BARRIER, [BASELINE], [LLFC])})
    common = common_of(failed)
    gains = []
    for seed in range(3):
        fit, out = common[common["seed"] != seed], common[common["seed"] == seed]
        wanted = ranked(fit, out, [BARRIER])
        share = []
        for names in ([BASELINE], [BASELINE, LLFC]):
            design = ranked(fit, out, names)
            line = np.linalg.lstsq(design[0], wanted[0][:, 1])[0]
            left = wanted[1][:, 1] - design[1] @ line
            share.append(1 - (left**2).mean() / wanted[1][:, 1].var())
        gains.append(share[1] - share[0])
    assert found["gain"].item() == pytest.approx(np.mean(gains))
    assert found["trials"].item() == 27


def ranked(fit, out, names):
    """Ones and the columns' places among the fitted, of the fitted and of the held-out rows."""
    both = pd.concat([fit, out])
    fitted = np.arange(len(both)) < len(fit)
    columns = [places(both[name], fitted) for name in names]
    design = np.column_stack([np.ones(len(both)), *columns])
    return design[fitted], design[~fitted]


@pytest.mark.parametrize("hold_out", ["seed", "architecture"])
def test_a_prediction_from_layers_is_over_common_cells(hold_out):
    whole = runs_of(grid(architecture=["mlp", "vgg11"], width=WIDTHS[3:7], seed=[0, 1, 2]))
    trials = whole.trials
    at = (trials["width"] == WIDTHS[3]) & (trials["architecture"] == "mlp")
    lost = at & (trials["seed"] == 1)
    failed, common = (dataclasses.replace(whole, trials=trials[~gone]) for gone in (lost, at))
    both = [layer_predictions(runs, hold_out=hold_out) for runs in (failed, common)]
    pd.testing.assert_frame_equal(*both)


def test_where_few_cells_are_common_notes_say_so():
    trials = drawn()
    gone = (trials["seed"] == 1) & trials["width"].isin(WIDTHS[7:])
    gone |= (trials["seed"] == 2) & trials["width"].isin(WIDTHS[:5])
    trials = trials[~gone]
    for found in (
        partial_correlations(trials, LLFC, BARRIER, given=["width"], methods=["Spearman"]),
        agreements(trials, barrier=BARRIER, lmc=[4], llfc=[4]),
        roc_area(trials, barrier=BARRIER, lmc=4),
        explanations(trials, {"all": (BARRIER, [BASELINE], [LLFC])}),
    ):
        assert found["note"].str.contains("other cells").all()
