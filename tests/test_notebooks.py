"""Every notebook runs from top to bottom on a small store, and is kept without outputs."""

import nbformat
import pytest

from analysis.execute import NOTEBOOKS, execute
from sweeps.tracking import Tracker
from tests.fabricated import connection, grid

EVERY = sorted(NOTEBOOKS.glob("*.ipynb"))


@pytest.fixture(scope="module")
def uri(tmp_path_factory):
    folder = tmp_path_factory.mktemp("notebooks")
    address = f"sqlite:///{folder}/mlflow.db"
    tracker = Tracker(address, "width", folder)
    for one in grid(width=[0.5, 1.0], seed=[0, 1, 2], matching=["none", "weights"]):
        tracker.log(one, connection(one), {"llfc.device": "cpu"})
    return address


@pytest.mark.parametrize("path", EVERY, ids=[path.stem for path in EVERY])
def test_runs_from_top_to_bottom(path, uri, monkeypatch, tmp_path):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    written = execute(path, tmp_path)
    cells = [c for c in nbformat.read(written, as_version=4).cells if c.cell_type == "code"]
    assert all(cell.execution_count for cell in cells)
    text = str(cells)
    assert "12 trials of 6 pairs (12 networks, 3 seeds)" in text
    assert text.count("image/png") >= 3
    said = [out.text for cell in cells for out in cell.outputs if out.get("name") == "stderr"]
    assert not [text for text in said if "TqdmWarning" not in text]  # it misses ipywidgets


@pytest.mark.parametrize("path", EVERY, ids=[path.stem for path in EVERY])
def test_is_kept_without_outputs(path):
    content = nbformat.read(path, as_version=4)
    nbformat.validate(content)
    for cell in content.cells:
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None
