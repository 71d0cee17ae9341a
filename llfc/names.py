"""Look a name up in a table, with an error that helps."""

import difflib
from collections.abc import Mapping
from typing import TypeVar

T = TypeVar("T")


def lookup(kind: str, name: str, table: Mapping[str, T]) -> T:
    """`table[name]`, or a ValueError that lists the choices and guesses at the typo.

    >>> lookup("norm", "bath", {"batch": 1, "layer": 2})
    Traceback (most recent call last):
    ...
    ValueError: unknown norm 'bath': choose from batch, layer; did you mean 'batch'?
    """
    if isinstance(name, str) and name in table:
        return table[name]
    close = difflib.get_close_matches(str(name), table, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    raise ValueError(f"unknown {kind} {name!r}: choose from {', '.join(sorted(table))}{hint}")
