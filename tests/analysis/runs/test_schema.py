"""The names under which a sweep is in MLflow are written in one place, and are names of a trial."""

import ast
from pathlib import Path

import pytest

from analysis.runs import schema
from llfc.results import LEFT_OUT_COUNTS
from tests.helpers.fabricated_runs import connection, trial

ROOT = Path(__file__).parents[3]
MODULES = [path for name in ("analysis", "sweeps") for path in sorted((ROOT / name).rglob("*.py"))]
TAGS = {
    value
    for value in vars(schema).values()
    if isinstance(value, str) and value.startswith(("llfc.", "mlflow."))
} - {schema.__name__}
METRICS = {
    *(schema.BARRIER, schema.LLFC, schema.BASELINE, schema.WEIGHT_COS, schema.INSTABILITY),
    *(*schema.ENDS_ERROR, schema.CHANCE_ERROR, schema.DIST_H, schema.DIST_COM, schema.ADDITIVITY),
    *LEFT_OUT_COUNTS.values(),
}
NAMES = {schema.FINISHED, schema.FAILED, schema.RUNNING, schema.CONNECTION, *METRICS}


def literals(path):
    """The texts of a file, those of f-strings in parts, without its docstrings."""
    tree = ast.parse(path.read_text())
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef)
    docs = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, documented) and node.body and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
            yield node.value


def repeats(path):
    """What of the schema a file writes out itself."""
    return sorted(
        text for text in literals(path) if text in NAMES or any(tag in text for tag in TAGS)
    )


@pytest.mark.parametrize("path", MODULES, ids=[str(path.relative_to(ROOT)) for path in MODULES])
def test_no_name_is_written_out_twice(path):
    if path != Path(schema.__file__):
        assert repeats(path) == []


def test_a_name_that_is_written_out_is_seen(tmp_path):
    (tmp_path / "one.py").write_text(
        '"""FAILED"""\nx = "FAILED"\ny = f"tags.`llfc.kind` = {x}"\nz = "test_loss_chord"\n'
    )
    found = repeats(tmp_path / "one.py")
    assert found == ["FAILED", "tags.`llfc.kind` = ", "test_loss_chord"]


def test_metrics_are_scalars_of_a_trial():
    assert METRICS <= connection(trial()).scalars().keys()


def test_tags_are_distinct():
    assert len(TAGS) == 19
