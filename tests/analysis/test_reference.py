"""Reference numbers of cells, and cells that are trained and measured anew."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis.__main__ import main
from analysis.reference.numbers import NUMBERS, references, with_cells
from analysis.reference.verification import LIKELY, OUTSIDE, SAME, judged, predicted, verify
from analysis.runs.params import params_of
from llfc.data.datasets import load_dataset, resolve_dataset
from llfc.networks.spawning import train_network
from llfc.networks.store import Store
from llfc.specs import Pair, Recipe, Trial
from llfc.trial import run_trial

RECIPE = Recipe(epochs=1, batch_size=50, optimizer="adam", lr=1e-3)


def trial(seed, **fields):
    pair = Pair(
        architecture="mlp",
        width=1 / 32,
        norm="none",
        dataset="fashion-mnist-small",
        limit_train=200,
        seed=seed,
        spawn_epoch=None,
        recipe=RECIPE,
    )
    return Trial(pair=pair, alphas=3, limit_test=100, limit_measured=100, **fields)


def rows(trials, numbers):
    return pd.DataFrame([{**params_of(t), **n} for t, n in zip(trials, numbers, strict=True)])


def drawn(count, seed=0):
    values = np.random.default_rng(seed).random((count, len(NUMBERS)))
    return [dict(zip(NUMBERS.values(), each, strict=True)) for each in values]


def test_a_cell_is_all_but_the_seed_and_its_numbers_are_those_of_scipy():
    trials = [trial(s, matching=m) for m in ("none", "weights") for s in range(4)]
    frame = rows(trials, drawn(8))
    found = references(frame).set_index("matching")
    assert found["seeds"].tolist() == [4, 4]
    assert found["cell"].is_unique
    for matching, part in frame.groupby("matching"):
        for name, column in NUMBERS.items():
            values = part[column].to_numpy()
            low, high = stats.t.interval(0.95, 3, values.mean(), stats.sem(values))
            expected = [values.mean(), low, high, values.std(ddof=1)]
            names = [name, f"{name}_low", f"{name}_high", f"{name}_sd"]
            np.testing.assert_allclose(found.loc[matching, names].tolist(), expected)


def test_a_cell_has_its_name_whatever_else_is_measured():
    trials = [trial(s, matching=m) for m in ("none", "weights") for s in range(2)]
    frame = rows(trials, drawn(4))
    known = with_cells(frame)["cell"].tolist()
    assert known[0] == known[1] != known[2]
    shuffled = with_cells(frame.iloc[::-1])
    assert shuffled["cell"].tolist() == known[::-1]
    assert with_cells(frame[:2])["cell"].tolist() == known[:2]
    older = frame.drop(columns=["form", "misalignment", "misaligned"])  # came later
    assert with_cells(older)["cell"].tolist() == known


@pytest.mark.slow
def test_the_prediction_interval_covers_one_more_value():
    draws = np.random.default_rng(0).normal(3, 2, (4000, 6))
    covered = [low <= row[5] <= high for row in draws for low, high in [predicted(row[:5])]]
    # Of 4000 draws a share is within 4 standard errors, .0138, of the true one.
    assert abs(np.mean(covered) - 0.95) < 0.0138


@pytest.mark.parametrize(
    ("again", "verdict"), [(1.000001, SAME), (1.4, LIKELY), (3.0, OUTSIDE), (-1.0, OUTSIDE)]
)
def test_a_number_is_judged_by_the_known_one_and_by_its_seeds(again, verdict):
    assert judged(1.0, again, 0.5, 1.5) == verdict
    assert judged(1.0, again, np.nan, np.nan) in (SAME if verdict == SAME else OUTSIDE, verdict)


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """Two seeds of a cell, as a sweep would have found them."""
    folder = tmp_path_factory.mktemp("known")
    trials, store = [trial(0), trial(1)], Store(folder)
    dataset = load_dataset("fashion-mnist-small", cache=folder, limit_train=200, limit_test=100)
    for each in trials:
        train_network(each.pair.a, store, dataset)
        train_network(each.pair.b, store, dataset)
    return rows(trials, [run_trial(each, store, dataset).scalars() for each in trials])


@pytest.mark.slow
def test_a_cell_trained_anew_has_the_same_numbers(measured, tmp_path):
    (cell,) = with_cells(measured)["cell"].unique()
    found = verify(measured, cell, tmp_path, seeds=[1], say=lambda text: None)
    assert set(found["verdict"]) == {SAME}
    assert set(found["seed"]) == {1}
    assert found["number"].tolist() == list(NUMBERS)
    wrong = measured.assign(llfc_error_mean=measured["llfc_error_mean"] * 1.01)
    again = verify(wrong, cell, tmp_path, seeds=[1], say=lambda text: None).set_index("number")
    assert again["verdict"]["llfc_error"] == OUTSIDE
    assert again["verdict"]["baseline"] == SAME


LOAD = """
import numpy as np

def load():
    rows = np.random.default_rng(0).normal(size=(60, 3))
    return {"train_inputs": rows[:40], "train_targets": rows[:40, 0],
            "test_inputs": rows[40:], "test_targets": rows[40:, 0]}
"""


@pytest.mark.slow
def test_a_cell_on_data_of_ones_own_is_found_by_its_content(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(LOAD)
    name = resolve_dataset(f"{file}:load", tmp_path / "cache")
    known = trial(0)
    pair = dataclasses.replace(known.pair, dataset=name, limit_train=None)
    known = dataclasses.replace(known, pair=pair, limit_test=None, limit_measured=None)
    dataset, store = load_dataset(name, cache=tmp_path / "cache"), Store(tmp_path / "known")
    for network in (pair.a, pair.b):
        train_network(network, store, dataset)
    measured = rows([known], [run_trial(known, store, dataset).scalars()])
    (cell,) = with_cells(measured)["cell"].unique()
    file.write_text(LOAD + "# a remark\n")
    with pytest.raises(
        ValueError, match=f"dataset must be {name}, as in the cell, by code and content"
    ):
        verify(measured, cell, tmp_path, dataset=f"{file}:load")
    file.write_text(LOAD)
    found = verify(measured, cell, tmp_path, dataset=f"{file}:load", say=lambda text: None)
    assert set(found["verdict"]) == {SAME}


def test_what_is_not_there_is_one_line(measured, tmp_path, capsys):
    with pytest.raises(ValueError, match="no cell 'x': `table reference` has their names"):
        verify(measured, "x", tmp_path)
    (cell,) = with_cells(measured)["cell"].unique()
    with pytest.raises(ValueError, match=rf"cell {cell} has no seed 7: it has \[0, 1\]"):
        verify(measured, cell, tmp_path, seeds=[7])
    words = "verify --sweep width --tracking-uri docs/results --cell nope"
    assert main(words.split()) == 2
    assert "no cell 'nope'" in capsys.readouterr().err
