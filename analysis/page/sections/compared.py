"""What the LLFC error adds to predictors that need no blend, and what remains within a cell."""

import pandas as pd

from analysis.answers.agreement import roc_area
from analysis.answers.answer import SCOPE
from analysis.answers.tables import differences, estimate, estimates, filled_columns
from analysis.figures.statistics import forest_figure
from analysis.page.sections.part import SEEDS, Findings, PageTable, Part, basis, groups
from analysis.runs.columns import label, phrase
from analysis.runs.schema import BARRIER, INSTABILITY, LLFC
from analysis.statistics.cells import LEVELS, within_cells
from analysis.statistics.coefficients import RANKS
from analysis.statistics.comparators import comparisons, given_each_other
from llfc.names import counted

COMPARATORS_TOLD = (
    "The baseline is 1 − cos between the features of A and of B, averaged as the LLFC error is;"
    " it, the angle between the weights and the two commutativity distances (Dist_H: between the"
    " inputs of a layer; Dist_com: between its outputs, with weights and inputs exchanged) need no"
    " network between A and B."
)


def comparison_section(findings: Findings) -> Part | None:
    """The barrier with the LLFC error and with each comparator, and the paired differences."""
    trials = findings.trials
    by = groups(findings.runs.trials, findings.plan)
    found = comparisons(trials, LLFC, BARRIER, by=by, methods=[RANKS])
    of_all = found[found["group"] == "all"]
    if of_all["within"].notna().sum() < 2:
        return None
    own = of_all.assign(panel="ρ within a seed", value=of_all["within"])
    less = of_all[of_all["predictor"] != LLFC].rename(
        columns={"low": "l", "high": "h", "difference_low": "low", "difference_high": "high"}
    )
    less = less.assign(panel="LLFC error's ρ minus its", value=less["difference"])
    rows = pd.concat([own, less])
    rows = rows.assign(series="", label=[label(name) for name in rows["predictor"]])
    return Part(
        key="comparison",
        title="What the LLFC error adds to what needs no blend",
        figure=forest_figure(rows, f"{RANKS}'s ρ, and differences of it"),
        caption=(
            f"{RANKS}'s ρ within a seed of {phrase(BARRIER)} with {phrase(LLFC)} and with what is"
            " known of the two ends alone; below, the differences, paired by seed."
            f" {COMPARATORS_TOLD} {SEEDS} {basis(trials)}"
        ),
        tables=[_comparison_table(found), *_both_ways(trials), *_areas(trials)],
    )


def _comparison_table(found: pd.DataFrame) -> PageTable:
    shown = {
        "group": found["group"],
        "the barrier with": [label(name) for name in found["predictor"]],
        "ρ within a seed": estimates(found, "within"),
        "LLFC minus it": differences(found),
        "trials": found["trials"],
        "seeds": found["seeds"],
        "note": found["note"],
    }
    caption = (
        f"{RANKS}'s ρ within a seed with its 95 % interval, and how much larger that of the LLFC"
        f" error is on the same trials, with the interval of this difference over seeds. {SCOPE}"
    )
    return PageTable(key="comparison", frame=filled_columns(shown), caption=caption, numbers=found)


def _both_ways(trials: pd.DataFrame) -> list[PageTable]:
    found = given_each_other(trials, LLFC, BARRIER)
    if not found["within"].notna().any():
        return []
    shown = {
        "the barrier with": [label(name) for name in found["predictor"]],
        "given": [label(name) for name in found["given"]],
        "ρ without": [estimate(value) for value in found["raw"]],
        "partial ρ": estimates(found, "within"),
        "seeds": found["seeds"],
        "note": found["note"],
    }
    caption = (
        f"Partial {RANKS}'s ρ within a seed: each predictor, controlling for the ranks of the"
        f" other, with 95 % intervals over seeds. {SCOPE}"
    )
    return [
        PageTable(
            key="given-each-other", frame=filled_columns(shown), caption=caption, numbers=found
        )
    ]


def _areas(trials: pd.DataFrame) -> list[PageTable]:
    if INSTABILITY not in trials:
        return []
    found = roc_area(trials)
    if found["area"].isna().all():
        return []
    shown = {
        "connected trials by": [label(name) for name in found["predictor"]],
        "area under the ROC": estimates(found, "area"),
        "LLFC minus it": differences(found),
        "seeds": found["seeds"],
        "note": found["note"],
    }
    caption = (
        "How often, of two trials of one seed of which only one is connected, the connected one has"
        f" the smaller number; 0.5 is chance. With 95 % intervals over seeds. {SCOPE}"
    )
    return [PageTable(key="roc-area", frame=filled_columns(shown), caption=caption, numbers=found)]


def cells_section(findings: Findings) -> Part | None:
    """How the barrier goes with the LLFC error within the cells of the grid, and between them."""
    trials = findings.trials
    found = within_cells(trials, LLFC, BARRIER)
    row = found.iloc[0]
    title = "Within the cells of the grid, and between them"
    if found["slope"].isna().all():
        return Part(key="cells", title=title, note=f"Left out: {row['note']}.")
    shown = {
        "where": found["place"],
        "log-log slope (95 % interval)": estimates(found, "slope"),
        "share of the rank covariance": [f"{100 * share:.0f} %" for share in found["share"]],
    }
    rows = found.assign(panel="", series="", label=found["place"], value=found["slope"])
    caption = (
        f"The exponent of the power law by which {phrase(BARRIER)} grows with {phrase(LLFC)}:"
        f" {LEVELS[0]}, where only the seed differs, and {LEVELS[1]}. One mixed model of the"
        " logarithms, with effects of the cell, of the seed within its family of networks and of"
        f" the pair; Wald's 95 % intervals, for these families. Over"
        f" {counted(row['trials'], 'trial')} of {counted(row['cells'], 'cell')} in which every"
        f" trial has positive numbers, and {counted(row['seeds'], 'seed')}; trials left out:"
        f" {row['left_out']} (a cell with a single barrier of 0 as a whole). The share is"
        f" of the covariance of the ranks of the {row['ranked']} trials in cells of two or more."
    )
    return Part(
        key="cells",
        title=title,
        figure=forest_figure(rows, "log-log slope"),
        caption=f"{caption} {basis(trials)}",
        tables=[
            PageTable(
                key="cells",
                frame=filled_columns(shown),
                caption="Slopes and shares of the covariance, within cells and between them.",
                numbers=found,
            )
        ],
    )
