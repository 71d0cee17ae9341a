"""Slopes within and between cells are the law's, held as often as they say, or refused in words."""

import itertools
import math
import warnings

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf

from analysis.runs.schema import BARRIER, LLFC
from analysis.statistics.cells import LEVELS, MOST_TRIALS, within_cells
from tests.helpers.fabricated_runs import runs_of, width_grid
from tests.helpers.quick_cases import slow_unless

WITHIN, BETWEEN = 1.24, 1.38


def drawn(rng, *, families=4, pairs=6, seeds=3, matchings=2, noise=0.2, within=WITHIN):
    """A grid from the model: every cell has its mean, trials share the seed and the pair."""
    axes = [range(families), range(pairs), range(seeds), range(matchings)]
    grid = np.array(list(itertools.product(*axes)))
    columns = ["architecture", "width", "seed", "matching"]
    frame = pd.DataFrame(grid, columns=columns)

    def effect(names, size):
        groups = frame.groupby(names).ngroup().to_numpy()
        return rng.normal(0, size, groups.max() + 1)[groups]

    cell = ["architecture", "width", "matching"]
    own = effect([*cell, "seed"], 0.3)
    mean = effect(cell, 1.5)
    x = mean + own
    xbar = pd.Series(x).groupby(frame.groupby(cell).ngroup()).transform("mean").to_numpy()
    y = within * (x - xbar) + BETWEEN * xbar + effect(cell, 0.4)
    y += effect(["architecture", "seed"], 0.2) + effect(["architecture", "width", "seed"], 0.2)
    y += rng.normal(0, noise, len(frame))
    matching = frame["matching"].map(["none", "weights", "activations"].__getitem__)
    return frame.assign(x=np.exp(x), y=np.exp(y), matching=matching, norm="none")


def by_place(trials, x="x", y="y"):
    return within_cells(trials, x, y).set_index("place")


def test_the_slopes_are_those_of_one_mixed_model_over_all_families():
    """Families are blocks of the same model, which statsmodels takes as one."""
    trials = drawn(np.random.default_rng(0))
    found = by_place(trials)
    data = trials.assign(
        lx=np.log(trials["x"]),
        ly=np.log(trials["y"]),
        one=1,
        cell=trials.groupby(["architecture", "width", "matching"]).ngroup(),
        fs=trials.groupby(["architecture", "seed"]).ngroup(),
        pair=trials.groupby(["architecture", "width", "seed"]).ngroup(),
    )
    data["mean"] = data.groupby("cell")["lx"].transform("mean")
    data["own"] = data["lx"] - data["mean"]
    parts = {name: f"0 + C({name})" for name in ("cell", "fs", "pair")}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        whole = smf.mixedlm(
            "ly ~ own + mean", data, groups="one", re_formula="0", vc_formula=parts
        ).fit()
    for place, name in zip(LEVELS, ("own", "mean"), strict=True):
        row = found.loc[place]
        assert row["slope"] == pytest.approx(whole.fe_params[name], abs=2e-3)
        low, high = whole.conf_int().loc[name]
        assert (row["low"], row["high"]) == pytest.approx((low, high), abs=5e-3)
    assert set(found["trials"]) == {len(trials)}
    assert set(found["cells"]) == {48}


def test_the_slope_within_is_that_of_the_law_and_not_that_between():
    rng = np.random.default_rng(1)
    found = by_place(drawn(rng, families=2, pairs=10, seeds=5, noise=0.05, within=-0.5))
    assert found.loc[LEVELS[0], "slope"] == pytest.approx(-0.5, abs=0.2)
    assert found.loc[LEVELS[1], "slope"] == pytest.approx(BETWEEN, abs=0.2)
    assert found.loc[LEVELS[0], "high"] < 0 < found.loc[LEVELS[1], "low"]


@pytest.mark.parametrize("seeds", slow_unless((), [3, 5], [5]))
def test_intervals_hold_the_slopes_of_the_law(seeds):
    held = []
    for number in range(60):
        found = by_place(drawn(np.random.default_rng(number), families=2, pairs=5, seeds=seeds))
        truth = pd.Series([WITHIN, BETWEEN], LEVELS)
        held.append((found["low"] <= truth) & (truth <= found["high"]))
    assert 0.87 <= np.mean(held) <= 1
    assert np.mean(held, axis=0).min() >= 0.85


def test_rows_in_another_order_are_the_same_trials():
    """A trial under two names counts in the cell of the plainer one, whichever comes first."""
    trials = runs_of(width_grid()).trials
    moved = trials["matching"] == "weights"
    some = trials[moved & (trials["seed"] == 0)].assign(matching="activations")
    rows = pd.concat([trials[moved], trials[trials["matching"] == "none"], some])
    one, two = (
        within_cells(each, LLFC, BARRIER) for each in (rows, rows.sample(frac=1, random_state=0))
    )
    assert set(one["cells"]) == {10}
    pd.testing.assert_frame_equal(one, two, rtol=1e-4)


def test_a_cell_with_a_zero_is_left_out_whole():
    trials = drawn(np.random.default_rng(2))
    zero = trials.copy()
    zero.loc[0, "y"] = 0.0
    without = trials[
        ~((trials[["architecture", "width"]] == 0).all(axis=1) & (trials.matching == "none"))
    ]
    found, expected = by_place(zero), by_place(without)
    assert set(found["left_out"]) == {3}
    assert found["slope"].tolist() == pytest.approx(expected["slope"].tolist(), abs=1e-4)
    assert set(found["ranked"]) == {len(trials)}


def test_the_share_is_that_of_the_means_of_cells():
    trials = drawn(np.random.default_rng(3))
    ranks = trials[["x", "y"]].rank()
    means = ranks.groupby([trials["architecture"], trials["width"], trials["matching"]]).transform(
        "mean"
    )
    expected = np.cov(means.T)[0, 1] / np.cov(ranks.T)[0, 1]
    share = by_place(trials)["share"]
    assert share[LEVELS[1]] == pytest.approx(expected)
    assert share.sum() == pytest.approx(1)


@pytest.mark.slow
def test_what_is_within_cells_alone_has_no_share_between():
    rng = np.random.default_rng(4)
    trials = drawn(rng, seeds=8)
    z = rng.standard_normal(len(trials))
    share = by_place(trials.assign(x=np.exp(z), y=np.exp(z)))["share"]
    assert share[LEVELS[1]] < 0.3


@pytest.mark.parametrize(
    ("change", "note"),
    [
        (lambda t: t[t["seed"] == 0], "no slope: 1 seed, at least 2 are needed"),
        (lambda t: t.iloc[:0], "no slope: 0 seeds, at least 2 are needed"),
        (
            lambda t: t[(t["width"] == 0) & (t["architecture"] == 0) & (t["matching"] == "none")],
            "no slope: 1 cell of positive numbers in two trials or more, at least 3 are needed",
        ),
        (
            lambda t: t.assign(y=0.0),
            "no slope: 0 cells of positive numbers in two trials or more, at least 3 are needed",
        ),
        (lambda t: t.assign(y=2.0), "no slope: a column does not vary"),
        (lambda t: t.assign(x=np.nan), "no slope: 0 seeds, at least 2 are needed"),
    ],
    ids=["one seed", "nothing", "one cell", "zeros", "constant", "unknown"],
)
def test_where_there_is_no_slope_the_note_says_why(change, note):
    found = within_cells(change(drawn(np.random.default_rng(5))), "x", "y")
    assert found["slope"].isna().all()
    assert set(found["note"]) == {note}


def test_one_trial_a_pair_and_one_pair_a_seed_have_an_answer():
    """Then a component is the residual, or another component, once more."""
    single = by_place(drawn(np.random.default_rng(6), matchings=1))
    assert single["note"].eq("").all()
    one_pair = by_place(drawn(np.random.default_rng(7), families=1, pairs=1, matchings=3, seeds=9))
    assert one_pair["note"].eq("").all()


@pytest.mark.slow
def test_a_law_without_noise_is_found_or_refused_and_nothing_is_raised():
    trials = drawn(np.random.default_rng(8))
    found = by_place(trials.assign(y=trials["x"] ** 1.5))
    if found["note"].eq("").all():
        assert found["slope"].tolist() == pytest.approx([1.5, 1.5], abs=1e-3)
    else:
        assert found["slope"].isna().all()


@pytest.mark.slow
def test_of_a_large_family_whole_cells_are_drawn():
    trials = drawn(np.random.default_rng(9), families=1, pairs=60, seeds=5, matchings=2)
    found = by_place(trials)
    used = found["trials"].iloc[0]
    assert MOST_TRIALS - 5 <= used <= MOST_TRIALS
    assert used == 5 * found["cells"].iloc[0]
    assert set(found["left_out"]) == {len(trials) - used}
    assert not math.isnan(found["slope"].iloc[0])


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [60, 450])
def test_of_many_seeds_some_are_drawn_and_there_is_a_slope(seeds):
    trials = drawn(np.random.default_rng(9), families=1, pairs=4, seeds=seeds, matchings=2)
    found = by_place(trials)
    assert found["cells"].iloc[0] == 8
    assert found["trials"].iloc[0] <= MOST_TRIALS
    assert not math.isnan(found["slope"].iloc[0])
    assert set(found["left_out"]) == {len(trials) - found["trials"].iloc[0]}
