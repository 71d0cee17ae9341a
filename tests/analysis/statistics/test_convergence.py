"""Training curves: each network once, and a verdict that planted curves bear out."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from analysis.figures.training import training_figure
from analysis.page.sections.part import find
from analysis.page.sections.trained import training_section
from analysis.statistics.convergence import ends, trainings
from llfc.results import TRAINING, LeftOut
from llfc.tasks import TOKENS
from tests.analysis.page.test_sections import with_tables
from tests.helpers.fabricated_runs import grid, runs_of

CURVES = {
    "flat": [0.5, 0.2, 0.1, 0.1],
    "falling": [0.5, 0.4, 0.3, 0.1],
    "far": [0.5, 0.3, 0.3, 0.3],
}


def runs_with(curves, judged=1000):
    """Trials of two networks each, trained as `curves` of (error of a, error of b) say, in turn."""
    runs = runs_of(grid(seed=list(range(len(curves)))))
    order = dict(zip(runs.trials["run_id"], curves, strict=True))

    def tables(run_id):
        a, b = order[run_id]
        columns = dict.fromkeys(TRAINING, np.concatenate([a, b]))
        columns |= {"epoch": np.array([1, 2, 3, 4] * 2), "judged": np.full(8, judged)}
        return {"training": {"network": ["a"] * 4 + ["b"] * 4, **columns}}

    return with_tables(runs, tables)


def test_what_has_not_converged_is_told():
    found = trainings(runs_with([(CURVES["flat"], CURVES["falling"]), (CURVES["far"], [0.1] * 4)]))
    last = ends(found).set_index("network")
    assert last["falling"].tolist() == [False, True, False, False]
    assert last["far"].tolist() == [False, False, True, False]
    assert last["late"].tolist() == [0.1, 0.3, 0.3, 0.1]


def test_half_of_the_data_is_compared_with_half():
    """Far from the best on all data it is not, where that has seen more."""
    runs = runs_with([(CURVES["flat"], CURVES["flat"]), (CURVES["far"], CURVES["far"])])
    halved = {"shared_data": [None, 0.5], "split_by": ["samples"] * 2}
    found = trainings(dataclasses.replace(runs, trials=runs.trials.assign(**halved)))
    assert found.groupby("network")["part"].first().tolist() == ["", "half of the data"]
    assert not ends(found)["far"].any()
    panels = [axes for axes in training_figure(found, set()).axes if axes.get_visible()]
    titles = [axes.get_title().replace("\n", " ") for axes in panels]
    assert titles == ["mlp", "mlp, half of the data"]
    assert ends(trainings(runs))["far"].tolist() == [False, True]


def test_what_few_inputs_say_is_within_their_noise():
    last = ends(trainings(runs_with([(CURVES["flat"], [0.5, 0.4, 0.13, 0.1])], judged=100)))
    assert not last["falling"].any()
    last = ends(trainings(runs_with([(CURVES["flat"], [0.5, 0.4, 0.13, 0.1])], judged=1000)))
    assert last["falling"].tolist() == [False, True]


def test_a_network_of_several_trials_is_there_once():
    runs = runs_with([(CURVES["flat"], CURVES["far"])])
    twice = dataclasses.replace(
        runs,
        trials=runs.trials.loc[[0, 0]].assign(run_id=["x", "y"], fingerprint=["x", "y"]),
        read=lambda ids: {name: next(iter(runs.connections.values())) for name in ids},
    )
    assert trainings(twice)["network"].nunique() == 2


def test_an_epoch_that_was_not_judged_is_left_out():
    flat = [0.5, np.nan, 0.1, 0.1]
    last = ends(trainings(runs_with([(flat, [np.nan, np.nan, np.nan, 0.1])])))
    assert last["late"].tolist() == pytest.approx([0.1, np.nan], nan_ok=True)
    assert not last["falling"].any()


def test_the_page_says_which_have_not_converged():
    part = training_section(find(runs_with([(CURVES["flat"], CURVES["falling"])])))
    assert part.caption.startswith("Of 2 networks, 1 still gets better at the end, and 0 end far")
    assert part.tables[0].frame["still falling"].tolist() == ["1"]
    assert training_section(find(runs_of(grid(seed=[0])))) is None


def test_the_page_says_what_the_error_of_tokens_is():
    runs = runs_with([(CURVES["flat"], CURVES["flat"])])
    told = LeftOut("definition", "error", TOKENS)
    (run_id,) = runs.trials["run_id"]
    tokens = dataclasses.replace(runs.connections[run_id], left_out=(told,))
    part = training_section(find(dataclasses.replace(runs, read=lambda ids: {run_id: tokens})))
    assert part.caption.endswith(f" Error on fashion-mnist-small: {TOKENS}.")
    assert "Error on" not in training_section(find(runs)).caption


def test_a_long_title_stays_above_its_panel():
    found = trainings(runs_with([(CURVES["flat"], CURVES["flat"])]))
    long = "text:chronicles.txt@0123abcd#context=32,level=byte"
    parts = [found.assign(dataset=name) for name in ("king-james", "modular-addition", long)]
    figure = training_figure(pd.concat(parts), set())
    figure.canvas.draw()
    end = figure.axes[2].title.get_window_extent().x1
    assert end <= figure.bbox.x1
