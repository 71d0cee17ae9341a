"""Do barrier and LLFC error go together beyond common causes, and in other families?"""

import math
from collections.abc import Sequence

import pandas as pd

from analysis.answers.answer import SCOPE
from analysis.answers.explanation import explanations
from analysis.answers.tables import differences, estimate, estimates, filled_columns
from analysis.figures.statistics import forest_figure
from analysis.page.sections.part import SEEDS, Findings, PageTable, Part, basis
from analysis.runs.columns import heading, label, phrase
from analysis.runs.grid import family_axes, family_names
from analysis.runs.schema import BARRIER, BASELINE, INSTABILITY, LLFC, STABLE
from analysis.statistics.coefficients import RANKS, usable
from analysis.statistics.partial import measured_covariates, partial_correlations
from analysis.statistics.predictions.threshold import thresholds
from analysis.statistics.predictions.transfer import LEAST_FAMILIES, transfers

LOWEST = -1  # of a share that is drawn: how much worse than the mean a prediction is says little


def explanation_section(findings: Findings) -> Part | None:
    """Partial correlation, and prediction of unseen seeds, over all trials and in each family."""
    trials = findings.trials
    given = measured_covariates(trials)
    partial = partial_correlations(trials, LLFC, BARRIER, given=given)
    by = [family_axes(trials)] if family_names(trials).nunique() > 1 else []
    more = explanations(trials, by=by)
    whole = more[more["group"] == "all"] if len(more) else more
    rows = pd.concat([_partial_rows(partial), _gain_rows(whole)])
    if rows["value"].isna().all():
        return None
    tables = [_partial_table(partial, given)]
    if len(more):
        tables.append(_gain_table(more))
    return Part(
        key="explanation",
        title="Beyond common causes",
        figure=forest_figure(rows, "no unit; see the tables"),
        caption=(
            f"First, Spearman's ρ of {phrase(BARRIER)} with {phrase(LLFC)} within a seed, without"
            " and with covariates controlled for; then the gain in the share of variance that is"
            " predicted in held-out seeds: 'A, beyond B' is what A adds to B, 'A, from B' what B"
            " explains of A. Rows that name a condition, or say 'from', predict the LLFC error, the"
            " others the barrier."
            f" {SEEDS} {basis(trials)}"
        ),
        tables=tables,
    )


def transfer_section(findings: Findings) -> Part | None:
    """How well each family's barriers are predicted by a line fitted to the other families."""
    trials = findings.trials
    if family_names(usable(trials, LLFC, BARRIER, RANKS)).nunique() < LEAST_FAMILIES:
        return None
    found = transfers(trials)
    if found["share"].isna().all():
        return None
    drawn = found[found["predictor"].isin([LLFC, BASELINE])]
    rows = drawn.assign(
        panel="share of the variance, in ranks",
        series=[label(name) for name in drawn["predictor"]],
        label=drawn["held_out"],
        value=drawn["share"],
    )
    ends = ["value", "low", "high"]
    rows[ends] = rows[ends].clip(lower=LOWEST)
    return Part(
        key="transfer",
        title="Prediction of a held-out family",
        figure=forest_figure(rows, "share of the variance predicted", series="predicted from"),
        caption=(
            f"{heading(BARRIER, trials)} of one family of networks, predicted by a line that was"
            " fitted to the other families, in their ranks: 1 is perfect, 0 no better than its own"
            f" mean, negative worse; what is below {LOWEST} is drawn there. An architecture with"
            " several norms is held out whole and, below it, norm by norm. The families themselves"
            " are the sample here, and they are few: 95 % intervals are for new seeds of the"
            " held-out family, not for a further family."
            f" {basis(trials)}"
        ),
        tables=[_transfer_table(found), *_threshold_table(trials)],
    )


def _threshold_table(trials: pd.DataFrame) -> list[PageTable]:
    if INSTABILITY not in trials:
        return []
    measured = usable(trials, LLFC, INSTABILITY, RANKS)
    if family_names(measured).nunique() < LEAST_FAMILIES:
        return []
    found = thresholds(trials)
    if found["threshold"].isna().all():
        return []
    shown = {
        "held out": found["held_out"],
        "connected, by": [label(name) for name in found["predictor"]],
        "threshold": [estimate(value) for value in found["threshold"]],
        "sensitivity": [estimate(value) for value in found["sensitivity"]],
        "specificity": [estimate(value) for value in found["specificity"]],
        "balanced accuracy": estimates(found, "right"),
        "LLFC minus it": differences(found),
        "connected": found["connected"],
        "trials": found["trials"],
        "note": found["note"],
    }
    caption = (
        f"Up to which number pairs are said to be connected (a mean barrier of the test error below"
        f" {STABLE:g}): the threshold with the largest sum of sensitivity and specificity in the"
        " other families, each weighing the same, judged on the family held out; 0.5 is chance. A"
        " family without connected pairs, or without others, has no balanced accuracy. Intervals of"
        " the mean are over families."
    )
    return [
        PageTable(key="thresholds", frame=filled_columns(shown), caption=caption, numbers=found)
    ]


def _transfer_table(found: pd.DataFrame) -> PageTable:
    in_nats = found.rename(columns={"low": "l", "high": "h"}).rename(
        columns={"value_low": "low", "value_high": "high"}
    )
    shown = {
        "held out": found["held_out"],
        "predicted from": [label(name) for name in found["predictor"]],
        "share, in ranks": estimates(found, "share"),
        "share, in its unit": estimates(in_nats, "share_value"),
        "trials": found["trials"],
        "note": found["note"],
    }
    caption = (
        "Share of the variance predicted, of the barrier's ranks and of the barrier itself: the"
        " order of barriers may transfer even where their sizes do not."
    )
    return PageTable(key="transfer", frame=filled_columns(shown), caption=caption, numbers=found)


def _partial_table(partial: pd.DataFrame, given: Sequence[str]) -> PageTable:
    shown = {
        "method": partial["method"],
        "without covariates": [estimate(value) for value in partial["raw"]],
        "controlling for them": estimates(partial, "within"),
        "p": [estimate(p) for p in partial["p"]],
        "trials": partial["trials"],
        "seeds": partial["seeds"],
        "note": partial["note"],
    }
    caption = (
        "Correlation of barrier and LLFC error within a seed, without covariates and"
        f" controlling for {', '.join(_spaced(name) for name in given)}. {SCOPE}"
    )
    return PageTable(key="partial", frame=filled_columns(shown), caption=caption, numbers=partial)


def _gain_table(more: pd.DataFrame) -> PageTable:
    shown = {
        "group": more["group"] if more["group"].nunique() > 1 else "",
        "question": more["question"],
        "without": [estimate(value) for value in more["share_base"]],
        "with": [estimate(value) for value in more["share_both"]],
        "gain": estimates(more, "gain"),
        "trials": more["trials"],
        "seeds": more["seeds"],
        "note": more["note"],
    }
    caption = (
        "Share of the variance of a held-out seed, in ranks, that is predicted without and with"
        " the predictor in question, and the gain. Negative is worse than the mean. Weights are"
        " compared by their angle, with a separate line for each family, as their distance grows"
        f" with the size of the networks. {SCOPE}"
    )
    return PageTable(key="explanations", frame=filled_columns(shown), caption=caption, numbers=more)


def _partial_rows(partial: pd.DataFrame) -> pd.DataFrame:
    row = partial[partial["method"] == "Spearman"].iloc[0]
    nothing = {"low": math.nan, "high": math.nan}
    return _panel(
        "correlation",
        [
            {"label": "no covariates", "value": row["raw"], **nothing},
            {"label": "controlling for covariates", **_ends(row, "within")},
        ],
    )


def _gain_rows(more: pd.DataFrame) -> pd.DataFrame:
    found = [{"label": row["question"], **_ends(row, "gain")} for _, row in more.iterrows()]
    return _panel("gain for unseen seeds", found)


def _panel(panel: str, rows: list[dict[str, object]]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["label", "value", "low", "high"])
    return frame.assign(panel=panel, series="")


def _ends(row: "pd.Series[float]", value: str) -> dict[str, object]:
    return {"value": row[value], "low": row["low"], "high": row["high"]}


def _spaced(column: str) -> str:
    return label(column) if label(column) != column else column.replace("_", " ")
