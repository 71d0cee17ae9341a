"""The options of a sweep: every axis and every setting, typed and documented as its field is."""

import argparse
import dataclasses
import inspect
import os
import re
import sys
import textwrap
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, NoReturn

from llfc.connectivity.corrections import CORRECTIONS
from llfc.connectivity.measures.registry import MEASURES
from llfc.data.datasets import DATASETS
from llfc.data.tokens import SEQUENCES
from llfc.matching.matchers import MATCHERS
from llfc.names import lookup
from llfc.networks.architectures import ARCHITECTURES
from llfc.specs import (
    ACTIVATIONS,
    FORMS,
    NORMS,
    OPTIMIZERS,
    POSITIONS,
    PRECISIONS,
    SCHEDULES,
    SPLITTINGS,
    Pair,
    Recipe,
    Trial,
)
from llfc.tasks import TASKS
from sweeps.grid.grid import DEFAULTS, EVERY_AXIS, MEASURING, RECIPE_AXES, trials_of
from sweeps.grid.lattice import SEARCHED, check_search
from sweeps.grid.settings import ENVIRONMENT, GPU_SHARE, Settings
from sweeps.grid.study_file import words_for
from sweeps.grid.sweep import SPAWN, Search, Sweep, has_number

# The values that replace the names of constants when a docstring becomes a help text.
CONSTANTS: Mapping[str, Iterable[str]] = {
    "ACTIVATIONS": ACTIVATIONS,
    "ARCHITECTURES": ARCHITECTURES,
    "CORRECTIONS": CORRECTIONS,
    "DATASETS": (*DATASETS, *SEQUENCES),
    "FORMS": FORMS,
    "GPU_SHARE": (f"{GPU_SHARE:g}",),
    "MATCHERS": MATCHERS,
    "MEASURES": MEASURES,
    "NORMS": NORMS,
    "OPTIMIZERS": OPTIMIZERS,
    "POSITIONS": POSITIONS,
    "PRECISIONS": PRECISIONS,
    "SCHEDULES": SCHEDULES,
    "SPLITTINGS": SPLITTINGS,
    "TASKS": TASKS,
    "None": ("none",),
}


CONFIG, ALONG = "config", "along"


class _Formatter(argparse.HelpFormatter):
    """A help formatter that does not break names at their hyphens."""

    def _split_lines(self, text: str, width: int) -> list[str]:
        return textwrap.wrap(" ".join(text.split()), width, break_on_hyphens=False)


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        raise ValueError(f"{self.prog}: {message}")


def parse(
    sweep: Sweep, arguments: Sequence[str] | None = None
) -> tuple[Settings, Sweep, list[Trial]]:
    """The settings, the changed sweep and its trials.

    Raises:
        ValueError: if an option is unknown, or a value is of the wrong type or breaks a rule.
    """
    parser = _parser(sweep)
    words = sys.argv[1:] if arguments is None else list(arguments)
    typed = vars(_read(parser, words))
    if (config := typed.get(CONFIG)) is not None:
        from_file = words_for(sweep.name, config)
        try:
            _read(parser, from_file)
        except ValueError as error:
            raise ValueError(f"{config}: {error}") from None
        words = from_file + words  # what is typed stands last, and wins
    values = {
        name: value for name, value in vars(_read(parser, words)).items() if value is not None
    }
    values.pop(CONFIG, None)
    for unit, other in (SPAWN, SPAWN[::-1]):  # one axis in two units
        if has_number(typed[unit]) and typed[other] is None:
            values.pop(other, None)
    if sweep.search is not None:
        sweep = _searching(sweep, values)
    changed = sweep.replace({name: values.pop(name) for name in EVERY_AXIS if name in values})
    if changed.search is not None:
        check_search(changed)
    if changed.x == "checkpoints" and "checkpoints" not in changed.axes:
        raise ValueError(
            "checkpoints must be at least two files, got none: --checkpoints FILE FILE"
        )
    measuring = {name: values.pop(name) for name in MEASURING if name in values}
    # A wrong setting, name or value is reported before anything is loaded.
    return Settings(**values), changed, trials_of(changed, **measuring)


def _searching(sweep: Sweep, values: dict[str, Any]) -> Sweep:
    """`sweep` as the options of a search among `values` change it; they are taken out."""
    given = {f.name: values.pop(f.name) for f in dataclasses.fields(Search) if f.name in values}
    x = values.pop(ALONG, sweep.x)
    lookup("axis of a search", x, SEARCHED)
    assert sweep.search is not None
    return dataclasses.replace(sweep.along(x), search=dataclasses.replace(sweep.search, **given))


def _read(parser: argparse.ArgumentParser, words: Sequence[str]) -> argparse.Namespace:
    given, unknown = parser.parse_known_args(words)
    options = {action.option_strings[-1]: action for action in parser._actions}
    for word in unknown:
        lookup("option", word.partition("=")[0], options)
    return given


def _parser(sweep: Sweep) -> argparse.ArgumentParser:
    parser = _Parser(description=sweep.question, allow_abbrev=False, formatter_class=_Formatter)
    usual = trials_of(sweep)
    described = {**_described(Recipe), **_described(Trial), **_described(Pair)}
    hints = {**_hints(Recipe), **_hints(Trial), **_hints(Pair)}
    group = parser.add_argument_group(
        "axes: give one value or several; every combination is a trial"
    )
    for name in EVERY_AXIS:
        text = f"{described[name]} [{_usual(sweep, name, usual)}]"
        _add(group, name, hints[name], text, several=True)
    if sweep.search is not None:
        _add_search(parser, sweep, sweep.search)
    group = parser.add_argument_group("measuring")
    for name in MEASURING:
        text = f"{described[name]} [{_word(getattr(usual[0], name))}]"
        _add(group, name, hints[name], text, several=False)
    group = parser.add_argument_group(
        "settings: [default; environment VARIABLE that stands in for the option]"
    )
    described, hints = _described(Settings), _hints(Settings)
    for field in dataclasses.fields(Settings):
        variable = ENVIRONMENT.get(field.name, "")
        default = "" if field.default is None else _word(field.default)
        shown = "; ".join(filter(None, (default, variable)))
        text = described[field.name] + (f" [{shown}]" if shown else "")
        # argparse reads a default that is a text as it reads the option.
        given = os.environ.get(variable) or None
        _add(group, field.name, hints[field.name], text, several=False, default=given)
    text = "TOML file with axes and settings of this sweep; what is typed beside it wins"
    _add(group, CONFIG, Path, text, several=False)
    return parser


def _add_search(parser: argparse.ArgumentParser, sweep: Sweep, search: Search) -> None:
    group = parser.add_argument_group("search: between the two ends that its axis is given")
    text = f"axis of the search: {', '.join(SEARCHED)} [{sweep.x}]"
    _add(group, ALONG, str, text, several=False)
    described, hints = _described(Search), _hints(Search)
    for field in dataclasses.fields(Search):
        shown = f"{described[field.name]} [{_word(getattr(search, field.name))}]"
        _add(group, field.name, hints[field.name], shown, several=False)


def _described(record: type) -> dict[str, str]:
    """What the docstring of `record` says of each attribute, with constants as their values."""
    section = (inspect.getdoc(record) or "").partition("Attributes:\n")[2]
    found = re.findall(r"^    (\w+): (.*(?:\n {8,}.*)*)", section, re.MULTILINE)
    constants = re.compile(rf"\b({'|'.join(CONSTANTS)})\b")
    return {
        name: constants.sub(
            lambda word: ", ".join(CONSTANTS[word[0]]), " ".join(text.split()).rstrip(".")
        )
        for name, text in found
    }


def _add(
    group: argparse._ArgumentGroup,
    name: str,
    hint: Any,
    text: str,
    *,
    several: bool,
    default: str | None = None,
) -> None:
    """Add the option for a field of type `hint`; a tuple takes several words as one value."""
    inner = _without_none(hint)
    sequence = typing.get_origin(inner) is tuple
    reader = _reader(typing.get_args(inner)[0] if sequence else inner, optional=inner is not hint)
    action: dict[str, Any] = {"nargs": "+"} if several or sequence else {}
    if inner is bool and not several:  # a switch: its name alone turns it on
        action |= {"nargs": "?", "const": True}
    if sequence:
        action["action"] = _AsTuples if several else _AsTuple
    group.add_argument(
        f"--{name.replace('_', '-')}",
        type=reader,
        metavar=name.upper(),
        default=default,
        help=text.replace("%", "%%"),
        **action,
    )


class _AsTuple(argparse.Action):
    """All words of the option are one tuple; `none` alone is None where that is a value, or ()."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option: Any = None) -> None:
        alone = {(None,): None, ("none",): ()}
        setattr(namespace, self.dest, alone.get(tuple(values), tuple(values)))


class _AsTuples(_AsTuple):
    """All words of the option are one tuple, the only value of its axis."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option: Any = None) -> None:
        setattr(namespace, self.dest, [None if values == [None] else tuple(values)])


def _reader(kind: Any, *, optional: bool) -> Callable[[str], Any]:
    """A function that reads one word as a `kind`, or as None where the field allows it."""

    def read(word: str) -> Any:
        if optional and word.lower() == "none":
            return None
        if kind is bool:
            return bool(("false", "true").index(word.lower()))
        if kind is float and "/" in word:
            return _quotient(word)
        return kind(word)

    read.__name__ = {int: "integer", float: "number", bool: "true/false"}.get(kind, "value")
    return read


def _quotient(word: str) -> float:
    """The number that is written as `1/16`."""
    try:
        return float(Fraction(word))
    except ZeroDivisionError:
        raise ValueError("division by zero") from None


def _hints(record: type) -> dict[str, Any]:
    return typing.get_type_hints(record)


def _without_none(hint: Any) -> Any:
    if isinstance(hint, types.UnionType):
        (hint,) = (kind for kind in typing.get_args(hint) if kind is not types.NoneType)
    return hint


def _usual(sweep: Sweep, name: str, trials: Sequence[Trial]) -> str:
    """The values of an axis where its option is not typed, as one would type them.

    What depends on the architecture is labelled so, with its values in the sweep's `trials`.
    """
    values = sweep.axes.get(name, DEFAULTS.get(name))
    if name in RECIPE_AXES and values is None:
        found = dict.fromkeys(getattr(trial.pair.recipe, name) for trial in trials)
        return f"the recipe's: {_shown(found)}"
    if name == "norm" and None in (values or ()):
        norms = dict.fromkeys(trial.pair.norm for trial in trials)
        return f"the architecture's: {_shown(norms)}"
    return _shown(values or ())


def _shown(values: Iterable[Any]) -> str:
    return " ".join(map(_word, values))


def _word(value: Any) -> str:
    """`value` as one would type it."""
    if isinstance(value, tuple):
        return _shown(value) or "none"
    if isinstance(value, bool):
        return str(value).lower()
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
