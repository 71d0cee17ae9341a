"""What several test files share."""

import gc
import os
import sys

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
    """What is exhaustive is slow; whole sweeps come first, so that processes end together."""
    for item in items:
        if item.get_closest_marker("exhaustive") is not None:
            item.add_marker("slow")  # `-m "not slow"` takes the place of `-m "not exhaustive"`

    def is_of_sweeps(item):
        module = item.getparent(pytest.Module)
        return module is not None and module.get_closest_marker("slow") is not None

    items.sort(key=is_of_sweeps, reverse=True)


@pytest.fixture(autouse=True)
def as_many_threads():
    """A test leaves PyTorch's number of threads as it is: the last bits of sums depend on it."""
    torch = sys.modules.get("torch")
    before = torch and torch.get_num_threads()
    yield
    assert before is None or torch.get_num_threads() == before


@pytest.fixture(scope="session")
def shared(tmp_path_factory):
    """A folder of all processes that run the tests, for what is made once and only read."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:  # the folder above is that of all workers
        folder = folder.parent
    (folder / "shared").mkdir(exist_ok=True)
    return folder / "shared"


@pytest.fixture(scope="session")
def done(shared):
    """Where the small sweep of `disturbed_sweeps` ran to its end, and what it said.

    A test that would write there copies it.
    """
    from tests.helpers.disturbed_sweeps import undisturbed_in

    return undisturbed_in(shared)


@pytest.fixture(scope="session")
def empty_database(shared):
    """Puts a copy of an MLflow database without runs into a folder, and gives its address."""
    from tests.helpers.empty_databases import copied_from

    return copied_from(shared)


@pytest.fixture
def undisturbed(done):
    """Where the small sweep ran to its end, with nothing in its way."""
    return done[0]


@pytest.fixture
def place(tmp_path, empty_database):
    """Where the same sweep is to run; its database is there, as making it takes seconds."""
    from tests.helpers.disturbed_sweeps import Place

    empty_database(tmp_path)
    return Place(tmp_path)
