"""Below which LLFC error are pairs connected, and is it the same number in another family?

A threshold that is chosen and judged on the same trials is flattered by them. So it is chosen on
all families of networks but one, and judged on that one.

References:
    Youden, Index for Rating Diagnostic Tests, Cancer 3, 1950: the threshold that is chosen.
    Frankle, Dziugaite, Roy & Carbin, Linear Mode Connectivity and the Lottery Ticket Hypothesis,
    ICML 2020. https://arxiv.org/abs/1912.05671: connected below 2 % of error.
"""

import math

import numpy as np
import pandas as pd
from sklearn.metrics import roc_curve

from analysis.runs.grid import family_names
from analysis.runs.pairs import counted_once
from analysis.runs.schema import INSTABILITY, LLFC, STABLE
from analysis.statistics.comparators import comparators
from analysis.statistics.over_seeds import over_seeds
from analysis.statistics.predictions.transfer import LEAST_FAMILIES
from analysis.statistics.summaries import with_weight_distance

OVER = "mean over families"


def thresholds(
    trials: pd.DataFrame,
    *,
    barrier: str = INSTABILITY,
    error: str = LLFC,
    lmc: float = STABLE,
) -> pd.DataFrame:
    """How well a threshold of LLFC tells connected pairs from others in a family it has not seen.

    Args:
        trials: one row per trial.
        barrier: a column; a pair is connected where it is below `lmc`.
        error: an LLFC summary; each of its comparators is judged beside it, on the same trials.
        lmc: in the barrier's unit.

    Returns:
        One row per (held_out, predictor), a family each, and last the mean over families:
        `threshold`, up to which a pair is said to be connected, where sensitivity and specificity
        have the largest sum among the trials of the other families, each family weighing the same;
        `sensitivity`, the share of the family's connected pairs that is said to be connected;
        `specificity`, the share of the others that is not; `right`, their mean, the balanced
        accuracy: 1 is perfect, 1/2 chance; each NaN where the family has no such pairs; `connected`
        and `trials`, the numbers of pairs and of all; `difference`, the error's `right` less the
        predictor's. Of the mean, over the `families` that have both kinds of pairs, `low`, `high`,
        `difference_low` and `difference_high` are 95 % Student's t intervals over these families,
        and `note` says why there are none.

        Where, without the family held out, no pair is connected or every one is, there is no
        threshold: it and what follows from it are NaN. A comparator that only some trials have is
        judged on these, and left out if they are of a single family.

    Raises:
        ValueError: if there are fewer than two families.
    """
    trials = with_weight_distance(trials)
    names = (error, *(name for name in comparators(trials, error) if name != error))
    found = []
    for name in names:
        there = np.isfinite(trials[[barrier, error, name]].to_numpy(dtype=float)).all(axis=1)
        used = counted_once(trials[there], barrier, error, name)
        count = family_names(used).nunique()
        if count < LEAST_FAMILIES and name == error:
            raise ValueError(
                f"families of networks to hold out must be at least {LEAST_FAMILIES}, got {count}"
            )
        if count < LEAST_FAMILIES:
            continue
        own, other = (_judged(used, column, used[barrier] < lmc) for column in (error, name))
        found.append(_with_mean(other.assign(predictor=name), own["right"] - other["right"]))
    rows = pd.concat(found, ignore_index=True)
    places = {each: place for place, each in enumerate(rows["held_out"].drop_duplicates())}
    places[OVER] = len(places)
    rows = rows.sort_values(
        "held_out", key=lambda column: column.map(places), kind="stable", ignore_index=True
    )
    return rows[["held_out", "predictor", *rows.columns.drop(["held_out", "predictor"])]]


def _judged(used: pd.DataFrame, column: str, holds: "pd.Series[bool]") -> pd.DataFrame:
    """A row per family, judged by the threshold of `column` that the other families give."""
    names, rows = family_names(used), []
    for family in sorted(set(names)):
        out = names == family
        most = _chosen(used[column][~out], holds[~out], names[~out])
        numbers, true = used[column][out], holds[out]
        said = (numbers <= most).astype(float) if not math.isnan(most) else numbers * most
        shares = [said[true].mean(), 1 - said[~true].mean()]
        rows.append(
            {
                "held_out": family,
                "threshold": most,
                "sensitivity": shares[0],
                "specificity": shares[1],
                "right": sum(shares) / 2,
                "connected": int(true.sum()),
                "trials": len(true),
            }
        )
    return pd.DataFrame(rows)


def _chosen(
    numbers: "pd.Series[float]", holds: "pd.Series[bool]", names: "pd.Series[str]"
) -> float:
    """The number up to which most is told right, every family having the same weight; or NaN."""
    if holds.nunique() < 2:
        return math.nan
    weights = 1 / names.groupby(names).transform("size")
    false, true, scores = roc_curve(holds, -numbers, sample_weight=weights)
    return float(-scores[np.argmax(true - false)])


def _with_mean(rows: pd.DataFrame, apart: "pd.Series[float]") -> pd.DataFrame:
    """`rows` of one predictor, with `difference` to it, and a last row for their mean."""
    right = over_seeds(rows["right"].to_numpy(dtype=float), possible=(0, 1))
    less = over_seeds(apart.tolist(), possible=(-1, 1))
    mean = {
        "held_out": OVER,
        "predictor": rows["predictor"].iloc[0],
        "right": right.value,
        "low": right.low,
        "high": right.high,
        "difference": less.value,
        "difference_low": less.low,
        "difference_high": less.high,
        "connected": rows["connected"].sum(),
        "trials": rows["trials"].sum(),
        "families": right.seeds,
        "note": right.note and f"no interval over {right.seeds}",
    }
    return pd.concat([rows.assign(difference=apart, note=""), pd.DataFrame([mean])])
