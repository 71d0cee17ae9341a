"""Every frame of the study under a name, for the shell and the notebooks."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
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
from analysis.statistics.comparators import comparisons, given_each_other, over_families
from analysis.statistics.correlations import correlations
from analysis.statistics.partial import partial_correlations
from analysis.statistics.powers import powers
from analysis.statistics.predictions.conformal import bounds
from analysis.statistics.predictions.threshold import thresholds
from analysis.statistics.predictions.transfer import transfers
from analysis.statistics.summaries import with_summaries
from llfc.names import lookup
from llfc.results import TABLES


@dataclass(frozen=True, kw_only=True)
class TableOptions:
    """What a frame may be asked for; each frame takes those that it has a use for.

    Attributes:
        x: an axis, of onsets and powers; by default the sweep's own.
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
        make: makes it of runs, whose trials have their summaries, and options.
        takes: the fields of TableOptions that it has a use for; to give it another is an error.
        in_full: whether plug-ins keep the names that say which code and content they are.
    """

    make: Callable[[Runs, TableOptions], pd.DataFrame]
    takes: tuple[str, ...] = ()
    in_full: bool = False


def _correlations(runs: Runs, options: TableOptions) -> pd.DataFrame:
    return correlations(
        runs.trials,
        options.error,
        options.barrier or BARRIER,
        by=[_axes(name) for name in options.by],
        methods=tuple(METHODS),
        permutations=options.permutations,
    )


def _associations(runs: Runs, options: TableOptions) -> pd.DataFrame:
    by = [_axes(name) for name in options.by]
    return associations(runs.trials, by=by, permutations=options.permutations)


def _comparisons(runs: Runs, options: TableOptions) -> pd.DataFrame:
    by, barrier = [_axes(name) for name in options.by], options.barrier or BARRIER
    return comparisons(runs.trials, options.error, barrier, by=by, methods=USUAL)


def _families(runs: Runs, options: TableOptions) -> pd.DataFrame:
    return over_families(runs.trials, options.error, options.barrier or BARRIER)


def _given_each_other(runs: Runs, options: TableOptions) -> pd.DataFrame:
    return given_each_other(runs.trials, options.error, options.barrier or BARRIER)


def _cells(runs: Runs, options: TableOptions) -> pd.DataFrame:
    return within_cells(runs.trials, options.error, options.barrier or BARRIER)


def _partial(runs: Runs, options: TableOptions) -> pd.DataFrame:
    barrier = options.barrier or BARRIER
    return partial_correlations(runs.trials, options.error, barrier, given=options.given)


def _explanations(runs: Runs, options: TableOptions) -> pd.DataFrame:
    return explanations(runs.trials, by=[_axes(name) for name in options.by])


def _transfers(runs: Runs, options: TableOptions) -> pd.DataFrame:
    return transfers(runs.trials, options.error, options.barrier or BARRIER)


def _bounds(runs: Runs, options: TableOptions) -> pd.DataFrame:
    return bounds(runs.trials, options.error, options.barrier or BARRIER)


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


def _powers(runs: Runs, options: TableOptions) -> pd.DataFrame:
    return powers(runs.trials, options.x or runs.sweep, options.barrier or BARRIER)


def _agreements(runs: Runs, options: TableOptions) -> pd.DataFrame:
    barrier = options.barrier or INSTABILITY
    return agreements(runs.trials, barrier=barrier, error=options.error)


def _receiver(
    measure: Callable[..., pd.DataFrame], runs: Runs, options: TableOptions
) -> pd.DataFrame:
    return measure(
        runs.trials,
        barrier=options.barrier or INSTABILITY,
        error=options.error,
        lmc=options.threshold,
    )


def _table(name: str, runs: Runs, options: TableOptions) -> pd.DataFrame:
    del options
    return runs.table(name)


EXPORTS: Mapping[str, Export] = {
    "trials": Export(lambda runs, _: runs.trials),
    "every": Export(lambda runs, _: runs.every),
    "unfinished": Export(lambda runs, _: runs.unfinished),
    "status": Export(lambda runs, _: runs.status()),
    "layers": Export(lambda runs, _: runs.layers),
    "curves": Export(lambda runs, _: runs.curves),
    "correlations": Export(_correlations, ("by", "barrier", "error", "permutations")),
    "associations": Export(_associations, ("by", "permutations")),
    "comparisons": Export(_comparisons, ("by", "barrier", "error")),
    "families": Export(_families, ("barrier", "error")),
    "given-each-other": Export(_given_each_other, ("barrier", "error")),
    "cells": Export(_cells, ("barrier", "error")),
    "partial": Export(_partial, ("barrier", "error", "given")),
    "explanations": Export(_explanations, ("by",)),
    "transfers": Export(_transfers, ("barrier", "error")),
    "bounds": Export(_bounds, ("barrier", "error")),
    "layer-correlations": Export(_layer_correlations, ("by", "barrier")),
    "layer-predictions": Export(_layers, ("barrier", "hold_out")),
    "reference": Export(lambda runs, _: references(runs.trials), in_full=True),
    "matched": Export(_matched, ("x", "barrier")),
    "powers": Export(_powers, ("x", "barrier")),
    "onsets": Export(_onsets, ("x", "barrier", "threshold")),
    "agreements": Export(_agreements, ("barrier", "error")),
    "roc": Export(partial(_receiver, roc), ("barrier", "error", "threshold")),
    "roc-area": Export(partial(_receiver, roc_area), ("barrier", "error", "threshold")),
    "thresholds": Export(partial(_receiver, thresholds), ("barrier", "error", "threshold")),
    **{name: Export(partial(_table, name)) for name in TABLES},
}
# What each is, in a line.
SAID: Mapping[str, str] = {
    "trials": "every parameter and scalar of each finished trial",
    "every": "the same of all trials, with their status",
    "unfinished": "trials without a finished run, and why",
    "status": "how many trials each sweep has in each status",
    "layers": "LLFC error and baseline of each layer at each position",
    "curves": "loss and error at each position on the line",
    "correlations": "the barrier with the LLFC error, within seeds",
    "associations": "the barrier with every summary, side by side",
    "comparisons": "LLFC error's correlation less that of what needs no blend",
    "families": "the mean of that over families, each counted once",
    "given-each-other": "either's partial correlation, given the other",
    "cells": "the same within cells of the grid, and between them",
    "partial": "the same, given covariates",
    "explanations": "how much of the barrier's ranks sets of summaries explain",
    "transfers": "a family's barrier from a line fitted to the other families",
    "bounds": "below which the barrier is where the LLFC error is small",
    "layer-correlations": "the barrier with each layer's LLFC error",
    "layer-predictions": "the barrier from all layers' errors, on what was held out",
    "reference": "the numbers of each cell, to compare new seeds with",
    "matched": "what each matching takes off the barrier",
    "powers": "as which power of an axis, such as width, the barrier goes, in each seed",
    "onsets": "from where on an axis pairs are stable, in each seed",
    "agreements": "how often LMC and LLFC hold together, by threshold",
    "roc": "how well a small LLFC error tells where LMC holds, by threshold",
    "roc-area": "the same in a number",
    "thresholds": "up to which LLFC error LMC holds, judged on a family it was not chosen on",
    "logits": "what the test loss above its chord is made of",
    "training": "loss and error by epoch of both networks",
    "ensemble": "loss, error and calibration of A, B, midpoint and ensemble",
    "random_direction": "the loss at random points as far from an end as the midpoint",
    "additivity": "whether activations are additive, by layer",
    "commutativity": "whether layers commute, by layer",
    "raw_commutativity": "the same without norms folded in",
    "norms": "whether norms commute with the blend, by layer",
    "similarity": "CKA and variance of the midpoint's features, by layer",
    "stitching": "the loss of one network's first layers before the other's last",
    "layer_barriers": "the barrier if one layer alone is blended",
    "samples": "LLFC error of single images, by layer",
    "histogram": "how many images have which LLFC error, by layer",
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
    if runs.trials.size:  # what can be asked for by name is there for every table
        runs = replace(runs, trials=with_summaries(runs))
        for column in (options.barrier, options.error):
            if column is not None:
                lookup(
                    "column", column, dict.fromkeys(map(str, runs.trials.select_dtypes("number")))
                )
    return found.make(runs if found.in_full else with_readable_names(runs), options)


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
