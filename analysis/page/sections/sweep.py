"""What a sweep shows before any statistics: barriers, the scatter, and LLFC errors by layer."""

from analysis.answers import answer, tables
from analysis.figures import sweep as sweep_figures
from analysis.figures.marks import hint
from analysis.page.sections.part import Findings, PageTable, Part
from analysis.runs.columns import decimals, heading, label
from analysis.runs.grid import name
from analysis.runs.schema import BARRIER, LLFC
from llfc.names import counted


def barrier_section(findings: Findings) -> Part:
    """The barrier against the sweep's own axis."""
    trials, plan = findings.runs.trials, findings.plan
    return Part(
        key="barrier",
        narrow=True,
        title=f"Barrier against {name(plan.x)}",
        figure=sweep_figures.barrier_figure(trials, BARRIER, plan),
        caption=(
            f"{heading(BARRIER, trials)} against {name(plan.x)}, by {name(plan.series)}. Solid"
            f" markers are means over seeds; a faint point is one trial.{hint(trials)}"
        ),
        tables=[
            PageTable(
                key="barrier",
                frame=tables.cell_table(trials, BARRIER, plan),
                caption=f"{heading(BARRIER, trials)}, {tables.OVER_SEEDS}.",
                numbers=tables.across(trials, BARRIER, plan),
            )
        ],
    )


def scatter_section(findings: Findings) -> Part:
    """Barrier against LLFC error, one point per trial."""
    trials, series = findings.runs.trials, findings.plan.series
    row = answer.headline(findings.found)
    title = (
        f"Spearman's ρ {decimals(row['value'])}, {counted(row['trials'], 'trial')},"
        f" {counted(row['seeds'], 'seed')}"
    )
    caption = (
        f"Each point is one trial: {label(BARRIER, trials)} against {label(LLFC)}, at α = 1/2."
    )
    return Part(
        key="scatter",
        narrow=True,
        title="Barrier against LLFC error",
        figure=sweep_figures.scatter_figure(trials, LLFC, BARRIER, series, title),
        caption=caption + hint(trials),
        alt=f"{caption} {title}.",
        tables=[
            PageTable(
                key="correlations",
                frame=tables.correlation_table(findings.found),
                caption=(
                    "Correlation, over all trials and within groups, with 95 % intervals over"
                    f" seeds. {answer.SCOPE}"
                ),
                numbers=findings.found,
            )
        ],
    )


def layers_section(findings: Findings) -> Part:
    """LLFC error by layer, beside its baseline."""
    runs, plan = findings.runs, findings.plan
    return Part(
        key="layers",
        narrow=True,
        title="LLFC error by layer",
        figure=sweep_figures.profile_figure(runs.trials, runs.layers, plan),
        caption=(
            "LLFC error at α = 1/2 by layer (solid), averaged over the trials of a series, with a"
            " band of one standard deviation, and its baseline (dashed)."
        ),
        tables=[
            PageTable(
                key="layers",
                frame=tables.layer_table(runs.trials, runs.layers, plan),
                caption=f"{tables.LAYER_CAPTION}.",
                numbers=tables.layer_means(runs.trials, runs.layers, plan),
            )
        ],
    )
