"""The options of a sweep: every axis and every setting, typed as the field that it fills."""

import argparse
import dataclasses
import os
import types
import typing
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NoReturn

from llfc.connectivity.corrections import CORRECTIONS
from llfc.connectivity.measures.registry import MEASURES
from llfc.data.datasets import DATASETS
from llfc.data.imagefolder import PREFIX
from llfc.matching.matchers import MATCHERS
from llfc.names import lookup
from llfc.networks.architectures import ARCHITECTURES
from llfc.specs import (
    DEFAULT_MEASURES,
    NORMS,
    OPTIMIZERS,
    PRECISIONS,
    SCHEDULES,
    Pair,
    Recipe,
    Trial,
)
from sweeps.grid.grid import DEFAULTS, RECIPE_AXES, trials_of
from sweeps.grid.settings import Settings
from sweeps.grid.sweep import Sweep

# Options that say how each trial measures; they are fields of Trial but no axes of a grid.
MEASURING = ("alphas", "probes", "measures", "limit_test", "limit_measured")
HELP = {
    "dataset": f"{', '.join(DATASETS)} or {PREFIX}PATH",
    "limit_train": "number of training images; none for all",
    "architecture": ", ".join(ARCHITECTURES),
    "norm": ", ".join(NORMS),
    "width": "multiple of the architecture's usual width; fractions allowed",
    "spawn_epoch": "epochs of the shared trunk; none for two independent networks",
    "seed": "a seed makes a pair",
    "matching": f"how b's units are permuted towards a's: {', '.join(MATCHERS)}",
    "correction": f"what is done to the statistics of a blend: {', '.join(CORRECTIONS)}",
    "alphas": "number of positions on the line, odd",
    "probes": "names of the modules whose features are measured",
    "measures": f"what else is measured, at a cost: none, or of {', '.join(MEASURES)}"
    f" [{' '.join(DEFAULT_MEASURES) or 'none'}]",
    "limit_test": "number of test images; none for all",
    "limit_measured": "number of training images that matching, correction and the training curve"
    " use; none for all",
}


CHOICES = {"optimizer": OPTIMIZERS, "schedule": SCHEDULES, "precision": PRECISIONS}


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        raise ValueError(f"{self.prog}: {message}")


def parse(
    sweep: Sweep, arguments: Sequence[str] | None = None
) -> tuple[Settings, Sweep, dict[str, Any]]:
    """The settings, the changed sweep and the measuring options.

    Raises:
        ValueError: if an option is unknown, or a value is of the wrong type or breaks a rule.
    """
    parser = _parser(sweep)
    given, unknown = parser.parse_known_args(arguments)
    options = {action.option_strings[-1]: action for action in parser._actions}
    for word in unknown:
        lookup("option", word.partition("=")[0], options)
    values = {name: value for name, value in vars(given).items() if value is not None}
    axes = {name: values[name] for name in (*DEFAULTS, *RECIPE_AXES) if name in values}
    settings = {f.name: values[f.name] for f in dataclasses.fields(Settings) if f.name in values}
    measuring = {name: values[name] for name in MEASURING if name in values}
    changed = sweep.replace(axes)
    trials_of(changed, **measuring)  # a wrong name or value is said before anything is loaded
    return Settings(**settings), changed, measuring


def _parser(sweep: Sweep) -> argparse.ArgumentParser:
    parser = _Parser(description=sweep.question, allow_abbrev=False)
    hints = {**_hints(Recipe), **_hints(Trial), **_hints(Pair)}
    axes = parser.add_argument_group("axes: one value or several, every combination is a trial")
    for name in (*DEFAULTS, *RECIPE_AXES):
        usual = _usual(sweep, name)
        text = HELP.get(name) or f"of the recipe: {name.replace('_', ' ')}"
        if choices := CHOICES.get(name):
            text += f", {', '.join(choices)}"
        _add(axes, name, hints[name], f"{text} [{usual}]", several=True)
    measuring = parser.add_argument_group("measuring")
    for name in MEASURING:
        _add(measuring, name, hints[name], HELP[name], several=False)
    settings = parser.add_argument_group(
        "settings; [VARIABLE]: of the environment, in place of the option"
    )
    for field in dataclasses.fields(Settings):
        text, variable = field.metadata["help"], field.metadata["environment"]
        _add(
            settings,
            field.name,
            _hints(Settings)[field.name],
            f"{text} [{variable}]" if variable else text,
            several=False,
            default=os.environ.get(variable) or None,  # argparse reads it as it reads the option
        )
    return parser


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
        setattr(namespace, self.dest, [tuple(values)])


def _reader(kind: Any, *, optional: bool) -> Callable[[str], Any]:
    """A function that reads one word as a `kind`, or as None where the field allows it."""

    def read(word: str) -> Any:
        if optional and word.lower() == "none":
            return None
        if kind is bool:
            return bool(("false", "true").index(word.lower()))
        return kind(word)

    read.__name__ = {int: "integer", float: "number", bool: "true/false"}.get(kind, "value")
    return read


def _hints(record: type) -> dict[str, Any]:
    return typing.get_type_hints(record)


def _without_none(hint: Any) -> Any:
    if isinstance(hint, types.UnionType):
        (hint,) = (kind for kind in typing.get_args(hint) if kind is not types.NoneType)
    return hint


def _usual(sweep: Sweep, name: str) -> str:
    """The values of an axis where its option is not typed, as one would type them.

    What depends on the architecture is called so, with its values in this sweep.
    """
    values = sweep.axes.get(name, DEFAULTS.get(name))
    if name in RECIPE_AXES and values is None:
        recipes = [trial.pair.recipe for trial in trials_of(sweep)]
        return f"the recipe's: {_shown(dict.fromkeys(getattr(r, name) for r in recipes))}"
    if name == "norm" and None in (values or ()):
        norms = dict.fromkeys(trial.pair.norm for trial in trials_of(sweep))
        return f"the architecture's: {_shown(norms)}"
    return _shown(values or ())


def _shown(values: Iterable[Any]) -> str:
    return " ".join(map(_word, values))


def _word(value: Any) -> str:
    """`value` as it is typed."""
    if isinstance(value, tuple):
        return _shown(value) or "none"
    if isinstance(value, bool):
        return str(value).lower()
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
