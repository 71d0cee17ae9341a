"""Options of a function that is called by name, said after it: `NAME:OPTION=VALUE,...`."""

import inspect
import math
import re
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

WORD = re.compile(r"[\w.+-]+")
NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


@dataclass(frozen=True)
class Option:
    """An argument that a function has a default for.

    Attributes:
        name: the argument's.
        kinds: types of its values, of KINDS; empty if it takes any other, so that no word says it.
        default: the value that it has where nothing is said.
    """

    name: str
    kinds: tuple[type, ...]
    default: Any

    def read(self, word: str) -> Any:
        """The value that `word` says.

        Raises:
            ValueError: if it is of none of the kinds.

        >>> Option("effort", (float,), 12.0).read("4"), Option("steps", (int,), 1).read("4")
        (4.0, 4)
        """
        for kind in KINDS:
            if kind in self.kinds:
                try:
                    return KINDS[kind][1](word)
                except (ValueError, KeyError):
                    continue
        wanted = " or ".join(said for kind, (said, _) in KINDS.items() if kind in self.kinds)
        raise ValueError(f"must be {wanted}, got {word!r}")


def options_of(function: Callable[..., Any], offered: tuple[str, ...]) -> dict[str, Option]:
    """The options of `function` by name: all that it can be given by name beside what is `offered`.

    Their kinds are those of their annotations, or of their defaults where there are none.
    """
    try:
        signature = inspect.signature(function, eval_str=True)
    except NameError:  # annotations that are imported for type checkers alone
        signature = inspect.signature(function)
    return {
        name: Option(name, _kinds(given), given.default)
        for name, given in signature.parameters.items()
        if given.kind in NAMED and given.default is not given.empty and name not in offered
    }


def spelled(name: str, values: Mapping[str, Any]) -> str:
    """The name with these options, in the one spelling that there is.

    >>> spelled("learned", {"steps": 400, "seconds": 60.0}), spelled("weights", {})
    ('learned:seconds=60,steps=400', 'weights')
    """
    said = ",".join(f"{option}={_word(values[option])}" for option in sorted(values))
    return f"{name}:{said}" if said else name


def _kinds(parameter: inspect.Parameter) -> tuple[type, ...]:
    hint = parameter.annotation
    hint = type(parameter.default) if hint is parameter.empty else hint
    union = typing.get_origin(hint) in (types.UnionType, typing.Union)
    found = typing.get_args(hint) if union else (hint,)
    return found if all(kind in KINDS for kind in found) else ()


def _word(value: Any) -> str:
    """What `Option.read` makes `value` of."""
    short = f"{value:g}" if isinstance(value, float) else str(value)
    return short if not isinstance(value, float) or float(short) == value else repr(value)


def _number(word: str) -> float:
    number = float(word)
    if math.isnan(number):  # which equals nothing, not even itself
        raise ValueError
    return number


def _text(word: str) -> str:
    if WORD.fullmatch(word) is None:
        raise ValueError
    return word


# What the values of a kind are called, and how one is read; a word is of the first that takes it.
KINDS: Mapping[Any, tuple[str, Callable[[str], Any]]] = {
    types.NoneType: ("None", {"None": None}.__getitem__),
    bool: ("True or False", {"True": True, "False": False}.__getitem__),
    int: ("a whole number", int),
    float: ("a number", _number),
    str: ("a word", _text),
}
