"""Calling a plug-in: with what it knows of what it is offered, and errors in one line."""

import inspect
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from llfc.oneline import with_its_type
from llfc.plugins.importing import PREFIX
from llfc.plugins.sources import OURS, is_installed

_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def taken(what: str, function: Callable[..., Any], offered: tuple[str, ...]) -> tuple[str, ...]:
    """Those of the `offered` arguments that `function` has parameters for, all of them by `**`.

    Raises:
        ValueError: if it has to be given anything else; `what` it is begins the error.
    """
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        raise ValueError(f"{what} must be a function with a signature") from None
    if any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters):
        named = set(offered)
    else:
        named = {parameter.name for parameter in parameters if parameter.kind in _NAMED}
    for parameter in parameters:
        needed = parameter.default is inspect.Parameter.empty
        several = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
        if parameter.kind in several or not needed:
            continue
        if parameter.kind not in _NAMED or parameter.name not in offered:
            raise ValueError(
                f"{what} must take any of {', '.join(offered)} by name, and nothing else without a"
                f" default, but takes {parameter.name!r}"
            )
    return tuple(name for name in offered if name in named)


def call(what: str, function: Callable[..., Any], offered: Mapping[str, Any]) -> Any:
    """What `function` returns, given those of the `offered` arguments that it knows.

    Raises:
        ValueError: if its signature is another, or it raises anything; `what` begins the error.
    """
    names = taken(what, function, tuple(offered))
    with in_one_line(what):
        return function(**{name: offered[name] for name in names})


@contextmanager
def in_one_line(what: str) -> Iterator[None]:
    """Whatever a plug-in raises, as a ValueError that says what and where."""
    try:
        yield
    except (Exception, SystemExit) as error:
        raise ValueError(f"{what} raised {with_its_type(error)}{_where(error)}") from error


@contextmanager
def nothing_unseen(what: str, folders: tuple[Path, ...]) -> Iterator[None]:
    """Refuse modules that are loaded from `folders` by other means than an import statement."""
    before = set(sys.modules)
    yield
    for name in sorted(set(sys.modules) - before):
        file = Path(getattr(sys.modules[name], "__file__", None) or "")
        if name.startswith(PREFIX) or name.partition(".")[0] in OURS:
            continue
        if not is_installed(file) and any(file.is_relative_to(folder) for folder in folders):
            raise ValueError(
                f"{what} must import {name} by an import statement, so that its code counts too"
            )


def _where(error: BaseException) -> str:
    """The last line of a plug-in's own that `error` went through."""
    steps = traceback.walk_tb(error.__traceback__)
    own = [
        (Path(frame.f_code.co_filename).name, line)
        for frame, line in steps
        if str(frame.f_globals.get("__name__")).startswith(PREFIX)
    ]
    return " ({}, line {})".format(*own[-1]) if own else ""
