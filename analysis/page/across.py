"""One page over several sweeps: the answer over all their trials, by sweep and by family."""

from collections.abc import Sequence

import pandas as pd

from analysis.answers import answer
from analysis.answers.tables import differences, estimate, estimates, filled_columns
from analysis.figures.statistics import forest_figure
from analysis.page.provenance import nothing
from analysis.page.report import Page
from analysis.page.sections.part import SEEDS, Findings, PageTable, Part, basis
from analysis.page.sections.registry import SECTIONS_ACROSS, sections_of
from analysis.runs.columns import phrase
from analysis.runs.frames import Runs, with_readable_names
from analysis.runs.grid import FAMILY, GridLayout, family_axes, name, values
from analysis.runs.newest import join_runs
from analysis.runs.schema import BARRIER, BASELINE, LLFC
from analysis.statistics.coefficients import RANKS
from analysis.statistics.comparators import comparisons
from analysis.statistics.correlations import correlations

FURTHER = ("dataset", "matching")


def page_across(sweeps: Sequence[Runs], called: str = "all") -> Page:
    """The page over `sweeps`; a trial of several counts once, in the sweep that ran it last.

    Args:
        sweeps: what was read of each; one at least.
        called: what to call them together.
    """
    runs = with_readable_names(join_runs(sweeps, called))
    sweeps = list(map(with_readable_names, sweeps))
    title = f"{len(sweeps)} sweeps: LMC barrier and LLFC error"
    if runs.trials.empty:
        return Page(title=title, answer=nothing(runs), runs=runs)
    varying = [axis for axis in (*FAMILY, "matching") if len(values(runs.trials, axis)) > 1]
    series = varying[0] if varying else "matching"
    found = correlations(runs.trials, LLFC, BARRIER, by=_axes(runs.trials))
    findings = Findings(
        runs=runs, plan=GridLayout(x="width", series=series, panels=()), found=found
    )
    return Page(
        title=title,
        answer=f"Over {', '.join(name(each.sweep) for each in sweeps)}: "
        + answer.answer(runs.trials, found),
        opening=answer.opening(runs.trials, found),
        runs=runs,
        parts=[by_sweep(sweeps, findings), *sections_of(findings, SECTIONS_ACROSS)],
    )


def by_sweep(sweeps: Sequence[Runs], findings: Findings) -> Part:
    """How closely barrier and LLFC error go together in each sweep, and in each family."""
    of_all = findings.found[findings.found["method"] == RANKS]
    panels = ["all" if group == "all" else f"by {group.split()[0]}" for group in of_all["group"]]
    by = _axes(findings.runs.trials)
    rows_of = [_with_baseline(of_all.assign(panel=panels), findings.runs.trials, by)]
    for runs in sweeps:
        if not runs.trials.empty:
            alone = correlations(runs.trials, LLFC, BARRIER, methods=[RANKS])
            one = _with_baseline(alone.assign(panel="by sweep"), runs.trials)
            rows_of.append(one.assign(group=name(runs.sweep)))
    found = pd.concat(rows_of, ignore_index=True)
    rows = found.assign(series="", label=found["group"], value=found["within"])
    trials, drawn = findings.runs.trials, None
    if rows["value"].notna().any():
        drawn = forest_figure(rows, f"{RANKS}'s ρ within a seed", same=True)
    return Part(
        key="sweeps",
        title="In every sweep and every family",
        figure=drawn,
        caption=(
            f"{RANKS}'s ρ within a seed of {phrase(BARRIER)} with {phrase(LLFC)}: over all trials,"
            f" by family, and in each sweep by itself. {SEEDS} {basis(trials)}"
        ),
        tables=[_sweeps_table(found)],
    )


def _sweeps_table(found: pd.DataFrame) -> PageTable:
    shown = {
        "of": found["panel"],
        "which": found["group"],
        "within a seed": estimates(found, "within"),
        "baseline's": [estimate(value) for value in found["baseline"]],
        "LLFC minus it": differences(found),
        "trials": found["trials"],
        "pairs": found["pairs"],
        "seeds": found["seeds"],
        "note": found["note"],
    }
    caption = (
        f"{RANKS}'s ρ within a seed, with its 95 % interval over seeds, and how much larger it is"
        f" than that of the baseline, which needs no blend. {answer.SCOPE} A trial that several"
        " sweeps share is in the row of each, and counts once in the other rows."
    )
    return PageTable(key="sweeps", frame=filled_columns(shown), caption=caption, numbers=found)


def _axes(trials: pd.DataFrame) -> list[str | tuple[str, ...]]:
    """The axes within whose values correlations are given: families, and those of FURTHER."""
    axes = [family_axes(trials), *FURTHER]
    return [axis for axis in axes if isinstance(axis, tuple) or len(values(trials, axis)) > 1]


def _with_baseline(
    found: pd.DataFrame, trials: pd.DataFrame, by: Sequence[str | tuple[str, ...]] = ()
) -> pd.DataFrame:
    """Rows of `correlations` beside the baseline's coefficient, and the paired difference."""
    compared = comparisons(trials, LLFC, BARRIER, by=by, methods=[RANKS])
    beside = compared[compared["predictor"] == BASELINE].rename(columns={"within": "baseline"})
    columns = ["baseline", "difference", "difference_low", "difference_high"]
    return found.merge(beside[["group", *columns]], on="group", how="left")
