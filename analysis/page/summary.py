"""One sweep's answer for the terminal: the same numbers as the page's, fewer of them."""

from textwrap import fill

import pandas as pd

from analysis.answers import answer, tables
from analysis.answers.searched import sweep_answer
from analysis.answers.tables import LAYER_CAPTION, OVER_SEEDS
from analysis.page.provenance import nothing, warnings
from analysis.page.sections.part import find
from analysis.runs.columns import heading, label
from analysis.runs.frames import Runs, with_readable_names
from analysis.runs.grid import name
from analysis.runs.schema import BARRIER, LLFC
from analysis.statistics.comparators import comparisons

# More layers than this, and other measures of correlation, are left to the page.
SCREEN = 24
ON_SCREEN = ("Spearman", "Pearson")


def summary_text(runs: Runs, x: str | None = None) -> str:
    """What a sweep says, for a terminal of 100 columns.

    Args:
        runs: the sweep's trials; any number, none included.
        x: the axis that the question is about; by default the one the sweep is named after.
    """
    runs = with_readable_names(runs)
    if runs.trials.empty:
        return "\n".join([nothing(runs), *warnings(runs)])
    findings = find(runs, x)
    trials, plan, found = runs.trials, findings.plan, findings.found
    keys, families = len(plan.panels) + 1, len(tables.layer_keys(plan))
    layers = tables.layer_table(trials, runs.layers, plan)
    blocks = [
        *(fill(said, tables.TERMINAL) for said in (sweep_answer(runs, plan),) if said),
        fill(answer.opening(trials, found), tables.TERMINAL),
        fill(answer.answer(trials, found), tables.TERMINAL),
        _block(
            f"{heading(BARRIER, trials)}, {OVER_SEEDS}",
            tables.cell_table(trials, BARRIER, plan),
            keys,
        ),
        _block(f"{heading(LLFC)}, {OVER_SEEDS}", tables.cell_table(trials, LLFC, plan), keys),
    ]
    if 0 < len(layers) <= SCREEN:
        blocks.append(_block(f"{LAYER_CAPTION}, {name(plan.series)} by column", layers, families))
    shown = found[found["method"].isin(ON_SCREEN)]
    blocks.append(
        _block(f"{heading(BARRIER, trials)} with {label(LLFC)}", tables.correlation_table(shown), 2)
    )
    compared = comparisons(findings.trials, LLFC, BARRIER, methods=ON_SCREEN[:1])
    if len(compared) > 1:
        beside = "beside what needs no blend, within a seed; differences are paired by seed"
        table = tables.comparison_table(compared)
        blocks.append(_block(f"{heading(BARRIER, trials)} with {label(LLFC)}, {beside}", table, 1))
    return "\n\n".join([*blocks, *warnings(runs)])


def _block(title: str, frame: pd.DataFrame, keys: int) -> str:
    return f"{fill(title, tables.TERMINAL)}\n\n{tables.to_text(frame, keys)}"
