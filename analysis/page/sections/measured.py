"""What trials measured beyond the line, by layer: the conditions of LLFC, and stitching."""

from collections.abc import Mapping, Sequence

import pandas as pd

from analysis.answers.by_layer import measure_means
from analysis.answers.tables import layer_keys
from analysis.figures.measures import PAIR_LABELS
from analysis.figures.sweep import by_layer_figure
from analysis.page.sections.part import Findings, PageTable, Part, basis
from analysis.runs.columns import mean_sd, units
from analysis.runs.grid import name, rows_where, show, values

OVER_TRIALS = "Lines are means over trials, bands one standard deviation over trials."


def conditions_section(findings: Findings) -> Part | None:
    """Weak additivity of each activation and commutativity of each linear layer."""
    return _by_layer(
        findings,
        key="conditions",
        title="The conditions of LLFC, by layer",
        measures={
            "additivity": ("additivity", "dist", "weak additivity: Dist σ"),
            "commutativity": ("commutativity", "dist_com", "commutativity: Dist com"),
        },
        kind="pair",
        kinds=PAIR_LABELS,
        caption=(
            "The two conditions under which LLFC holds (Zhou et al. 2023), as relative distances;"
            " at 0 a condition holds. Weak additivity: how far the activation of the blended"
            " pre-activations is from the blend of the activations; commutativity: how much"
            " changes when the two networks' weights and features are exchanged. Solid: A and B;"
            " dashed: the controls, on different images and before matching."
        ),
    )


def stitching_section(findings: Findings) -> Part | None:
    """The error with one network's features in the other's remaining layers."""
    unit = units(findings.runs.trials)["error"]
    return _by_layer(
        findings,
        key="stitching",
        title="Stitching, by layer",
        measures={"stitching": ("stitching", "error", f"test error ({unit})")},
        kind="into",
        kinds={"b": "A's feature, B's rest", "a": "B's feature, A's rest"},
        caption=(
            "Test error of the network that has one network's layers up to a probe and the other's"
            " from there on, without any training. Solid: into B; dashed: into A."
        ),
    )


def _by_layer(
    findings: Findings,
    *,
    key: str,
    title: str,
    measures: Mapping[str, tuple[str, str, str]],
    kind: str,
    kinds: Mapping[str, str],
    caption: str,
) -> Part | None:
    """A section of what `measures` (table, column and heading, by key) found; None if nothing."""
    runs, plan = findings.runs, findings.plan
    means = {
        each: measure_means(runs, table, column, plan, kind=kind)
        for each, (table, column, _) in measures.items()
    }
    means = {each: frame for each, frame in means.items() if len(frame)}
    if not means:
        return None
    measured = set().union(*(runs.table(measures[each][0])["run_id"].unique() for each in means))
    trials = runs.trials[runs.trials["run_id"].isin(measured)]
    return Part(
        key=key,
        title=title,
        figure=by_layer_figure(
            {measures[each][2]: frame for each, frame in means.items()}, plan, list(kinds)
        ),
        caption=f"{caption} {OVER_TRIALS} {basis(trials)}",
        tables=[
            PageTable(
                key=each,
                frame=_shown(frame, layer_keys(plan), kinds),
                caption=f"{measures[each][2]}: mean ± standard deviation over trials.",
                numbers=frame,
            )
            for each, frame in means.items()
        ],
    )


def _shown(means: pd.DataFrame, keys: Sequence[str], kinds: Mapping[str, str]) -> pd.DataFrame:
    """The means as text: one row per layer and kind, one column per series."""
    *families, series = keys
    rows = []
    apart = [*families, "index", "layer", "kind"]
    for _, part in means.groupby(apart, sort=False, dropna=False):
        first = part.iloc[0]
        row = {name(family): show(family, first[family]) for family in families}
        row |= {"layer": first["layer"], "of": kinds.get(first["kind"], first["kind"])}
        for value in values(means, series):
            cell = rows_where(part, series, value)
            row[show(series, value)] = (
                mean_sd(cell["mean"].iloc[0], cell["sd"].iloc[0]) if len(cell) else "–"
            )
        rows.append(row)
    return pd.DataFrame(rows)
