"""The sentences of an answer: each reason once, and no more groups than can be read."""

import math

import numpy as np
import pandas as pd
import pytest

from analysis.answers.answer import (
    MOST_SENTENCES,
    QUESTION,
    SCOPE,
    answer,
    beyond_baseline,
    inside_cells,
    opening,
    within,
)
from analysis.runs.schema import BARRIER, BASELINE, LLFC
from analysis.statistics.cells import within_cells
from analysis.statistics.comparators import comparisons
from analysis.statistics.correlations import correlations
from analysis.statistics.summaries import with_summaries
from tests.helpers.fabricated_runs import runs_of, width_grid

FEW = "no interval: 1 seed, at least 3 are needed"


def found(*groups, note=FEW):
    """A frame of `correlations`: all trials, then one row per (group, value, note)."""
    rows = [("all", 0.9, note), *groups]
    return pd.DataFrame(
        {
            "group": [group for group, *_ in rows],
            "method": "Spearman",
            "within": [value for _, value, _ in rows],
            "low": math.nan,
            "high": math.nan,
            "seeds": 1,
            "note": [said for *_, said in rows],
        }
    )


def test_what_was_said_of_all_trials_is_not_said_again():
    frame = found(("a", 0.5, FEW), ("b", 0.7, FEW), ("c", math.nan, "too few"))
    assert within(frame) == " Within groups: a 0.50; b 0.70."


def test_another_reason_is_said():
    frame = found(("a", 0.5, "no interval: the seeds do not differ"), ("b", 0.7, FEW))
    assert within(frame) == (
        " Within groups: a 0.50 (no interval: the seeds do not differ); b 0.70."
    )


def test_of_many_groups_the_lowest_and_the_highest_are_told():
    many = [(f"g{i}", i / 100, FEW) for i in range(MOST_SENTENCES + 1)]
    assert (
        within(found(*many))
        == f" Within {MOST_SENTENCES + 1} groups it is 0.00 (g0) to 0.08 (g{MOST_SENTENCES})."
    )


def drawn(error=0.1, baseline=0.5, sign=1, seeds=4):
    """Barriers that follow one number over the cells of a grid, as errors and baselines do."""
    rng = np.random.default_rng(0)
    cells = np.linspace(-2, 0, 12)
    z = cells + rng.normal(0, 0.2, (seeds, 12))
    columns = {
        "seed": np.repeat(range(seeds), 12),
        "width": np.tile(cells, seeds),
        BARRIER: np.exp(z),
        LLFC: np.exp(sign * z + rng.normal(0, error, z.shape)),
        BASELINE: np.exp(sign * z + rng.normal(0, baseline, z.shape)),
    }
    return pd.DataFrame({name: np.ravel(values) for name, values in columns.items()})


def said(trials):
    return answer(trials, correlations(trials, LLFC, BARRIER))


def test_the_answer_says_what_it_means_before_it_says_how_much():
    text = said(drawn())
    assert text.index("features move less linearly have higher barriers") < text.index("ρ")
    assert "have lower barriers" in said(drawn(sign=-1))
    nothing = drawn().assign(**{LLFC: np.random.default_rng(1).uniform(size=48)})
    assert "it remains open whether" in said(nothing)
    alone = said(drawn(seeds=1))
    assert "features move" not in alone
    assert SCOPE in text
    assert SCOPE not in alone  # there is no interval


@pytest.mark.parametrize(
    ("error", "baseline", "words"),
    [
        (0.1, 0.8, "LLFC adds 0."),
        (0.8, 0.1, "that of LLFC is smaller, the difference is -0."),
        (0.3, 0.3, "whether LLFC adds to it is open"),
    ],
)
def test_what_llfc_adds_to_the_ends_features_is_said(error, baseline, words):
    trials = drawn(error, baseline)
    row = comparisons(trials, LLFC, BARRIER, methods=["Spearman"]).iloc[1]
    text = beyond_baseline(trials)
    assert words in text
    assert f"{row['difference']:.3f} (paired by seed, {row['difference_low']:.3f} to" in text
    assert f"{row['within']:.3f} ({row['low']:.3f}" in text
    assert beyond_baseline(trials.drop(columns=BASELINE)) == ""


def test_the_rate_within_a_cell_is_said_with_what_it_rests_on():
    trials = drawn()
    row = within_cells(trials, LLFC, BARRIER).iloc[0]
    text = inside_cells(trials)
    assert f"to the power {row['slope']:.2f} ({row['low']:.2f} to {row['high']:.2f};" in text
    assert "48 trials in 12 cells" in text
    assert f"{100 * (1 - row['share']):.0f} % of the covariance" in text
    assert inside_cells(drawn(seeds=1)) == ""


def test_the_page_opens_with_the_question_and_its_answer_in_words():
    trials = with_summaries(runs_of(width_grid()))
    text = opening(trials, correlations(trials, LLFC, BARRIER))
    assert text.startswith(f"{QUESTION} Yes")
    lower = trials.assign(**{BARRIER: -trials[BARRIER]})
    assert opening(lower, correlations(lower, LLFC, BARRIER)) == f"{QUESTION} No, it is lower."
    one = trials[trials["seed"] == 0]
    assert "cannot tell: no interval" in opening(one, correlations(one, LLFC, BARRIER))
