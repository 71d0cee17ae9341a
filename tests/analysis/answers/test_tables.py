"""Tables of a sweep: the axes that vary, means and SDs over seeds, one row per x."""

import numpy as np
import pandas as pd
import pytest

from analysis.answers.tables import across, cell_table, layer_means, once, to_text
from analysis.runs.grid import layout
from analysis.runs.schema import BARRIER
from tests.helpers.fabricated_runs import connection, runs_of, trial
from tests.helpers.fabricated_sweeps import SWEEPS, sweep


@pytest.mark.parametrize(
    ("name", "x", "series", "panels"),
    [
        ("width", "width", "matching", ()),
        ("spawn_epoch", "spawn_epoch", "matching", ()),
        ("architecture", "architecture", "matching", ("spawn_epoch",)),
        ("matching", "matching", "correction", ("architecture",)),
        ("recipes", "width", "matching", ("recipe.lr",)),
    ],
)
def test_axes_that_vary_are_found(name, x, series, panels):
    plan = layout(sweep(name).trials, sweep(name).sweep)
    assert (plan.x, plan.series, plan.panels) == (x, series, panels)


def test_an_axis_that_another_decides_is_no_axis():
    trials = [trial(architecture=a, norm=n) for a, n in (("mlp", "none"), ("vgg11", "batch"))]
    assert layout(runs_of(trials).trials, "width").panels == ("architecture",)


def test_an_unknown_x_is_refused():
    with pytest.raises(ValueError, match=r"^x must be an axis of the trials .* got 'wdith'$"):
        layout(sweep("width").trials, "width", "wdith")


def test_means_and_sds_are_over_seeds():
    trials = sweep("spawn_epoch").trials
    cells = across(trials, BARRIER, layout(trials, "spawn_epoch"))
    assert len(cells) == 8
    assert set(cells["trials"]) == {3}
    independent = trials[trials["spawn_epoch"].isna() & (trials["matching"] == "weights")][BARRIER]
    cell = cells[cells["spawn_epoch"].isna() & (cells["matching"] == "weights")]
    assert cell["mean"].item() == pytest.approx(independent.mean())
    assert cell["sd"].item() == pytest.approx(independent.std())


def test_the_table_has_a_row_an_x_and_none_last():
    trials = sweep("spawn_epoch").trials
    table = cell_table(trials, BARRIER, layout(trials, "spawn_epoch"))
    assert table["spawn epoch"].tolist() == ["0", "4", "16", "independent"]
    assert table.columns.tolist() == ["spawn epoch", "none", "weights"]


def test_layers_are_averaged_at_the_middle():
    runs = sweep("one width")
    means = layer_means(runs.trials, runs.layers, layout(runs.trials, "width"))
    errors = [
        connection(one).layers[3].cos_error[12]
        for one in SWEEPS["one width"]
        if one.matching == "weights"
    ]
    row = means[(means["matching"] == "weights") & (means["index"] == 3)]
    assert row["cos_error"].item() == pytest.approx(np.mean(errors))
    assert row["cos_error_sd"].item() == pytest.approx(np.std(errors, ddof=1))


def test_what_all_rows_of_a_wide_table_have_in_common_is_said_once():
    empty = {"nothing": [np.nan, None], "nan": [np.nan, np.nan], "blank": ["", ""]}
    frame = pd.DataFrame({"cell": ["a", "b"], "norm": ["none", "none"], **empty, "n": [1, 2]})
    said, rest = once(frame, width=20)
    assert said == ["the same in every\nrow: norm none"]
    assert [*rest] == ["cell", "n"]
    pd.testing.assert_frame_equal(rest, frame[["cell", "n"]])


@pytest.mark.parametrize(("rows", "width"), [(2, 100), (1, 5)], ids=["it fits", "a single row"])
def test_a_table_is_whole_if_nothing_is_gained(rows, width):
    frame = pd.DataFrame({"cell": ["a", "b"][:rows], "norm": "none"})
    said, rest = once(frame, width)
    assert said == []
    assert to_text(rest) == to_text(frame)
