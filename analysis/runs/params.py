"""Strings back into what they were: MLflow keeps every parameter as text, None as "None".

A trial's parameters are flat: the fields of Trial and of Pair under their own names, those of
Recipe with the prefix `recipe.`. Types come from the records' fields and are never guessed.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from llfc.codec import fields_of, from_text, kind_of
from llfc.specs import UNKNOWN, Network, Pair, Recipe, Trial

RECIPE = "recipe."


def _hints(record: type, prefix: str = "") -> dict[str, Any]:
    """The types of a record's parameters; a record in it has parameters of its own."""
    fields = fields_of(record).items()
    return {prefix + name: hint for name, hint in fields if hint not in (Pair, Recipe)}


# Every parameter of a trial, in the order in which frames have their columns, with its type.
PARAMS: Mapping[str, Any] = {**_hints(Pair), **_hints(Trial), **_hints(Recipe, RECIPE)}

# What a trial that was logged without a parameter had, where the field was added later.
ADDED: Mapping[str, Any] = {
    prefix + field.name: field.default
    for prefix, record in (("", Pair), ("", Trial), (RECIPE, Recipe))
    for field in dataclasses.fields(record)
    if "added_later" in field.metadata
}


def restore(name: str, text: str) -> Any:
    """The value of the parameter `name` that was written as `text`.

    Raises:
        ValueError: if `text` is no value of the field's type.

    >>> restore("spawn_epoch", "None"), restore("width", "64"), restore("recipe.milestones", "()")
    (None, 64.0, ())
    """
    try:
        return from_text(PARAMS[name], text)
    except ValueError as error:
        raise ValueError(f"parameter {name} {error}") from error


def typed(name: str, value: Any) -> Any:
    """The value of the parameter `name` in its own type, as a file of frames may have another.

    >>> typed("spawn_epoch", 2.0), typed("spawn_epoch", float("nan")), typed("seed", 1.0)
    (2, None, 1)
    """
    kind, optional = kind_of(PARAMS[name])
    # A recipe's fields are missing in trials of checkpoints.
    if (optional or name.startswith(RECIPE)) and (value is None or value != value):
        return None
    return kind(value)


def trial_from_params(params: Mapping[str, str]) -> Trial:
    """The trial whose parameters were written as `params`.

    Raises:
        ValueError: if a parameter is missing, or is no value of its field.
    """
    params = {**{name: str(default) for name, default in ADDED.items()}, **params}
    if params["checkpoints"] != "None":
        params |= {RECIPE + n: str(value) for n, value in dataclasses.asdict(UNKNOWN).items()}
    missing = [name for name in PARAMS if name not in params]
    if missing:
        raise ValueError(f"parameters must include every field of a trial: {missing[0]} is missing")
    values = {name: restore(name, params[name]) for name in PARAMS}
    recipe = Recipe(
        **{n.removeprefix(RECIPE): v for n, v in values.items() if n.startswith(RECIPE)}
    )
    pair = Pair(**{name: values[name] for name in _hints(Pair)}, recipe=recipe)
    return Trial(pair=pair, **{name: values[name] for name in _hints(Trial)})


def params_of(trial: Trial) -> dict[str, Any]:
    """The parameters of `trial`, flat and typed, as PARAMS has them; of checkpoints no recipe."""
    owners = {name: trial.pair for name in _hints(Pair)} | {name: trial for name in _hints(Trial)}
    recipe = trial.pair.recipe
    return {
        name: getattr(owners.get(name, recipe), name.removeprefix(RECIPE))
        for name in PARAMS
        if trial.pair.checkpoints is None or not name.startswith(RECIPE)
    }


def network_params(network: Network) -> dict[str, Any]:
    """The parameters of `network`, flat, its recipe's with the prefix `recipe.`."""
    own = {name: getattr(network, name) for name in fields_of(Network) if name != "recipe"}
    recipe = {RECIPE + name: getattr(network.recipe, name) for name in fields_of(Recipe)}
    return {**own, **recipe}


# The parameters that are tuples.
TUPLES = tuple(name for name, hint in PARAMS.items() if kind_of(hint)[0] is tuple)
# The parameters for which None is a value.
NULLABLE = tuple(name for name, hint in PARAMS.items() if kind_of(hint)[1])
