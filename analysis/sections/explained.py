"""Do barrier and LLFC error go together beyond what both owe to something else?"""

import math
from collections.abc import Sequence

import pandas as pd

from analysis.columns import BARRIER, LLFC, phrase
from analysis.explanation import explanations, mediation
from analysis.partial import GIVEN, partial_correlations
from analysis.sections.part import SEEDS, Findings, Part, Table, basis
from analysis.statistics_figures import forest_figure
from analysis.tables import estimate, estimates, told

CAUSAL = (
    "A split into direct and indirect is causal only if nothing else moves both LLFC error and"
    " barrier, which a grid of trials cannot show: read it as a description."
)
NAMES = {
    "total": "weight distance on barrier",
    "indirect": "… through LLFC error",
    "direct": "… past LLFC error",
}


def explanation(findings: Findings) -> Part | None:
    """Partial correlation, mediation of the weight distance, and what unseen seeds tell."""
    trials = findings.trials
    given = [name for name in GIVEN if name in trials and trials[name].notna().any()]
    partial = partial_correlations(trials, LLFC, BARRIER, given=given)
    through, more = _mediation(trials), explanations(trials)
    rows = pd.concat([_partial_rows(partial), _mediation_rows(through), _gain_rows(more)])
    if rows["value"].isna().all():
        return None
    tables = [_partial_table(partial, given)]
    if len(through):
        tables.append(_mediation_table(through))
    if len(more):
        tables.append(_gain_table(more))
    return Part(
        key="explanation",
        title="Beyond what both owe to something else",
        figure=forest_figure(rows, "no unit; what each is, is in the tables"),
        caption=(
            f"First, Spearman's ρ of {phrase(BARRIER)} with {phrase(LLFC)} within a seed, without"
            " and with covariates held fixed; then the effect of the weight distance, split; then"
            f" the gain in the share of variance predicted. {CAUSAL} {SEEDS} {basis(trials)}"
        ),
        tables=tables,
    )


def _partial_table(partial: pd.DataFrame, given: Sequence[str]) -> Table:
    shown = {
        "method": partial["method"],
        "without covariates": [estimate(value) for value in partial["raw"]],
        "with them": estimates(partial, "within"),
        "p": [estimate(p) for p in partial["p"]],
        "seeds": partial["seeds"],
        "note": partial["note"],
    }
    caption = (
        "Correlation of barrier and LLFC error within a seed, without covariates and with"
        f" {', '.join(_spaced(name) for name in given)} held fixed."
    )
    return Table(key="partial", frame=told(shown), caption=caption, numbers=partial)


def _mediation_table(through: pd.DataFrame) -> Table:
    shown = {
        "effect": [NAMES[effect] for effect in through["effect"]],
        "value": estimates(through, "value"),
        "p": [estimate(p) for p in through["p"]],
        "seeds": through["seeds"],
        "note": through["note"],
    }
    caption = (
        "Standardised effect, in ranks, of the distance between the weights on the"
        f" barrier, architecture and width held fixed. {CAUSAL}"
    )
    return Table(key="mediation", frame=told(shown), caption=caption, numbers=through)


def _gain_table(more: pd.DataFrame) -> Table:
    shown = {
        "question": more["question"],
        "without": [estimate(value) for value in more["share_base"]],
        "with": [estimate(value) for value in more["share_both"]],
        "gain": estimates(more, "gain"),
        "seeds": more["seeds"],
        "note": more["note"],
    }
    caption = (
        "Share of the variance of a held-out seed that is predicted without and with"
        " what the question is about, and the gain. Negative is worse than the mean."
    )
    return Table(key="explanations", frame=told(shown), caption=caption, numbers=more)


def _mediation(trials: pd.DataFrame) -> pd.DataFrame:
    """The frame of `mediation`; empty if the weight distance was not measured."""
    if "weight_distance" not in trials or trials["weight_distance"].isna().all():
        return pd.DataFrame()
    return mediation(trials)


def _partial_rows(partial: pd.DataFrame) -> pd.DataFrame:
    row = partial[partial["method"] == "Spearman"].iloc[0]
    nothing = {"low": math.nan, "high": math.nan}
    return _panel(
        "correlation",
        [
            {"label": "no covariates", "value": row["raw"], **nothing},
            {"label": "covariates fixed", **_ends(row, "within")},
        ],
    )


def _mediation_rows(through: pd.DataFrame) -> pd.DataFrame:
    found = [
        {"label": NAMES[row["effect"]], **_ends(row, "value")} for _, row in through.iterrows()
    ]
    return _panel("mediation", found)


def _gain_rows(more: pd.DataFrame) -> pd.DataFrame:
    found = [{"label": row["question"], **_ends(row, "gain")} for _, row in more.iterrows()]
    return _panel("gain for unseen seeds", found)


def _panel(panel: str, rows: list[dict[str, object]]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["label", "value", "low", "high"])
    return frame.assign(panel=panel, series="")


def _ends(row: "pd.Series[float]", value: str) -> dict[str, object]:
    return {"value": row[value], "low": row["low"], "high": row["high"]}


def _spaced(column: str) -> str:
    return column.replace("_", " ")
