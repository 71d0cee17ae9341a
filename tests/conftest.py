"""What several test files share."""

import os

import pytest

# Before torch, ray and mlflow are imported: small products are slower with more threads than
# cores, and nothing that the tests do is reported to anybody.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")


def pytest_addoption(parser):
    """`--rewrite`: take the golden trial's numbers of today for right."""
    parser.addoption("--rewrite", action="store_true", help="write tests/llfc/golden.json anew")


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory):
    """Where the small sweep of `disturbed_sweeps` ran to its end, with nothing in its way."""
    from tests.helpers.disturbed_sweeps import undisturbed_in

    return undisturbed_in(tmp_path_factory.mktemp("undisturbed"))


@pytest.fixture
def place(tmp_path):
    """Where the same sweep is to run."""
    from tests.helpers.disturbed_sweeps import Place

    return Place(tmp_path)
