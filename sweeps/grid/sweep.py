"""A sweep: a question and the grid that answers it, as plain data that loads at once."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


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
        """This sweep with the values of `axes` in place of its own."""
        return dataclasses.replace(self, axes={**self.axes, **axes})
