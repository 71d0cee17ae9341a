"""Every frame of the study under a name, for the shell and the notebooks."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial

import pandas as pd

from analysis.answers.agreement import agreements, roc, roc_area
from analysis.answers.associations import associations
from analysis.answers.explanation import explanations
from analysis.answers.layer_correlations import layer_correlations
from analysis.answers.layer_prediction import layer_predictions
from analysis.answers.matched import taken_off
from analysis.answers.onset import onsets
from analysis.answers.searched import asked_of
from analysis.reference.numbers import references
from analysis.runs.frames import Runs, with_readable_names
from analysis.runs.grid import layout
from analysis.runs.schema import BARRIER, INSTABILITY, LLFC, STABLE
from analysis.statistics.cells import within_cells
from analysis.statistics.coefficients import METHODS, USUAL
from analysis.statistics.comparators import comparisons, given_each_other
from analysis.statistics.correlations import correlations
from analysis.statistics.partial import partial_correlations
from analysis.statistics.predictions.conformal import bounds
from analysis.statistics.predictions.transfer import transfers
from analysis.statistics.summaries import with_summaries
from llfc.names import lookup
from llfc.results import TABLES


@dataclass(frozen=True, kw_only=True)
class TableOptions:
    """What a frame may be asked for; each frame takes those that it has a use for.

    Attributes:
        x: an axis, of onsets; by default the sweep's own.
        by: axes; a group for each value, or for each combination of values that a "," joins.
        barrier: a column of the trials; None for the frame's usual one.
        error: a column, the LLFC summary.
        given: covariates of partial correlations; None for those of GIVEN that were measured.
        hold_out: the axis whose values are held out.
        threshold: below which LMC holds.
        permutations: how many to draw for permutation tests; 0 for none.
    """

    x: str | None = None
    by: tuple[str, ...] = ()
    barrier: str | None = None
    error: str = LLFC
    given: tuple[str, ...] | None = None
    hold_out: str = "architecture"
    threshold: float = STABLE
    permutations: int = 0


@dataclass(frozen=True)
class Export:
    """A frame that can be asked for.

    Attributes:
        make: makes it of runs and options.
        takes: the fields of TableOptions that it has a use for; to give it another is an error.
    """

    make: Callable[[Runs, TableOptions], pd.DataFrame]
    takes: tuple[str, ...] = ()


def _correlations(runs: Runs, options: TableOptions) -> pd.DataFrame:
    return correlations(
        with_summaries(runs),
        options.error,
        options.barrier or BARRIER,
        by=[_axes(name) for name in options.by],
        methods=tuple(METHODS),
        permutations=options.permutations,
    )


def _associations(runs: Runs, options: TableOptions) -> pd.DataFrame:
    by = [_axes(name) for name in options.by]
    return associations(with_summaries(runs), by=by, permutations=options.permutations)


def _comparisons(runs: Runs, options: TableOptions) -> pd.DataFrame:
    by, barrier = [_axes(name) for name in options.by], options.barrier or BARRIER
    return comparisons(with_summaries(runs), options.error, barrier, by=by, methods=USUAL)


def _given_each_other(runs: Runs, options: TableOptions) -> pd.DataFrame:
    return given_each_other(with_summaries(runs), options.error, options.barrier or BARRIER)


def _cells(runs: Runs, options: TableOptions) -> pd.DataFrame:
    return within_cells(with_summaries(runs), options.error, options.barrier or BARRIER)


def _partial(runs: Runs, options: TableOptions) -> pd.DataFrame:
    trials, barrier = with_summaries(runs), options.barrier or BARRIER
    return partial_correlations(trials, options.error, barrier, given=options.given)


def _explanations(runs: Runs, options: TableOptions) -> pd.DataFrame:
    return explanations(with_summaries(runs), by=[_axes(name) for name in options.by])


def _transfers(runs: Runs, options: TableOptions) -> pd.DataFrame:
    return transfers(with_summaries(runs), options.error, options.barrier or BARRIER)


def _bounds(runs: Runs, options: TableOptions) -> pd.DataFrame:
    return bounds(with_summaries(runs), options.error, options.barrier or BARRIER)


def _layers(runs: Runs, options: TableOptions) -> pd.DataFrame:
    return layer_predictions(runs, options.barrier or BARRIER, hold_out=options.hold_out)


def _layer_correlations(runs: Runs, options: TableOptions) -> pd.DataFrame:
    by = [_axes(name) for name in options.by]
    return layer_correlations(runs, options.barrier or BARRIER, by=by)


def _onsets(runs: Runs, options: TableOptions) -> pd.DataFrame:
    asked = asked_of(runs.trials)
    axis = options.x or (runs.sweep if asked is None else asked.axis)
    return onsets(
        runs.trials,
        axis,
        barrier=options.barrier or INSTABILITY,
        threshold=options.threshold,
        unfinished=runs.unfinished,
        searched=asked is not None and axis == asked.axis,
    )


def _matched(runs: Runs, options: TableOptions) -> pd.DataFrame:
    plan = layout(runs.trials, runs.sweep, options.x)
    return taken_off(runs.trials, plan, options.barrier or BARRIER)


def _agreements(runs: Runs, options: TableOptions) -> pd.DataFrame:
    barrier = options.barrier or INSTABILITY
    return agreements(with_summaries(runs), barrier=barrier, error=options.error)


def _roc(runs: Runs, options: TableOptions) -> pd.DataFrame:
    return _receiver(roc, runs, options)


def _roc_area(runs: Runs, options: TableOptions) -> pd.DataFrame:
    return _receiver(roc_area, runs, options)


def _receiver(
    measure: Callable[..., pd.DataFrame], runs: Runs, options: TableOptions
) -> pd.DataFrame:
    return measure(
        with_summaries(runs),
        barrier=options.barrier or INSTABILITY,
        error=options.error,
        lmc=options.threshold,
    )


def _table(name: str, runs: Runs, options: TableOptions) -> pd.DataFrame:
    del options
    return runs.table(name)


EXPORTS: Mapping[str, Export] = {
    "trials": Export(lambda runs, _: with_summaries(runs)),
    "every": Export(lambda runs, _: runs.every),
    "unfinished": Export(lambda runs, _: runs.unfinished),
    "status": Export(lambda runs, _: runs.status()),
    "layers": Export(lambda runs, _: runs.layers),
    "curves": Export(lambda runs, _: runs.curves),
    "correlations": Export(_correlations, ("by", "barrier", "error", "permutations")),
    "associations": Export(_associations, ("by", "permutations")),
    "comparisons": Export(_comparisons, ("by", "barrier", "error")),
    "given-each-other": Export(_given_each_other, ("barrier", "error")),
    "cells": Export(_cells, ("barrier", "error")),
    "partial": Export(_partial, ("barrier", "error", "given")),
    "explanations": Export(_explanations, ("by",)),
    "transfers": Export(_transfers, ("barrier", "error")),
    "bounds": Export(_bounds, ("barrier", "error")),
    "layer-correlations": Export(_layer_correlations, ("by", "barrier")),
    "layer-predictions": Export(_layers, ("barrier", "hold_out")),
    "reference": Export(lambda runs, _: references(runs.trials)),
    "matched": Export(_matched, ("x", "barrier")),
    "onsets": Export(_onsets, ("x", "barrier", "threshold")),
    "agreements": Export(_agreements, ("barrier", "error")),
    "roc": Export(_roc, ("barrier", "error", "threshold")),
    "roc-area": Export(_roc_area, ("barrier", "error", "threshold")),
    **{name: Export(partial(_table, name)) for name in TABLES},
}
# What needs no finished trial.
WITHOUT_TRIALS = ("every", "unfinished", "status")


def export(runs: Runs, name: str, options: TableOptions | None = None) -> pd.DataFrame:
    """The frame called `name`, as its function's docstring says.

    Raises:
        ValueError: if there is no such frame, no finished trial, or what it is asked for is wrong.
    """
    found = lookup("table", name, EXPORTS)
    options = options or TableOptions()
    if runs.trials.empty and name not in WITHOUT_TRIALS:
        raise ValueError(f"table {name} needs a finished trial, but {runs.sweep} has none")
    for column in (options.barrier, options.error):
        if column is not None and runs.trials.size:
            _check_column(runs, column)
    return found.make(with_readable_names(runs), options)


def check_options(name: str, given: Iterable[str]) -> None:
    """Refuse what the frame called `name` has no use for.

    Args:
        name: of a frame.
        given: fields of TableOptions.

    Raises:
        ValueError: if there is no such frame, or it has no use for one of them.
    """
    takes = lookup("table", name, EXPORTS).takes
    for field in given:
        if field not in takes:
            known = ", ".join(map(_flag, takes)) or "none of these options"
            raise ValueError(f"table {name} has no option {_flag(field)}: it has {known}")


def _flag(field: str) -> str:
    return f"--{field.replace('_', '-')}"


def _axes(names: str) -> str | tuple[str, ...]:
    parts = tuple(names.split(","))
    return parts if len(parts) > 1 else names


def _check_column(runs: Runs, column: str) -> None:
    numbers = with_summaries(runs).select_dtypes("number")
    lookup("column", column, dict.fromkeys(map(str, numbers)))
