"""From what was named to the function: looked up, read, digested, and found again by its name."""

import functools
import re
from collections.abc import Callable, Collection, Mapping
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, TypeVar

from llfc.names import PLUGIN, lookup, readable
from llfc.plugins.calling import call, in_one_line, nothing_unseen, taken
from llfc.plugins.importing import load
from llfc.plugins.sources import Source, of_file, of_module
from llfc.seeds import generators_left

T = TypeVar("T")
# The entry points of packages, by kind of what they make.
GROUPS: Mapping[str, str] = {
    "architecture": "llfc.architectures",
    "dataset": "llfc.datasets",
    "matching": "llfc.matchings",
    "correction": "llfc.corrections",
    "task": "llfc.tasks",
}
FILE = re.compile(r"(.+\.py):(\w*)", re.DOTALL)
MODULE = re.compile(r"([A-Za-z_][\w.]*):(\w+)")

# The code of every plug-in that this process knows, by its digest.
_known: dict[str, Source] = {}


def is_resolved(name: str) -> bool:
    """Whether `name` is what `resolve` makes of one.

    >>> is_resolved("mynet:build@0123456789abcdef"), is_resolved("mlp")
    (True, False)
    """
    return PLUGIN.fullmatch(name) is not None


def is_plugin(kind: str, name: str) -> bool:
    """Whether `name` can only be a plug-in's: `FILE.py:FUNCTION`, `MODULE:FUNCTION`, or resolved.

    Or the name of an entry point of its kind.
    """
    if any(pattern.fullmatch(name) for pattern in (PLUGIN, FILE, MODULE)):
        return True
    return name.endswith(".py") or name in _entry_points(kind)


def is_own(kind: str, name: str, table: Collection[str]) -> bool:
    """Whether `name` is a plug-in's, rather than one of `table`.

    Raises:
        ValueError: if it is neither; it lists the choices.
    """
    if name in table:
        return False
    if isinstance(name, str) and is_plugin(kind, name):
        return True
    lookup(kind, name, dict.fromkeys([*table, *choices(kind)]))
    return False


def choices(kind: str) -> Collection[str]:
    """The names of installed packages' plug-ins of this kind."""
    return _entry_points(kind).keys()


def resolve(kind: str, name: str) -> str:
    """The name that says what the plug-in `name` is, wherever it lies; its code is then known here.

    Raises:
        ValueError: in one line, if there is no such file, module or function, or its code has an
            error.
    """
    if is_resolved(name):
        return name
    entry = _entry_points(kind).get(name)
    text = name if entry is None else f"{entry.module}:{entry.attr}"
    where, _, function = text.rpartition(":")
    if name.endswith(".py") or not function:
        file = name.removesuffix(":")
        raise ValueError(f"{kind} {name} names no function: give {file}:FUNCTION")
    try:
        source = of_file(Path(where).expanduser()) if where.endswith(".py") else of_module(where)
    except ValueError as error:
        raise ValueError(f"{kind} {name}: {error}") from None
    _known[source.digest] = source
    resolved = f"{source.module}:{function}@{source.digest}"
    function_of(kind, resolved)
    return resolved


def function_of(kind: str, name: str, *, in_place: bool = False) -> Callable[..., Any]:
    """The function of the plug-in with the resolved `name`.

    Args:
        kind: one of GROUPS; for errors.
        name: what `resolve` made.
        in_place: as `llfc.plugins.importing.load` has it.

    Raises:
        ValueError: if its code is not known in this process, raises as it is imported, or has no
            such function.
    """
    return _function(kind, name, in_place)


def own_function(kind: str, name: str, offered: tuple[str, ...]) -> tuple[str, Callable[..., Any]]:
    """What begins errors about the plug-in called `name`, and its function.

    Raises:
        ValueError: if there is none, or it takes other arguments than those `offered`.
    """
    name = resolve(kind, name)
    what, function = f"{kind} {readable(name)}", function_of(kind, name)
    taken(what, function, offered)
    return what, function


@functools.cache
def _function(kind: str, name: str, in_place: bool) -> Callable[..., Any]:
    found, digest = name.rpartition("@")[::2]
    module, _, function = found.partition(":")
    source = _known.get(digest)
    if source is None:
        raise ValueError(f"{kind} {name}: its code is not known here: name the file itself")
    what = f"{kind} {found}"
    with generators_left(), nothing_unseen(what, _folders(source)), in_one_line(what):
        loaded = load(source, in_place=in_place)
    made = getattr(loaded, function, None)
    if not callable(made):
        there = sorted(
            key
            for key, value in vars(loaded).items()
            if callable(value) and getattr(value, "__module__", None) == loaded.__name__
        )
        also = f"; there {'is' if len(there) == 1 else 'are'} {', '.join(there)}" if there else ""
        wrong = f"{function!r} is no function" if made is not None else f"no function {function!r}"
        raise ValueError(f"{what}: {wrong} in {module}{also}")
    return made  # type: ignore[no-any-return]


def made(kind: str, name: str, expected: type[T]) -> T:
    """What the plug-in's function, which takes nothing, returns: one of the `expected` type.

    Raises:
        ValueError: if there is no such plug-in, it raises, or returns anything else.
    """
    name = resolve(kind, name)
    what = f"{kind} {readable(name)}"
    found = call(what, function_of(kind, name), {})
    if not isinstance(found, expected):
        raise ValueError(
            f"{what} must return a llfc.{expected.__name__}, got a {type(found).__name__}"
        )
    return found


def code_of(name: str) -> str | None:
    """The code of the plug-in with the resolved `name` as text; None if it is not known here."""
    source = _known.get(name.rpartition("@")[2])
    return None if source is None else source.to_text()


def learn(name: str, text: str) -> None:
    """Know, from now on in this process, the code `text` as that of the resolved `name`.

    Raises:
        ValueError: if it is other code, or that of an installed package which here is not the same.
    """
    digest = name.rpartition("@")[2]
    if digest in _known:
        return
    source = Source.from_text(text)
    if source.digest != digest:
        raise ValueError(f"the code of {name} is damaged: its digest is {source.digest}")
    if source.installed and of_module(source.module).digest != digest:
        raise ValueError(
            f"the package of {name} is another version here: install the same one on every machine"
        )
    _known[digest] = source


def _folders(source: Source) -> tuple[Path, ...]:
    """Where the code lies on this machine, if it is of no installed package."""
    if source.installed or not source.paths:
        return ()
    return (Path(next(iter(source.paths.values()))).resolve().parent, Path.cwd())


@functools.cache
def _entry_points(kind: str) -> Mapping[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=GROUPS[kind])}
