"""Which axes a sweep's trials differ in, and how they are laid out: x axis, series, panels."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from analysis.runs.params import PARAMS
from llfc.names import divided

# The axes in the order in which they are told apart; what an earlier one decides is not an axis.
ORDER = (
    "architecture",
    "dataset",
    "norm",
    "width",
    "spawn_epoch",
    "spawn_step",
    "matching",
    "correction",
    "limit_train",
)
AXES = (*ORDER, *(name for name in PARAMS if name not in (*ORDER, "seed")))
# What makes a family of networks.
FAMILY = ("architecture", "norm", "activation", "dataset")
# The order in which the registries have them; others follow, sorted. One
# with options follows the one without.
MATCHINGS = ("none", "weights", "activations", "activations-uncentred")
# What None stands for, by axis.
NONES: Mapping[str, str] = {
    "checkpoints": "trained",
    "spawn_epoch": "independent",
    "spawn_step": "independent",
    **dict.fromkeys(("probes", "depth", "heads", "positions", "activation"), "usual"),
    "shared_data": "all data",
}
# Axes drawn to scale, on a logarithmic axis; the others are categories at equal distances.
LOGARITHMIC = (
    "width",
    "limit_train",
    "limit_test",
    "limit_measured",
    "recipe.lr",
    "recipe.batch_size",
)


@dataclass(frozen=True, kw_only=True)
class GridLayout:
    """How a sweep's trials are shown.

    Attributes:
        x: the axis that the sweep's question is about.
        series: the axis that has one colour per value.
        panels: the further axes that vary; a panel, or a block of rows, for each combination.
    """

    x: str
    series: str
    panels: tuple[str, ...]

    @property
    def keys(self) -> list[str]:
        """All three, panels first."""
        return [*self.panels, self.x, self.series]


def layout(trials: pd.DataFrame, sweep: str, x: str | None = None) -> GridLayout:
    """The layout of `trials`; `x` is by default the axis that gave the sweep its name.

    Raises:
        ValueError: if `x` is no axis.
    """
    if x is not None and x not in AXES:
        raise ValueError(f"x must be an axis of the trials ({', '.join(ORDER)}, ...), got {x!r}")
    if x is None:
        numeric = [axis for axis in ("width", "spawn_epoch", "spawn_step") if _varies(trials, axis)]
        x = sweep if sweep in AXES else next(iter(numeric), "width")
    series = "matching" if x != "matching" else "correction"
    keys = [x, series]
    cells = _cells(trials, keys)
    for axis in AXES:
        if axis in keys or not _varies(trials, axis):
            continue
        if (more := _cells(trials, [*keys, axis])) > cells:
            keys.append(axis)
            cells = more
    return GridLayout(x=x, series=series, panels=tuple(keys[2:]))


def values(trials: pd.DataFrame, axis: str) -> list[Any]:
    """The values that `axis` has, in their order; None, if it is one, last.

    None at all where trials lack it, as older frames do a parameter that came later.
    """
    if axis not in trials:
        return []
    found = trials[axis].drop_duplicates()
    some = found[found.notna()].tolist()
    ordered = sorted(some, key=_rank) if axis == "matching" else sorted(some)
    return ordered + [None] * bool(found.isna().any())


def rows_where(trials: pd.DataFrame, axis: str, value: Any) -> pd.DataFrame:
    """The rows in which `axis` has `value`; None is a value like any other."""
    return trials[[_same(found, value) for found in trials[axis]]]


def show(axis: str, value: Any) -> str:
    """`value` of `axis`, for people.

    >>> show("width", 0.125), show("spawn_epoch", None), show("limit_train", None)
    ('0.125', 'independent', 'all')
    >>> show("activation", None)
    'usual'
    """
    if _same(value, None):
        return NONES.get(axis, "all")
    if axis == "checkpoints":
        return " – ".join(str(each).rpartition("@")[0] for each in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def name(axis: str) -> str:
    """The name of `axis`, for people."""
    return axis.removeprefix("recipe.").replace("_", " ")


def family_names(trials: pd.DataFrame) -> "pd.Series[str]":
    """Each trial's family in words: its architecture; norm and activation where they vary.

    And its data set, where otherwise equal networks have several.

    >>> two = pd.DataFrame({"architecture": ["mlp"] * 2, "activation": [None, "tanh"]})
    >>> list(family_names(two))
    ['mlp', 'mlp, tanh']
    """
    told, several = _telling(trials)
    parts = [[_word(axis, value) for value in trials[axis]] for axis in told]
    if "dataset" in told:
        parts[-1] = list(np.where(several, parts[-1], ""))
    texts = [", ".join(filter(None, each)) for each in zip(*parts, strict=True)]
    return pd.Series(texts or [""] * len(trials), index=trials.index, dtype=object)


def family_axes(trials: pd.DataFrame) -> str | tuple[str, ...]:
    """The axes that tell families apart: the architecture, and what varies within one."""
    named, _ = _telling(trials)
    if FAMILY[0] in named and family_names(trials).nunique() > trials[FAMILY[0]].nunique():
        return tuple(named)
    return FAMILY[0]


def _telling(trials: pd.DataFrame) -> tuple[list[str], "pd.Series[bool]"]:
    """Of the axes of families the architecture, and those that vary; of which trials the data do.

    The data set is one of them where it varies between trials that are otherwise of one family.
    """
    *nets, data = FAMILY
    told = [axis for axis in nets if axis in trials]
    told = [axis for axis in told if axis == FAMILY[0] or len(values(trials, axis)) > 1]
    several = pd.Series(False, index=trials.index)
    if told and data in trials:
        several = trials.groupby(told, dropna=False)[data].transform("nunique") > 1
    return told + [data] * bool(several.any()), several


def _word(axis: str, value: Any) -> str:
    if axis == "activation" and _same(value, None):
        return ""  # the usual one needs no word
    return f"{show(axis, value)} norm" if axis == "norm" else show(axis, value)


def panels(trials: pd.DataFrame, axes: tuple[str, ...]) -> Iterator[tuple[str, pd.DataFrame]]:
    """Each combination of values of `axes` that occurs, as a title and its rows."""
    if not axes:
        yield "", trials
        return
    first, *rest = axes
    for value in values(trials, first):
        title = f"{name(first)} {show(first, value)}"
        for more, rows in panels(rows_where(trials, first, value), tuple(rest)):
            yield (f"{title}, {more}" if more else title), rows


def lines_along(trials: pd.DataFrame, axis: str) -> list[tuple[str, pd.DataFrame]]:
    """The trials of each combination of the other axes in which `axis` varies, with its title.

    Raises:
        ValueError: if the axis has other values than numbers.
    """
    groups = [name for name in layout(trials, "", axis).keys if name != axis and name in trials]
    placed = trials[trials[axis].notna()]
    if not all(isinstance(value, int | float) for value in placed[axis].tolist()):
        raise ValueError(f"{axis} must be a numeric axis, got {placed[axis].iloc[0]!r}")
    placed = placed.astype({axis: float})
    parts = panels(placed, tuple(groups))
    return [(title, part) for title, part in parts if part[axis].nunique() > 1]


def _same(found: Any, value: Any) -> bool:
    # pandas may hand None back as NaN, which equals nothing.
    return found is value or found == value or (value is None and found != found)


def _rank(matching: str) -> tuple[int, str]:
    alone, _ = divided(matching)
    return (MATCHINGS.index(alone) if alone in MATCHINGS else len(MATCHINGS), matching)


def _varies(trials: pd.DataFrame, axis: str) -> bool:
    return axis in trials and trials[axis].nunique(dropna=False) > 1


def _cells(trials: pd.DataFrame, axes: list[str]) -> int:
    return len(trials[[axis for axis in axes if axis in trials]].drop_duplicates())
