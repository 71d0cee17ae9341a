"""A study as a file: axes and settings of one sweep or several in TOML, as options would give them.

    storage = "runs/night"          # what stands on top is every sweep's

    [width]                         # one of the repository's sweeps
    seed = [0, 1, 2, 3, 4]

    [narrow]                        # a sweep of one's own: another's grid, changed
    base = "width"
    question = "Does the barrier vanish with width in narrow networks?"
    width = [0.0625, 0.125]

A sweep of one's own with a resolution is a search along its x, as onset is.

A key is an option without its dashes; a value is what would be typed, a list for several words, and
"none" for what an option calls none.
"""

import dataclasses
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import tomli_w

from llfc.names import lookup
from llfc.oneline import in_one_line
from sweeps.grid.sweep import Search, Sweep

OWN = ("base", "question", "x")  # keys of a table that are no options


def sweeps_in(path: Path, known: Mapping[str, Sweep]) -> list[Sweep]:
    """The sweeps that the tables of the file at `path` stand for, in their order.

    Raises:
        ValueError: if the file is none of a study, or a table names no sweep.
    """
    found = [_sweep(path, name, table, known) for name, table in _tables(path).items()]
    if not found:
        raise ValueError(f"{path}: a study must have at least one table, such as [width], got none")
    return found


def _sweep(path: Path, name: str, table: Mapping[str, Any], known: Mapping[str, Sweep]) -> Sweep:
    own: dict[str, Any] = {key: str(table[key]) for key in ("question", "x") if key in table}
    if "base" in table:
        base = lookup("sweep", table["base"], known)
    elif name in known:
        base = known[name]
    elif len(own) == 2:
        search = Search() if "resolution" in table else None
        base = Sweep(name=name, axes={}, search=search, **own)
    else:
        raise ValueError(
            f"{path}: table [{name}] must be called as one of the sweeps {', '.join(known)}, or say"
            ' which of them it changes (base = "width"), or have a question and an x of its own'
        )
    if base.search is not None and "x" in own:
        base = base.along(own["x"])
    return dataclasses.replace(base, name=name, **own)


def words_for(sweep: str, path: Path) -> list[str]:
    """What the file at `path` says of the sweep of this name, as one would type it.

    Raises:
        ValueError: if the file is none of a study.
    """
    content = _content(path)
    shared = {key: value for key, value in content.items() if not isinstance(value, dict)}
    table = {key: v for key, v in _tables(path).get(sweep, {}).items() if key not in OWN}
    return [word for key, value in {**shared, **table}.items() for word in _words(key, value)]


def text_of(sweep: Sweep, options: Mapping[str, Any]) -> str:
    """A study of this one sweep, from which `sweeps_in` and `words_for` read the same again.

    Args:
        sweep: its axes span the grid.
        options: values of all other options by name; a tuple or list for several words.
    """
    axes = {
        name: values[0] if isinstance(values[0], tuple) else values
        for name, values in sweep.axes.items()
        if not (name == "norm" and None in values)  # the architecture's usual one: not typed
    }
    search = {} if sweep.search is None else dataclasses.asdict(sweep.search)
    table = {"question": sweep.question, "x": sweep.x, **axes, **search, **options}
    return tomli_w.dumps({sweep.name: {key: _plain(value) for key, value in table.items()}})


def _tables(path: Path) -> dict[str, dict[str, Any]]:
    return {name: table for name, table in _content(path).items() if isinstance(table, dict)}


def _content(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text())
    except OSError as error:
        raise ValueError(f"config: {path} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"config: {path} is no TOML file: {in_one_line(error)}") from None


def _words(key: str, value: Any) -> Iterable[str]:
    yield f"--{key.replace('_', '-')}"
    for item in value if isinstance(value, list) else [value]:
        yield str(item).lower() if isinstance(item, bool) else str(item)


def _plain(value: Any) -> Any:
    """`value` as TOML has it."""
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value] or "none"
    if value is None:
        return "none"
    return value if isinstance(value, bool | int | float | str) else str(value)
