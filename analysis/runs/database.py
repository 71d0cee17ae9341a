"""MLflow's sqlite databases: the address of one, the file behind an address, and what is broken."""

import re
import sqlite3
from contextlib import closing
from pathlib import Path

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

# All that may follow a file in an address: the seconds to wait for another's lock.
OPTION = re.compile(r"(timeout=\d+(\.\d+)?)?")

DEFAULT_URI = "sqlite:///runs/mlflow.db"  # of commands, seen from the repository's folder


def address_of(path: Path) -> str:
    """MLflow's address of the database in the file `path`, whatever characters the path has.

    >>> address_of(Path("/runs 100%#1/mlflow.db"))
    'sqlite+pysqlite:////runs 100%25%231/mlflow.db'
    """
    plain = f"sqlite:///{path}"
    address = URL.create("sqlite", database=str(path)).render_as_string(hide_password=False)
    # With its driver named MLflow leaves the path to SQLAlchemy. Without, it makes a folder of it
    # as it stands there, quoted.
    return plain if address == plain else address.replace("sqlite", "sqlite+pysqlite", 1)


def path_of(address: str) -> Path | None:
    """The file of the sqlite database at `address`; None if it is another kind of address.

    >>> path_of("sqlite:////runs 100%25%231/mlflow.db")
    PosixPath('/runs 100%#1/mlflow.db')
    """
    if not address.startswith("sqlite"):
        return None
    try:
        database = make_url(address).database
    except ArgumentError:
        return None
    return Path(database) if database and not database.startswith((":", "file:")) else None


def check_address(address: str) -> None:
    """See that the address of a sqlite database names a file; any other kind is left alone.

    Raises:
        ValueError: if it names none, or has after it what sqlite would ignore.
    """
    if not address.startswith("sqlite"):
        return
    after = address.partition("?")[2]
    if not OPTION.fullmatch(after):
        raise ValueError(
            f"tracking address {address} must end with its file, got ?{after} after it: leave that"
            " out, or name a file with a ? in its path as sqlite+pysqlite:////FOLDER%3F/mlflow.db"
        )
    if path_of(address) is None:
        raise ValueError(
            f"tracking address {address} must name a file, as a database in memory ends with its"
            " process: give sqlite:////FOLDER/mlflow.db, or a server's address"
        )


def fault_of(path: Path) -> str:
    """What is wrong with the database in `path` and what to do, in a line; empty if nothing is.

    One that another process holds locked, or that may not be read, is not called broken.
    """
    uri = f"{path.absolute().as_uri()}?mode=ro"
    try:
        with closing(sqlite3.connect(uri, uri=True, timeout=1.0)) as database:
            # MLflow's last step in making a database is its first experiment.
            for table in ("alembic_version", "experiments"):
                if database.execute(f"select count(*) from {table}").fetchone() == (0,):
                    return _advice(path, f"{table} is empty")
    except sqlite3.OperationalError as error:
        return _advice(path, str(error)) if "no such table" in str(error) else ""
    except sqlite3.DatabaseError as error:
        return _advice(path, str(error))
    return ""


def _advice(path: Path, reason: str) -> str:
    return (
        f"{path} is not a complete MLflow database ({reason}): move it away; the results are in the"
        " store, and running the same sweep again logs them to a new one"
    )
