"""A sweep: a question and the grid that answers it, as plain data that loads at once."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

SPAWN = ("spawn_epoch", "spawn_step")


@dataclass(frozen=True, kw_only=True)
class Search:
    """How the onset of stability is searched along a sweep's x, in place of a grid.

    Attributes:
        resolution: how closely the onset of each seed is bisected, in the unit of the axis; none
            for a 64th of the distance of its ends.
        threshold: mean barrier of the test error below which a pair counts as stable.
        recheck: how many further values are measured above the bracket of each seed once it is
            closed, in the middles of the widest gaps, to see whether pairs stay stable; where one
            does not, the bracket of its crossing is searched in turn.
    """

    resolution: float | None = None
    threshold: float = 0.02  # `analysis.runs.schema.STABLE`, without what that loads
    recheck: int = 3

    def __post_init__(self) -> None:
        if self.resolution is not None and not (
            math.isfinite(self.resolution) and self.resolution > 0
        ):
            raise ValueError(f"resolution must be a positive number, got {self.resolution}")
        if not 0 < self.threshold < 1:
            raise ValueError(f"threshold must be in (0, 1), got {self.threshold}")
        if self.recheck < 0:
            raise ValueError(f"recheck must be at least 0, got {self.recheck}")


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
        search: how the onset along x is searched between its two values; None for a grid.
    """

    name: str
    question: str
    x: str
    axes: Mapping[str, Sequence[Any]]
    measuring: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    search: Search | None = None

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

    def along(self, x: str) -> "Sweep":
        """This search along another axis, without the ends that it has on its own."""
        axes = {name: values for name, values in self.axes.items() if name != self.x or x == name}
        return dataclasses.replace(self, x=x, axes=axes)


def has_number(values: Sequence[Any] | None) -> bool:
    """Whether an axis has other values than None."""
    return any(value is not None for value in values or ())
