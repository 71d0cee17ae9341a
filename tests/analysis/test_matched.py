"""What matching takes off the barrier: paired by seed, against plain arithmetic."""

import numpy as np
import pytest

from analysis.answers.matched import taken_off
from analysis.page.sections.matched import BEYOND, matched_section
from analysis.page.sections.part import find
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
    assert matched_section(find(runs_of(grid(seed=[0, 1, 2]), "width"))) is None
