"""A trial's figures show the numbers of its tables, and only those that were measured."""

import dataclasses

import numpy as np
import pytest

from analysis.figures.measures import LLFC_LIMITS, PAIR_LABELS, trial_figures
from tests.helpers.fabricated_runs import MLP_LAYERS, connection, trial

KINDS = ("matched", "shuffled", "unmatched")


def by_kind(layers, word, kinds, *columns):
    rng = np.random.default_rng(len(layers))
    size = len(layers) * len(kinds)
    return {
        "layer": [layer for layer in layers for _ in kinds],
        word: list(kinds) * len(layers),
        **{column: rng.uniform(0.1, 1, size=size) for column in columns},
    }


@pytest.fixture
def found():
    activations, linear = MLP_LAYERS[1::2], MLP_LAYERS[::2]
    tables = {
        "additivity": by_kind(activations, "pair", KINDS, "dist"),
        "commutativity": by_kind(linear, "pair", KINDS, "dist_com", "dist_w", "dist_h"),
        "stitching": by_kind(MLP_LAYERS, "into", ("b", "a"), "loss", "error"),
    }
    return dataclasses.replace(connection(trial()), tables=tables)


def lines_of(axes):
    return {line.get_label(): line.get_ydata() for line in axes.get_lines()}


def test_a_figure_is_there_if_its_numbers_are(found):
    assert trial_figures(found, "t").keys() == {
        *("curve", "layers", "heatmap", "conditions", "stitching")
    }
    bare = dataclasses.replace(found, tables={})
    assert trial_figures(bare, "t").keys() == {"curve", "layers", "heatmap"}
    empty = {name: {column: [] for column in table} for name, table in found.tables.items()}
    bare = dataclasses.replace(found, tables=empty)
    assert trial_figures(bare, "t").keys() == {"curve", "layers", "heatmap"}


def test_lines_are_the_tables_rows(found):
    figures = trial_figures(found, "t")
    left, right = figures["conditions"].axes
    (stitched,) = figures["stitching"].axes
    for index, kind in enumerate(KINDS):
        for axes, table, column in (
            (left, "additivity", "dist"),
            (right, "commutativity", "dist_com"),
        ):
            np.testing.assert_array_equal(
                lines_of(axes)[PAIR_LABELS[kind]], found.tables[table][column][index::3]
            )
    for label, column in {"Dist W": "dist_w", "Dist H": "dist_h"}.items():
        np.testing.assert_array_equal(
            lines_of(right)[label], found.tables["commutativity"][column][::3]
        )
    error = 100 * found.tables["stitching"]["error"]
    lines = lines_of(stitched)
    np.testing.assert_array_equal(lines["A's feature, B's rest"], error[::2])
    np.testing.assert_array_equal(lines["B's feature, A's rest"], error[1::2])
    assert set(lines["A itself"]) == {100 * found.curve["test_error"][0]}
    assert set(lines["B itself"]) == {100 * found.curve["test_error"][-1]}


def test_the_heat_map_has_a_row_a_layer_and_a_column_a_position(found):
    axes = trial_figures(found, "t")["heatmap"].axes[0]
    (mesh,) = axes.collections
    errors = np.array([layer.cos_error for layer in found.layers])
    shown = np.asarray(mesh.get_array()).reshape(errors.shape)
    inside = errors >= mesh.norm.vmin
    np.testing.assert_array_equal(shown[inside], errors[inside])
    assert (shown[~inside] == mesh.norm.vmin).all()
    assert (mesh.norm.vmin, mesh.norm.vmax) == LLFC_LIMITS  # the same for all trials
    assert [label.get_text() for label in axes.get_yticklabels()] == list(MLP_LAYERS)
