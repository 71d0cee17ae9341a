"""As which power of the width the barrier goes, against numpy's least squares of logarithms."""

import numpy as np
import pytest
from scipy import stats

from analysis.answers.exports import TableOptions, export
from analysis.page.report import page_of
from analysis.runs.schema import BARRIER
from analysis.statistics.powers import powers
from tests.helpers.fabricated_runs import grid, runs_of

AXES = {"width": [0.5, 1, 4], "seed": [0, 1, 2], "matching": ["none", "weights"]}


def falling():
    """Trials whose matched barriers fall as width to the power -0.4, -0.5 and -0.6 by seed."""
    trials = runs_of(grid(**AXES), "width").trials
    exponent = np.where(trials["matching"] == "weights", -0.4 - trials["seed"] / 10, 0.0)
    return trials.assign(**{BARRIER: 2 * trials["width"].astype(float) ** exponent})


def test_a_power_law_gives_its_exponents_back():
    found = powers(falling(), "width").set_index("group")
    weights = found.loc["matching weights"]
    half = stats.t.ppf(0.975, 2) * 0.1 / np.sqrt(3)
    assert weights["power"] == pytest.approx(-0.5)
    assert (weights["low"], weights["high"]) == pytest.approx((-0.5 - half, -0.5 + half))
    assert (weights["least"], weights["most"], weights["places"]) == (0.5, 4, 3)
    assert found.loc["matching none", "power"] == pytest.approx(0, abs=1e-12)


def test_of_points_off_the_law_it_is_the_line_of_least_squares():
    trials = falling()
    noise = np.random.default_rng(0).lognormal(0, 0.3, len(trials))
    trials = trials.assign(**{BARRIER: trials[BARRIER] * noise}).sample(frac=1, random_state=0)
    for group, rows in trials.groupby("matching", observed=True):
        slopes = [
            np.polyfit(np.log(part["width"].astype(float)), np.log(part[BARRIER]), 1)[0]
            for _, part in rows.groupby("seed")
        ]
        found = powers(trials, "width").set_index("group").loc[f"matching {group}"]
        assert found["power"] == pytest.approx(np.mean(slopes))
        interval = stats.ttest_1samp(slopes, 0).confidence_interval()
        assert (found["low"], found["high"]) == pytest.approx(tuple(interval))


def test_a_seed_with_a_barrier_of_zero_has_no_power():
    trials = falling()
    zero = (trials["seed"] == 1) & (trials["width"] == 4) & (trials["matching"] == "weights")
    found = powers(trials.assign(**{BARRIER: trials[BARRIER].mask(zero, 0.0)}), "width")
    row = found.set_index("group").loc["matching weights"]
    assert (row["seeds"], row["power"]) == (2, pytest.approx(-0.5))
    assert np.isnan(row["low"])
    assert "of 3 seeds 1 without" in row["note"]


@pytest.mark.parametrize(
    ("axis", "said"),
    [
        ("limit_train", "limit_train must have at least 2"),
        ("matching", "matching must be a numeric axis"),
    ],
)
def test_an_axis_without_powers_is_refused(axis, said):
    with pytest.raises(ValueError, match=said):
        powers(falling(), axis)


def test_step_zero_has_no_power():
    trials = runs_of(grid(spawn_step=[0, 10], seed=[0, 1, 2]), "spawn_epoch").trials
    with pytest.raises(ValueError, match="spawn_step must be positive to have a power, got 0"):
        powers(trials, "spawn_step")


@pytest.mark.slow
def test_the_shell_and_the_page_of_a_width_sweep_give_it():
    runs = runs_of(grid(**AXES), "width")
    found = export(runs, "powers", TableOptions())
    assert found.equals(powers(runs.trials, "width"))
    parts = {part.key: part for part in page_of(runs).parts}
    (table,) = parts["powers"].tables
    assert table.numbers["power"].tolist() == found["power"].tolist()
    assert table.frame["widths"].tolist() == ["3 of 0.5 to 4"] * len(found)
