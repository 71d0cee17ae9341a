"""Every notebook runs from top to bottom on a small store, and is kept without outputs.

Its cells are run here, one after another. In a kernel, as a reader runs them, one notebook is, and
`-m exhaustive` has the others.
"""

import nbformat
import pytest

from analysis.__main__ import ACROSS
from analysis.execute import NOTEBOOKS, execute
from sweeps import SWEEPS as SWEEPS_OF_STUDY
from sweeps.record.measurement import Measurement
from sweeps.record.tracking import Tracker
from tests.helpers.fabricated_runs import connection, grid
from tests.helpers.quick_cases import slow_unless

EVERY = sorted(NOTEBOOKS.glob("*.ipynb"))
NAMES = [path.stem for path in EVERY]
SEEDS = [0, 1, 2]
SWEEPS = {
    "width": grid(width=[0.5, 1.0], seed=SEEDS, matching=["none", "weights"]),
    "spawn_epoch": grid(spawn_epoch=[0, 2, 8, None], seed=SEEDS),
    "onset": grid(spawn_step=[4, 8, 16, 32], seed=SEEDS),
    "architecture": grid(architecture=["mlp", "vgg11"], spawn_epoch=[2, None], seed=SEEDS),
    "matching": grid(
        seed=SEEDS, matching=["none", "weights"], correction=["none", "reset", "repair"]
    ),
    "misalignment": grid(misalignment=[0.25, 1.0], misaligned=["all", "hidden1"], seed=SEEDS),
    "transformer": grid(
        architecture=["gpt"],
        norm=["layer"],
        dataset=["king-james"],
        spawn_epoch=[1, None],
        seed=SEEDS,
        matching=["none", "weights"],
    ),
}
SEARCH = '{"axis": "spawn_step", "resolution": 4, "threshold": 0.02}'
COUNTS = {
    "width": "12 trials of 6 pairs (12 networks, 3 seeds)",
    "spawn_epoch": "12 trials of 12 pairs (15 networks, 3 seeds)",
    "onset": "12 trials of 12 pairs (15 networks, 3 seeds)",
    "architecture": "12 trials of 12 pairs (18 networks, 3 seeds)",
    "matching": "18 trials of 3 pairs (6 networks, 3 seeds)",
    "misalignment": "12 trials of 3 pairs (6 networks, 3 seeds)",
    "transformer": "12 trials of 6 pairs (9 networks, 3 seeds)",
}


@pytest.fixture(scope="module")
def uri(empty_database, tmp_path_factory):
    folder = tmp_path_factory.mktemp("notebooks")
    address = empty_database(folder)
    for name, trials in SWEEPS.items():
        tracker = Tracker(address, name, folder, search=SEARCH if name == "onset" else "")
        for one in trials:
            tracker.log(one, Measurement.of(connection(one), {"llfc.device": "cpu"}))
    return address


def test_every_sweep_has_a_notebook():
    of_study = SWEEPS_OF_STUDY.keys() - {"smoke", "checkpoints"}
    assert {path.stem for path in EVERY} == of_study | set(ACROSS)
    assert SWEEPS.keys() == COUNTS.keys() == of_study


def counts_of(path):
    distinct = len({one for trials in SWEEPS.values() for one in trials})
    return COUNTS.get(path.stem, f"{distinct} trials of")


def code_cells(path):
    return [c for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code"]


def run_here(path):
    """The cells of a notebook, one after another."""
    names = {}
    for cell in code_cells(path):
        exec(cell.source, names)


# The correlations of all sweeps take as long as the others together; those of one are below.
@pytest.mark.parametrize("name", slow_unless((), NAMES, ("correlations",)))
def test_cells_run_one_after_another(name, uri, monkeypatch, capsys):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    path = NOTEBOOKS / f"{name}.ipynb"
    run_here(path)
    assert counts_of(path) in capsys.readouterr().out


@pytest.mark.parametrize("name", slow_unless((), NAMES, NAMES))
def test_runs_from_top_to_bottom(name, uri, monkeypatch, tmp_path):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    path = NOTEBOOKS / f"{name}.ipynb"
    written = execute(path, tmp_path)
    cells = code_cells(written)
    assert all(cell.execution_count for cell in cells)
    text = str(cells)
    assert counts_of(path) in text
    assert "image/png" in text
    said = [out.text for cell in cells for out in cell.outputs if out.get("name") == "stderr"]
    assert not [text for text in said if "TqdmWarning" not in text]  # it misses ipywidgets


@pytest.mark.slow
def test_one_sweep_of_one_family_is_enough(uri, monkeypatch, capsys):
    """As after the first command of the README."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setenv("LLFC_SWEEP", "width")
    run_here(NOTEBOOKS / "correlations.ipynb")
    assert COUNTS["width"] in capsys.readouterr().out


@pytest.mark.parametrize("path", EVERY, ids=NAMES)
def test_is_kept_without_outputs(path):
    content = nbformat.read(path, as_version=4)
    nbformat.validate(content)
    for cell in content.cells:
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None
