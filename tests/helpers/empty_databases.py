"""A database of MLflow's without runs: it is made once and copied, as making one takes seconds."""

import functools
import shutil

from sweeps.record.tracking_store import database


def copied_from(folder):
    """A function that puts a copy of the database in `folder` into another, and gives its address.

    The first to ask for a copy, of all processes, makes it.
    """
    return functools.partial(_copied, folder / "mlflow.db")


def _copied(made, folder):
    with database(f"sqlite:///{made}"):
        shutil.copyfile(made, folder / "mlflow.db")
    return f"sqlite:///{folder}/mlflow.db"
