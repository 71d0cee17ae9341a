"""Every section says what it rests on, or why it is not there; its numbers are those of laws."""

import dataclasses

import numpy as np
import pytest

from analysis.answers.by_layer import measure_means
from analysis.answers.layer_correlations import layer_correlations
from analysis.figures.statistics import forest_figure
from analysis.page.sections import (
    compared,
    connected,
    explained,
    matched,
    measured,
    searched,
    sweep,
    together,
    trained,
)
from analysis.page.sections.part import find
from analysis.page.sections.registry import SECTIONS, sections_of
from analysis.runs.schema import BARRIER, LLFC
from analysis.statistics.comparators import comparisons
from analysis.statistics.correlations import correlations
from analysis.statistics.summaries import PROFILE_DEPTHS, at_depths, with_summaries
from llfc.results import TABLES
from tests.helpers.fabricated_runs import grid, runs_of, width_grid


def with_tables(runs, tables_of):
    """`runs` whose trials measured what `tables_of` gives for a run id."""

    def read(run_ids):
        found = runs.read(run_ids)
        return {
            run_id: dataclasses.replace(each, tables=tables_of(run_id))
            for run_id, each in found.items()
        }

    return dataclasses.replace(runs, read=read)


def conditions_of(run_id):
    layers, pairs = ["a", "a", "b", "b"], ["matched", "shuffled"] * 2
    value = int(run_id[-2:], 16)
    given = {
        "additivity": {"layer": layers, "pair": pairs, "dist": np.array([1.0, 2, 3, 4]) * value},
        "stitching": {"layer": ["x", "y"], "into": ["a", "b"], "error": np.array([0.2, 0.4])},
    }
    return {
        name: dict.fromkeys(TABLES[name], np.zeros(len(columns["layer"]))) | columns
        for name, columns in given.items()
    }


@pytest.fixture(scope="module")
def runs():
    return with_tables(runs_of(width_grid()), conditions_of)


@pytest.fixture(scope="module")
def found(runs):
    return find(runs)


@pytest.fixture(scope="module")
def every(found):
    return sections_of(found)


@pytest.fixture(scope="module")
def by_depth(runs):
    return layer_correlations(runs, by=["matching"])


@pytest.mark.slow
def test_sections_have_names_of_their_own_and_say_what_they_rest_on(every):
    assert len(every) > 8
    assert len({part.key for part in every}) == len(every)
    tables = [table for part in every for table in part.tables]
    assert len({table.key for table in tables}) == len(tables)
    assert all(table.caption for table in tables)
    for part in every:
        assert part.note or part.tables
        assert part.figure is None or part.caption
        if part.figure is not None and part.key not in ("barrier", "scatter", "layers"):
            assert "45 trials of 15 pairs (30 networks, 3 seeds)" in part.caption


@pytest.mark.slow
def test_without_what_it_needs_a_section_is_left_out_or_says_why():
    one_seed = find(runs_of(grid(width=[0.5, 1.0], matching=["none", "weights"])))
    assert together.prediction_section(one_seed) is None
    assert measured.conditions_section(one_seed) is None
    assert measured.stitching_section(one_seed) is None
    alone = find(runs_of(grid(width=[1.0])))
    assert connected.onset_section(alone) is None
    assert explained.explanation_section(alone) is None
    assert together.depths_section(alone) is None
    assert together.association_section(alone).note.startswith("Left out: ")
    assert together.association_section(alone).figure is None


@pytest.mark.slow
def test_every_interval_says_for_what_it_is(every):
    """For new seeds of this grid; of further families they say nothing."""
    for part in every:
        for text in (part.caption, *(table.caption for table in part.tables)):
            if "95 %" in text and "standard deviation" not in text:
                told = part.caption + text
                assert "new seeds of th" in told or "for these families" in told, text


@pytest.mark.slow
def test_a_depths_correlation_is_that_of_the_summary_at_this_depth(runs, by_depth):
    trials = with_summaries(runs)
    for depth, column in (
        ("0.5", "llfc_error_depth_0.5"),
        ("1.0", "llfc_error_last"),
        ("mean", LLFC),
    ):
        mine = by_depth[by_depth["depth"] == depth].set_index("group")
        theirs = correlations(trials, column, BARRIER, by=["matching"], methods=["Spearman"])
        for name in ("value", "within", "low", "high"):
            expected = theirs.set_index("group")[name]
            assert mine[name].to_numpy() == pytest.approx(expected.to_numpy(), nan_ok=True)


@pytest.mark.slow
def test_a_depths_baseline_is_that_of_the_summary_at_this_depth(runs, by_depth):
    by_depth = by_depth.set_index(["group", "depth"])
    trials = with_summaries(runs)
    for depth, column in (("0.5", "llfc_error_depth_0.5"), ("1.0", "llfc_error_last")):
        theirs = comparisons(trials, column, BARRIER, by=["matching"], methods=["Spearman"])
        theirs = theirs[theirs["predictor"] == column.replace("error", "baseline")]
        for _, row in theirs.iterrows():
            mine = by_depth.loc[(row["group"], depth)]
            assert mine["baseline"] == pytest.approx(row["within"])
            assert mine["difference"] == pytest.approx(row["difference"])


def test_a_profile_that_is_its_depth_is_read_as_its_depth(runs):
    straight = runs_of(width_grid()[:2])
    straight.__dict__["layers"] = straight.layers.assign(cos_error=straight.layers["depth"])
    profile = at_depths(straight)
    assert profile[[str(place) for place in PROFILE_DEPTHS]].to_numpy() == pytest.approx(
        np.tile(PROFILE_DEPTHS, (2, 1))
    )


def test_layers_are_averaged_over_the_trials_of_a_series_and_kind(runs, found):
    means = measure_means(runs, "additivity", "dist", found.plan, kind="pair")
    trials = runs.trials[runs.trials["matching"] == "weights"]
    values = np.array([int(run_id[-2:], 16) for run_id in trials["run_id"]])
    row = means[(means["matching"] == "weights") & (means["kind"] == "shuffled")]
    assert row["layer"].tolist() == ["a", "b"]
    assert row["mean"].tolist() == pytest.approx([2 * values.mean(), 4 * values.mean()])
    assert row["sd"].tolist() == pytest.approx([2 * values.std(ddof=1), 4 * values.std(ddof=1)])
    assert set(row["trials"]) == {15}


def test_the_two_by_two_table_counts_every_trial():
    axes = {"spawn_epoch": [0, 4, 16], "seed": [0, 1, 2], "matching": ["none", "weights"]}
    part = connected.agreement_section(find(runs_of(grid(**axes), "spawn_epoch")))
    counts = part.tables[0].numbers[["both", "lmc_only", "llfc_only", "neither"]]
    assert set(counts.sum(axis=1)) == {18}
    drawn = [text.get_text() for text in part.figure.axes[0].texts]
    assert sum(map(int, drawn)) == 18


@pytest.mark.slow
def test_an_interval_is_drawn_from_its_low_to_its_high_end(found):
    numbers = together.association_section(found).tables[0].numbers
    rows = numbers.assign(panel="", series="", label=numbers["error"], value=numbers["within"])
    rows = rows[rows["barrier"] == BARRIER]
    (axes,) = forest_figure(rows, "x").axes
    (lines,) = axes.collections
    ends = np.array([segment[:, 0] for segment in lines.get_segments()])
    assert ends == pytest.approx(rows[["low", "high"]].to_numpy())
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == rows["error"].tolist()


def test_every_section_is_registered():
    modules = (
        compared,
        connected,
        explained,
        matched,
        measured,
        searched,
        sweep,
        together,
        trained,
    )
    written = {
        value
        for module in modules
        for name, value in vars(module).items()
        if callable(value)
        and getattr(value, "__module__", "") == module.__name__
        and not name.startswith("_")
    }
    assert written == set(SECTIONS)
