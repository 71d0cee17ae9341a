"""Figures of a sweep and of a trial: every point, mean and curve is drawn where it should be."""

import dataclasses
import math

import numpy as np
import pytest

from analysis.figures.style import to_png
from analysis.figures.sweep import barrier_figure, profile_figure, scatter_figure
from analysis.figures.trial import curve_figure, layers_figure
from analysis.runs.columns import of_classes, units
from analysis.runs.grid import layout
from analysis.runs.schema import BARRIER, LLFC
from tests.helpers.fabricated_runs import connection, trial
from tests.helpers.fabricated_sweeps import sweep


@pytest.mark.parametrize("least", [0.0, -0.01])
def test_a_barrier_that_is_not_positive_is_drawn(least):
    trials = sweep("width").trials
    trials.loc[0, BARRIER] = least
    axes = barrier_figure(trials, BARRIER, layout(trials, "width")).axes[0]
    assert axes.get_yscale() == "symlog"
    assert axes.get_ylim()[0] <= least


def test_every_trial_is_a_point():
    trials = sweep("width").trials
    axes = scatter_figure(trials, LLFC, BARRIER, "matching").axes[0]
    points = np.concatenate([dots.get_offsets() for dots in axes.collections])
    assert sorted(map(tuple, points)) == sorted(zip(trials[LLFC], trials[BARRIER], strict=True))


def test_lines_go_through_the_means():
    trials = sweep("width").trials
    (axes,) = barrier_figure(trials, BARRIER, layout(trials, "width")).axes
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    drawn = axes.lines[1::2]  # after each series' markers
    for line, matching in zip(drawn, ["none", "weights", "activations"], strict=True):
        means = trials[trials["matching"] == matching].groupby("width")[BARRIER].mean()
        assert line.get_ydata().tolist() == pytest.approx(means.tolist())
        assert line.get_xdata().tolist() == means.index.tolist()


def test_lines_stop_where_an_order_does():
    trials = sweep("spawn_epoch").trials
    (axes,) = barrier_figure(trials, BARRIER, layout(trials, "spawn_epoch")).axes
    markers, line = axes.lines[:2]
    assert len(markers.get_xdata()) == 4
    assert len(line.get_xdata()) == 3


def test_the_profile_shows_error_and_baseline():
    runs = sweep("width")
    (axes,) = profile_figure(runs.trials, runs.layers, layout(runs.trials, "width")).axes
    assert len(axes.lines) == 6


def test_a_panel_that_is_higher_than_the_first_is_whole():
    runs = sweep("architecture")
    plan = layout(runs.trials, "architecture")
    last = runs.trials["run_id"].iloc[-1]
    higher = runs.layers["run_id"] == last
    layers = runs.layers.assign(baseline=runs.layers["baseline"].where(~higher, 3.0))
    figure = profile_figure(runs.trials, layers, plan)
    drawn = [line.get_ydata().max() for axes in figure.axes for line in axes.lines]
    assert len(figure.axes) > 1
    assert max(drawn) > 2 * drawn[0]
    assert all(axes.get_ylim()[0] == 0 for axes in figure.axes)
    assert all(axes.get_ylim()[1] > max(drawn) for axes in figure.axes)


def test_a_trials_curves_and_chords_are_drawn():
    found = connection(trial())
    loss, error = curve_figure(found, "title").axes
    assert loss.lines[2].get_ydata().tolist() == found.curve["test_loss"].tolist()
    assert loss.lines[3].get_ydata().tolist() == found.curve["test_loss"][[0, -1]].tolist()
    assert error.lines[0].get_ydata() == pytest.approx(100 * found.curve["train_error"])


@pytest.mark.parametrize("layers", [0, 1, 60])
def test_a_trials_layers_are_drawn_however_many(layers):
    found = connection(trial(), layers=[f"layer{i}" for i in range(layers)]) if layers else None
    found = found or dataclasses.replace(connection(trial()), layers=())
    picture = to_png(layers_figure(found, "title"))
    assert picture.startswith(b"\x89PNG")


def test_numbers_of_a_regression_are_not_called_nats_nor_shares():
    trials = sweep("width").trials
    plan = layout(trials, "width")
    some = trials.assign(test_error_chance=0.9)
    for chance, unit in ((0.9, "nats"), (math.nan, "in its own unit")):
        figure = barrier_figure(trials.assign(test_error_chance=chance), BARRIER, plan)
        assert figure.get_supylabel() == f"Chord barrier of the test loss ({unit})"
        of_chance = trials.assign(test_error_chance=chance)
        (axes,) = scatter_figure(of_chance, LLFC, BARRIER, "matching").axes
        assert axes.get_ylabel() == f"Chord barrier of the test loss ({unit})"
    some.loc[0, "test_error_chance"] = math.nan
    assert units(some)["loss"] == "nats, or in its own unit"
    absent = trials.drop(columns="test_error_chance", errors="ignore")  # as from a store
    assert units(absent)["loss"] == "in its own unit"
    whole = trials.assign(test_error_chance=0.9)
    assert [of_classes(each) for each in (whole, some, absent)] == [True, False, False]
    found = connection(trial())
    own = dataclasses.replace(found, summaries={**found.summaries, "test_error_chance": math.nan})
    shown = [[a.get_ylabel() for a in curve_figure(each, "").axes] for each in (found, own)]
    assert shown == [["cross-entropy loss (nats)", "error rate (%)"], ["loss", "error"]]
