"""MLflow's store as a driver opens it: its database is whole, and what it refuses is one line."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock
from mlflow.exceptions import MlflowException
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from sqlalchemy.exc import SQLAlchemyError

from analysis.runs.database import address_of, check_address, fault_of, path_of
from analysis.runs.server import without_password
from llfc.atomic import made_whole
from llfc.oneline import first_line


@contextmanager
def named(uri: str) -> Iterator[None]:
    """Errors of the tracking store as ValueError, in one line that names its address."""
    try:
        yield
    except (OSError, MlflowException, SQLAlchemyError) as error:
        path = path_of(uri)
        fault = fault_of(path) if path is not None and path.is_file() else ""
        line = fault or f"tracking address {uri} cannot be used: {first_line(error)}"
        raise ValueError(without_password(line)) from error


@contextmanager
def database(uri: str) -> Iterator[None]:
    """A whole database at `uri`, for one driver at a time.

    MLflow makes its tables in dozens of steps, and cannot go on where it was killed between two.

    Raises:
        ValueError: if the address of a sqlite database is not that of a file.
    """
    check_address(uri)
    path = path_of(uri)
    if path is None:
        yield
        return
    check_writable(path.parent)
    with FileLock(f"{path}.lock"):
        if not path.exists() or not path.stat().st_size:
            with made_whole(path, alone=True) as beside:
                make: Callable[..., SqlAlchemyStore] = SqlAlchemyStore
                make(address_of(beside), str(path.parent / "artifacts")).engine.dispose()
        yield


def check_writable(folder: Path) -> None:
    """Write in `folder`, or raise OSError."""
    with tempfile.TemporaryFile(dir=folder):
        pass
