"""What matching takes off the barrier: paired by seed, against plain arithmetic."""

from dataclasses import replace

import numpy as np
import pytest

from analysis.answers.matched import taken_off, what_matching_does
from analysis.page.report import page_of, render
from analysis.page.sections.matched import BEYOND, matched_section
from analysis.page.sections.part import find
from analysis.page.summary import summary_text
from analysis.runs.grid import layout
from analysis.runs.schema import BARRIER
from tests.helpers.fabricated_runs import grid, runs_of

AXES = {"spawn_epoch": [0, None], "seed": [0, 1, 2], "matching": ["none", "weights", "activations"]}


def test_changes_are_of_the_same_pair():
    runs = runs_of(grid(**AXES), "spawn_epoch")
    trials = runs.trials.sample(frac=1, random_state=0)
    found = taken_off(trials, layout(trials, "spawn_epoch"))
    assert found["spawn_epoch"].fillna(-1).tolist() == [0, 0, -1, -1]  # independent ones last
    for _, row in found.iterrows():
        here = trials["spawn_epoch"].isna() if np.isnan(row["spawn_epoch"]) else (
            trials["spawn_epoch"] == row["spawn_epoch"]
        )  # fmt: skip
        columns = {
            matching: trials[here & (trials["matching"] == matching)].sort_values("seed")[BARRIER]
            for matching in ("none", row["matching"])
        }
        before, after = (column.to_numpy() for column in columns.values())
        assert row["change"] == pytest.approx((after - before).mean())
        assert row["left"] == pytest.approx(after.sum() / before.sum())
        width = 4.302653 * (after - before).std(ddof=1) / 3**0.5  # Student's t, 2 degrees
        assert (row["low"], row["high"]) == pytest.approx(
            (row["change"] - width, row["change"] + width), rel=1e-5
        )


def with_barriers(trials, of):
    """The trials with the barrier that `of` gives a row."""
    return trials.assign(**{BARRIER: [of(row) for _, row in trials.iterrows()]})


def test_what_matching_leaves_is_said_at_both_ends_of_a_sweep():
    axes = {"width": [0.25, 1, 4], "seed": [0, 1, 2], "matching": ["none", "weights"]}
    trials = with_barriers(
        runs_of(grid(**axes), "width").trials,
        lambda row: 1 + row["seed"] / 10 if row["matching"] == "none"
        # Half of it is left in narrow networks, in one seed more than all; a tenth in wide ones.
        else [0.1, 0.1, 1.45][row["seed"]] if row["width"] < 1 else 0.11 - row["width"] / 1000,
    )  # fmt: skip
    assert what_matching_does(trials, layout(trials, "width")) == (
        "Matched by weights, 50 % of the barrier is left at width 0.25 (whether it is lower at all"
        " is open) and 10 % of the barrier is left at width 4 (3 seeds)."
    )


@pytest.mark.slow
def test_a_page_opens_with_its_sweeps_own_question(monkeypatch):
    monkeypatch.setattr("analysis.page.report.sections_of", lambda findings: [])
    trials = grid(width=[1], seed=[0, 1, 2], matching=["none", "weights"])
    runs = replace(runs_of(trials, "width"), question="Does the barrier vanish?")
    page = page_of(runs)
    assert page.first.startswith("Does the barrier vanish? Matched by weights, ")
    assert page.first.endswith(" (3 seeds).")
    html = render(page)
    assert html.index(page.first) < html.index("<strong>If the features of two networks")
    assert " ".join(summary_text(runs).split()).startswith(page.first)


def test_seeds_that_lack_one_of_the_two_are_left_out():
    trials = runs_of(grid(**AXES), "spawn_epoch").trials
    lost = (trials["seed"] == 1) & (trials["matching"] == "none")
    found = taken_off(trials[~lost], layout(trials, "spawn_epoch"))
    assert set(found["seeds"]) == {2}
    none = taken_off(trials[trials["matching"] != "none"], layout(trials, "spawn_epoch"))
    assert not len(none)


@pytest.mark.parametrize("architecture", ["mlp", "gpt"])
def test_a_transformers_page_says_what_permutations_cannot_reach(architecture):
    trials = grid(**AXES, architecture=[architecture], norm=["layer"])
    part = matched_section(find(runs_of(trials, "spawn_epoch")))
    assert (BEYOND in part.caption) == (architecture == "gpt")
    assert len(part.tables[0].frame) == 4
    more = grid(**AXES | {"matching": ["none", "orthogonal"]}, architecture=[architecture])
    assert BEYOND not in matched_section(find(runs_of(more, "spawn_epoch"))).caption
    assert matched_section(find(runs_of(grid(seed=[0, 1, 2]), "width"))) is None
