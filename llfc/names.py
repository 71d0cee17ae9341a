"""Look a name up in a table, with an error that helps; names of plug-ins, options, counts."""

import difflib
import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

_T = TypeVar("_T")
# A plug-in's full name: its module and function, the digits of its code, those of a data set's
# content.
PLUGIN = re.compile(r"([\w.]+:\w+)@([0-9a-f]{16})(-[0-9a-f]{8})?")


def lookup(kind: str, name: str, table: Mapping[str, _T]) -> _T:
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


def as_names(what: str, given: Any) -> Sequence[str]:
    """`given` as names, each once, in their order; a single one need be in no list.

    Raises:
        ValueError: if they are no names.

    >>> as_names("measures", "stitching"), as_names("probes", ["head", "relu*", "head"])
    (['stitching'], ['head', 'relu*'])
    """
    listed = [given] if isinstance(given, str) else given
    if not isinstance(listed, list | tuple | set | frozenset):
        raise ValueError(f"{what} must be a list of names, got {given!r}")
    for name in listed:
        if not isinstance(name, str):
            raise ValueError(f"{what} must be a list of names, but contains {name!r}")
    return list(dict.fromkeys(listed))


def readable(name: str) -> str:
    """A plug-in's full name without its digits; any other as it is.

    >>> readable("mynet:build@0123456789abcdef"), readable("mlp")
    ('mynet:build', 'mlp')
    >>> readable("mine:match@0123456789abcdef:effort=2")
    'mine:match:effort=2'
    """
    found = PLUGIN.fullmatch(divided(name)[0])
    return found[1] + name[found.end() :] if found else name


def counted(count: int, noun: str) -> str:
    """So many of what is named.

    >>> counted(1, "network"), counted(2, "trial")
    ('1 network', '2 trials')
    """
    return f"{count} {noun}{'' if count == 1 else 's'}"


def divided(name: str) -> tuple[str, str]:
    """A name, and the options that are said after it.

    >>> divided("weights:effort=4"), divided("mine.py:match")
    (('weights', 'effort=4'), ('mine.py:match', ''))
    """
    alone, _, options = name.rpartition(":")
    return (alone, options) if alone and "=" in options else (name, "")
