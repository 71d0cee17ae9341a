"""Do barrier and LLFC error go together, for every barrier and every summary of layers?"""

import pandas as pd

from analysis.answers.answer import SCOPE
from analysis.answers.associations import associations
from analysis.answers.layer_correlations import layer_correlations
from analysis.answers.layer_prediction import layer_predictions
from analysis.answers.tables import differences, estimates
from analysis.figures.statistics import forest_figure, heat_figure
from analysis.page.sections.part import SEEDS, Findings, PageTable, Part, basis, groups
from analysis.runs.columns import heading, label, phrase, units
from analysis.runs.schema import BARRIER, LLFC
from analysis.statistics.coefficients import RANKS, usable
from llfc.results import BARRIERS

# The other definition of each, the height above the mean of the ends, is in the table of numbers.
CHORDS = tuple(name for name in BARRIERS if name.endswith("_chord"))


def association_section(findings: Findings) -> Part | None:
    """Every chord barrier with every LLFC summary, their p values corrected for their number."""
    trials = findings.trials
    barriers = [name for name in CHORDS if name in trials]
    numbers = associations(trials, barriers=barriers, methods=[RANKS])
    found, beside = numbers[numbers["beside"] == ""], numbers[numbers["beside"] != ""]
    title = "Every barrier with every summary of the layers"
    if found["within"].isna().all():
        return Part(key="associations", title=title, note=f"Left out: {found['note'].iloc[0]}.")
    rows = found.assign(
        panel=[f"barrier of the {name.split('_')[1]}" for name in found["barrier"]],
        series=[name.split("_")[0] for name in found["barrier"]],
        label=[label(name) for name in found["error"]],
        value=found["within"],
    )
    tables = [_associations_table(found)]
    if beside["error"].str.startswith("llfc_baseline_").any():
        tables.append(_differences(beside))
    return Part(
        key="associations",
        title=title,
        figure=forest_figure(rows, f"{RANKS}'s ρ within a seed", series="split"),
        caption=(
            f"{RANKS}'s ρ within a seed of each chord barrier (loss in {units(trials)['loss']},"
            f" error: {units(trials)['error']}; train and test) with each summary of the layers'"
            " LLFC errors at α = 1/2; a"
            f" ratio is an LLFC error divided by its baseline. {SEEDS} {basis(trials)}"
        ),
        tables=tables,
    )


def _associations_table(found: pd.DataFrame) -> PageTable:
    """The correlation of each LLFC summary with each barrier, with its interval and p value."""
    tests = int(found["tests"].iloc[0])
    corrected = (
        f"p is from the t test over seeds of ρ = 0, corrected for all {tests} tests of this table"
        " (Benjamini & Yekutieli 2001)."
        if tests
        else "There are too few seeds for intervals and tests."
    )
    told = found.assign(
        label=[label(name) for name in found["error"]],
        barrier=_short(found),
        cell=estimates(found, "within", "p_adjusted"),
    )
    return PageTable(
        key="associations",
        frame=_square(told, "label", "barrier", "cell").reset_index(names="LLFC summary"),
        caption=f"{RANKS}'s ρ within a seed with its 95 % interval, by chord barrier. {corrected}",
        numbers=found,
    )


def _differences(beside: pd.DataFrame) -> PageTable:
    """How much closer each LLFC summary goes with each barrier than its own baseline does."""
    baselines = beside[beside["error"].str.startswith("llfc_baseline_")]
    told = baselines.assign(
        label=[label(name) for name in baselines["beside"]],
        barrier=_short(baselines),
        cell=differences(baselines),
    )
    return PageTable(
        key="associations-beyond-baseline",
        frame=_square(told, "label", "barrier", "cell").reset_index(names="LLFC summary"),
        caption=f"The same {RANKS}'s ρ minus that of the barrier with the baseline, 1 − cos between"
        " the features of A and of B alone, summarised over the same layers: what the blend adds."
        " Differences are paired by seed, with 95 % intervals. The CSV file has the other"
        f" comparators too. {SCOPE}",
        numbers=beside,
    )


def _short(found: pd.DataFrame) -> list[str]:
    return [f"{split} {metric}" for split, metric, _ in found["barrier"].str.split("_")]


def depths_section(findings: Findings) -> Part | None:
    """The barrier with the LLFC error at each depth, over all trials and within groups."""
    runs, plan = findings.runs, findings.plan
    found = layer_correlations(runs, by=groups(runs.trials, plan), method=RANKS)
    if found["within"].isna().all():
        return None
    found = found.assign(depth=[_depth(depth) for depth in found["depth"]])
    told = found.assign(cell=estimates(found, "within"))
    less = found.assign(cell=differences(found))
    return Part(
        key="depths",
        title="Which layers go with the barrier",
        figure=heat_figure(
            _square(found, "group", "depth", "within"),
            "relative depth of the layer",
            "ρ within a seed",
        ),
        caption=(
            f"{RANKS}'s ρ within a seed of {phrase(BARRIER)} with the LLFC error (α = 1/2) at each"
            " relative depth, interpolated linearly between layers: the first layer after an"
            " activation is at 0, the last layer at 1, and pre-activations are left out; the mean"
            f" is over all layers but the last. {basis(runs.trials)}"
        ),
        tables=[
            PageTable(
                key="depths",
                frame=_square(told, "group", "depth", "cell").reset_index(),
                caption=f"The same with 95 % intervals. {SEEDS}",
                numbers=found,
            ),
            PageTable(
                key="depths-beyond-baseline",
                frame=_square(less, "group", "depth", "cell").reset_index(),
                caption=(
                    "The same ρ minus that of the baseline at the same depth, which needs no blend;"
                    f" differences are paired by seed, with 95 % intervals. {SCOPE}"
                ),
                numbers=found,
            ),
        ],
    )


def prediction_section(findings: Findings) -> Part | None:
    """How well each depth's LLFC error predicts held-out barriers."""
    runs = findings.runs
    used = usable(runs.trials, LLFC, BARRIER, RANKS)
    held = next((a for a in ("architecture", "seed") if used[a].nunique() > 1), None)
    title = "Which layer predicts the barrier best"
    if held is None:
        return None
    found = layer_predictions(runs, hold_out=held)
    if found["share"].isna().all():
        return None
    rows = found.assign(
        panel="", series="", label=[_depth(depth) for depth in found["depth"]], value=found["share"]
    )
    ordered = rows.sort_values("depth", kind="stable")
    best = rows.iloc[0]
    shown = pd.DataFrame(
        {
            "relative depth": rows["label"],
            "share predicted (95 % interval)": estimates(rows, "share"),
            "seeds": rows["seeds"],
        }
    )
    return Part(
        key="prediction",
        title=title,
        figure=forest_figure(ordered, f"share of the variance of {phrase(BARRIER)} predicted"),
        caption=(
            f"{heading(BARRIER, runs.trials)}, in ranks, predicted from the LLFC error at one"
            f" relative depth by a line fitted without the {held} on which it is tested"
            f" ({best['held_out']} held out in turn): 1 is perfect, 0 no better than the mean. Best"
            f" at {best['label']}. {SEEDS} {basis(runs.trials)}"
        ),
        tables=[
            PageTable(
                key="prediction",
                frame=shown,
                caption="Share of the variance that is predicted, best depth first.",
                numbers=found,
            )
        ],
    )


def _square(found: pd.DataFrame, rows: str, columns: str, value: str) -> pd.DataFrame:
    """The column `value` by two others, in the order in which these come."""
    wide = found.pivot(index=rows, columns=columns, values=value)
    wide.columns.name = None
    return wide.reindex(index=found[rows].unique(), columns=found[columns].unique())


def _depth(depth: str) -> str:
    return "mean" if depth == "mean" else f"{float(depth):g}"
