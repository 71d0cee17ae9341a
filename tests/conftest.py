"""What several test files share."""

import gc
import os

import pytest

# Before torch, ray and mlflow are imported: small products are slower with more threads than
# cores, and nothing that the tests do is reported to anybody.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")


# What is imported stays: to look through it again and again takes a fifth of the collection.
gc.disable()


def pytest_collection_finish():
    """From here on there is garbage, in what is made from here on."""
    gc.freeze()
    gc.enable()


def pytest_addoption(parser):
    """`--rewrite`: take the golden trial's numbers of today for right."""
    parser.addoption("--rewrite", action="store_true", help="write tests/llfc/golden.json anew")


def pytest_collection_modifyitems(items):
    """Whole sweeps come first: of several processes, none ends long after the others then."""

    def is_of_sweeps(item):
        module = item.getparent(pytest.Module)
        return module is not None and module.get_closest_marker("slow") is not None

    items.sort(key=is_of_sweeps, reverse=True)


@pytest.fixture(scope="session")
def done(tmp_path_factory):
    """Where the small sweep of `disturbed_sweeps` ran to its end, and what it said.

    It is made once, and only read: a test that would write there copies it.
    """
    from tests.helpers.disturbed_sweeps import undisturbed_in

    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:  # the folder above is that of all workers
        folder = folder.parent
    (folder / "sweep").mkdir(exist_ok=True)
    return undisturbed_in(folder / "sweep")


@pytest.fixture
def undisturbed(done):
    """Where the small sweep ran to its end, with nothing in its way."""
    return done[0]


@pytest.fixture
def place(tmp_path):
    """Where the same sweep is to run."""
    from tests.helpers.disturbed_sweeps import Place

    return Place(tmp_path)
