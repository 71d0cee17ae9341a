"""What a section of the page is, and what it is made from."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import pandas as pd
from matplotlib.figure import Figure

from analysis.answers.answer import SCOPE, counts
from analysis.runs.frames import Runs
from analysis.runs.grid import GridLayout, family_axes, layout, values
from analysis.runs.schema import BARRIER, LLFC
from analysis.statistics.correlations import correlations
from analysis.statistics.summaries import with_summaries

# What an interval of the page is, for its caption.
SEEDS = f"95 % intervals over seeds (Student's t on the seeds' own estimates). {SCOPE}"


@dataclass(frozen=True, kw_only=True, eq=False)
class Findings:
    """What a section may draw on.

    Attributes:
        runs: what was read; one trial at least.
        plan: how the trials are laid out.
        found: the frame of `correlations`, of barrier and LLFC error.
    """

    runs: Runs
    plan: GridLayout
    found: pd.DataFrame

    @cached_property
    def trials(self) -> pd.DataFrame:
        """One row per trial, with every LLFC summary; see `with_summaries`."""
        return with_summaries(self.runs)


@dataclass(frozen=True, kw_only=True, eq=False)
class PageTable:
    """A table of a section.

    Attributes:
        key: a name that no other table of the page has.
        frame: text, to be read.
        caption: what its numbers are.
        numbers: the same for a program; by default `frame`.
    """

    key: str
    frame: pd.DataFrame
    caption: str
    numbers: pd.DataFrame | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Part:
    """A section of the page: a figure, tables, or why there is neither.

    Attributes:
        key: a name that no other section has; the ids in its figure begin with it.
        title: its heading.
        figure: what is drawn.
        caption: what is drawn there: definition, unit, what a point and an interval are.
        alt: what a reader who cannot see the figure is told; by default the caption.
        tables: its tables.
        note: a line that says what the sweep cannot show, and why.
        narrow: whether the figure reads well in one column of a paper too, if it is one panel.
    """

    key: str
    title: str
    figure: Figure | None = None
    caption: str = ""
    alt: str = ""
    tables: Sequence[PageTable] = ()
    note: str = ""
    narrow: bool = False

    @property
    def in_column(self) -> bool:
        """Whether the figure is also laid out for one column."""
        return self.narrow and self.figure is not None and len(self.figure.axes) == 1


def find(runs: Runs, x: str | None = None) -> Findings:
    """What `runs`, of at least one trial, say of barrier and LLFC error.

    Args:
        runs: what was read.
        x: the axis that the question is about; by default the one the sweep is named after.

    Raises:
        ValueError: if `x` is no axis.
    """
    trials, plan = runs.trials, layout(runs.trials, runs.sweep, x)
    found = correlations(trials, LLFC, BARRIER, by=groups(trials, plan))
    return Findings(runs=runs, plan=plan, found=found)


def groups(trials: pd.DataFrame, plan: GridLayout) -> list[str | tuple[str, ...]]:
    """The axes within whose values correlations are given as well: families are not pooled."""
    axes = dict.fromkeys([plan.series, "matching", family_axes(trials)])
    return [axis for axis in axes if isinstance(axis, tuple) or len(values(trials, axis)) > 1]


def basis(trials: pd.DataFrame) -> str:
    """The sentence of a caption that says what its numbers are based on."""
    once = "Trials with identical numbers count once."
    text = f"Over {counts(trials)}."
    return f"{text} {once}" if "distinct" in text else text


# None where the sweep has nothing to say.
Section = Callable[[Findings], Part | None]
