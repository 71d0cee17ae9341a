"""The grid of a sweep as trials: every axis, what it may be, and the trial at each point."""

import dataclasses
import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from llfc.connectivity.corrections import CORRECTIONS
from llfc.connectivity.measures.registry import MEASURES
from llfc.data.datasets import kind_of, of_plugin, task_of
from llfc.matching.matchers import canonical
from llfc.names import lookup
from llfc.networks.architectures import ARCHITECTURES, architecture_of, check_fits
from llfc.networks.recipes import default_recipe
from llfc.networks.weightfiles import name_checkpoints
from llfc.plugins import is_own, resolve
from llfc.specs import ALL, OPTIONS, SPLITTINGS, UNKNOWN, Pair, Recipe, Trial
from llfc.tasks import TASKS, measured_as
from sweeps.grid.sweep import SPAWN, Sweep

# A recipe's fields are axes too; one that a sweep does not name keeps the recipe's own value.
RECIPE_AXES = tuple(field.name for field in dataclasses.fields(Recipe))

# Every axis, in the order in which trials are listed, with the value it has if a sweep is silent.
# None of norm, depth, heads, positions and activation: the architecture's usual.
DEFAULTS: Mapping[str, Sequence[Any]] = {
    "dataset": ("fashion-mnist-small",),
    "limit_train": (None,),
    "architecture": ("mlp",),
    "norm": (None,),
    "width": (1.0,),
    "depth": (None,),
    "heads": (None,),
    "positions": (None,),
    "activation": (None,),
    "spawn_epoch": (None,),
    "spawn_step": (None,),
    "seed": (0, 1, 2),
    "matching": ("none",),
    "correction": ("reset",),
    "checkpoints": (None,),
    "shared_data": (None,),
    "split_by": ("samples",),
    "form": ("trained",),
    "misalignment": (0.0,),
    "misaligned": (ALL,),
}


# The axes whose values name something built in, or a plug-in; so do those of `matching`, with
# options.
REGISTRIES: Mapping[str, Collection[str]] = {
    "architecture": ARCHITECTURES,
    "correction": CORRECTIONS,
}
EVERY_AXIS = (*DEFAULTS, *RECIPE_AXES)
# The axes that are fields of Trial and named as they are.
OF_TRIALS = ("matching", "correction", "form", "misalignment", "misaligned")
# How each trial measures: fields of Trial that are no axes.
MEASURING = tuple(f.name for f in dataclasses.fields(Trial) if f.name not in {*DEFAULTS, "pair"})


def trials_of(sweep: Sweep, **measuring: Any) -> list[Trial]:
    """Every distinct trial of the grid.

    Args:
        sweep: its axes span the grid.
        measuring: values by name of MEASURING; as the sweep or `Trial` has them if not given.

    Raises:
        ValueError: if an axis, a name in it or a measure is unknown, an axis is empty, or a value
            breaks the rule of its field; if no recipe of the grid uses an axis that is named.
    """
    measuring = {**sweep.measuring, **measuring}
    for name in measuring.get("measures", ()):
        lookup("measure", name, MEASURES)
    if (task := measuring.get("task")) is not None:
        measuring["task"] = _resolved("task", task, TASKS)
    points = list(_points(sweep))
    _check_used(sweep, points)
    trials = (
        Trial(
            pair=_pair(point),
            **{name: point[name] for name in OF_TRIALS},
            **measuring | {"task": _task(point["dataset"], measuring.get("task"))},
        )
        for point in points
    )
    return list(dict.fromkeys(trials))


def _task(dataset: str, wanted: str | None) -> str | None:
    """The task to measure, if it is not the one that the data set is for.

    Raises:
        ValueError: if networks that are trained on the data set cannot be measured at it.
    """
    own = task_of(dataset)
    measured_as(own, wanted)
    return None if wanted == own else wanted


def _points(sweep: Sweep) -> Iterator[dict[str, Any]]:
    for name, values in sweep.axes.items():
        lookup("axis", name, dict.fromkeys(EVERY_AXIS))
        if not values:
            raise ValueError(f"axis {name} must have at least one value, got none")
    axes = {**DEFAULTS, **sweep.axes}
    for kind, table in REGISTRIES.items():
        axes[kind] = [_resolved(kind, name, table) for name in axes[kind]]
    axes["matching"] = [canonical(name) for name in axes["matching"]]
    axes["dataset"] = [resolve("dataset", n) if of_plugin(n) else n for n in axes["dataset"]]
    if any(axes["checkpoints"]):
        axes["checkpoints"] = _pairs_of(sweep)
    for values in itertools.product(*axes.values()):
        yield dict(zip(axes, values, strict=True))


def _pairs_of(sweep: Sweep) -> Sequence[tuple[str, ...]]:
    """Every two of the checkpoints of `sweep`, by name.

    Raises:
        ValueError: if a file is none, or an axis says how networks are to be trained.
    """
    for name in (*RECIPE_AXES, *SPAWN, "shared_data"):
        if any(value is not None for value in sweep.axes.get(name, ())):
            raise ValueError(f"axis {name} has no effect here: checkpoints are trained already")
    (files,) = sweep.axes["checkpoints"]
    return list(itertools.combinations(name_checkpoints(files), 2))


def _resolved(kind: str, name: str, table: Collection[str]) -> str:
    """`name`, if it is one of `table`; the full name of a plug-in, whose code is then known."""
    return resolve(kind, name) if is_own(kind, name, table) else name


def _pair(point: Mapping[str, Any]) -> Pair:
    """The pair at one point of the grid."""
    inputs = kind_of(point["dataset"])
    architecture = architecture_of(point["architecture"])
    options = {name: point[name] for name in OPTIONS if point[name] is not None}
    check_fits(point["architecture"], point["norm"] or architecture.norm, [inputs], options)
    # As usual, whether that is said or not: networks which are the same have one name.
    usual = architecture.options.items()
    options = {name: value for name, value in options.items() if (name, value) not in usual}
    recipe = _recipe(point)
    if recipe.augment and inputs != "images":
        raise ValueError(
            f"augment must be false for {inputs}, as {point['dataset']} is of, got true"
        )
    by_classes = point["shared_data"] is not None and point["split_by"] == "classes"
    if by_classes and inputs != "images":
        raise ValueError(
            f"split_by must be samples for {inputs}, as {point['dataset']} is of, got classes"
        )
    return Pair(
        architecture=point["architecture"],
        width=point["width"],
        norm=point["norm"] or architecture.norm,
        dataset=point["dataset"],
        limit_train=point["limit_train"],
        seed=point["seed"],
        spawn_epoch=point["spawn_epoch"],
        spawn_step=point["spawn_step"],
        recipe=recipe,
        checkpoints=point["checkpoints"],
        shared_data=point["shared_data"],
        split_by=_split_by(point),
        **options,
    )


def _split_by(point: Mapping[str, Any]) -> str:
    """What the data are divided by; where they are not, as usual, so that one pair has one name."""
    lookup("split_by", point["split_by"], dict.fromkeys(SPLITTINGS))
    return "samples" if point["shared_data"] is None else str(point["split_by"])


def _recipe(point: Mapping[str, Any]) -> Recipe:
    """The recipe at one point of the grid; what it does not use is as the usual recipe has it.

    So that networks which only such a field tells apart, and which are the same, have one name.
    """
    if point["checkpoints"] is not None:
        return UNKNOWN
    usual = default_recipe(point["architecture"], point["dataset"], point["norm"])
    changes = {name: point[name] for name in RECIPE_AXES if name in point}
    changed = dataclasses.replace(usual, **changes)
    back = {name: getattr(usual, name) for name in changed.unused() if name in changes}
    return dataclasses.replace(changed, **back)


def _check_used(sweep: Sweep, points: Sequence[Mapping[str, Any]]) -> None:
    """Refuse an axis of the recipe that no recipe of the grid uses."""
    for name in dict.fromkeys(RECIPE_AXES) & sweep.axes.keys():
        if all(name in _recipe(point).unused() for point in points):
            reason = _recipe(points[0]).unused()[name]
            raise ValueError(f"axis {name} has no effect here: {reason}")
    divided = any(point["split_by"] != "samples" for point in points)
    if divided and all(point["shared_data"] is None for point in points):
        raise ValueError("axis split_by has no effect here: shared_data must be given, got none")
