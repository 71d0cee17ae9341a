"""Imports that take seconds."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console


@contextmanager
def loading(what: str, module: str, *, quiet: bool = False) -> Iterator[None]:
    """While it is entered, a terminal says that `what` is loaded, unless `module` is already."""
    console = Console(stderr=True)
    if quiet or not console.is_terminal or module in sys.modules:
        yield
        return
    with console.status(f"loading {what}"):
        yield
