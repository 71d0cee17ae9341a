"""A sweep: a question and the grid that answers it, as plain data that loads at once."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

SPAWN = ("spawn_epoch", "spawn_step")


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """A question, and the grid that answers it; `sweeps.grid.grid` makes its trials.

    Attributes:
        name: also the name of its MLflow experiment, its report and its notebook.
        question: what it asks, in one line, and what else a reader should know of the grid.
        x: the axis that the question is about; the report's figures have it as x axis.
        axes: values by axis; an axis that is not named has its value in
            `sweeps.grid.grid.DEFAULTS`, or that of the recipe if it is one of
            `sweeps.grid.grid.RECIPE_AXES`.
        measuring: how each trial measures where that is not a trial's own default, by names of
            `sweeps.grid.grid.MEASURING`.
    """

    name: str
    question: str
    x: str
    axes: Mapping[str, Sequence[Any]]
    measuring: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def replace(self, axes: Mapping[str, Sequence[Any]]) -> "Sweep":
        """This sweep with the values of `axes` in place of its own.

        Spawn epochs and spawn steps are one axis in two units: numbers of either take the other's
        place.
        """
        own, x = dict(self.axes), self.x
        for unit, other in (SPAWN, SPAWN[::-1]):
            if has_number(axes.get(unit)) and other not in axes:
                own.pop(other, None)
                x = unit if x == other else x
        return dataclasses.replace(self, axes={**own, **axes}, x=x)


def has_number(values: Sequence[Any] | None) -> bool:
    """Whether an axis has other values than None."""
    return any(value is not None for value in values or ())
