"""Do "LMC holds" and "LLFC holds" pick out the same trials?

LMC holds where a barrier is below a threshold, LLFC where its error is below another; no threshold
is given by nature, so tables go over several, and a ROC over all of LLFC's.

References:
    Frankle, Dziugaite, Roy & Carbin, Linear Mode Connectivity and the Lottery Ticket Hypothesis,
    ICML 2020. https://arxiv.org/abs/1912.05671: connected below 2 % of error.
    Cohen, A Coefficient of Agreement for Nominal Scales, Educational and Psychological Measurement
    20, 1960.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from sklearn.metrics import cohen_kappa_score, roc_auc_score, roc_curve

from analysis.runs.pairs import counted_once, of_all_seeds
from analysis.runs.schema import INSTABILITY, LLFC, STABLE
from analysis.statistics.coefficients import unlike
from analysis.statistics.comparators import comparators, difference
from analysis.statistics.correlations import with_note
from analysis.statistics.over_seeds import Floats, over_seeds
from analysis.statistics.summaries import with_weight_distance

LMC_THRESHOLDS = (0.01, STABLE, 0.05, 0.1)
LLFC_THRESHOLDS = (0.01, 0.02, 0.05, 0.1, 0.2)


def agreements(
    trials: pd.DataFrame,
    *,
    barrier: str = INSTABILITY,
    error: str = LLFC,
    lmc: Sequence[float] = LMC_THRESHOLDS,
    llfc: Sequence[float] = LLFC_THRESHOLDS,
) -> pd.DataFrame:
    """The 2×2 table of "LMC holds" and "LLFC holds" at each pair of thresholds.

    Args:
        trials: one row per trial.
        barrier: a column; LMC holds where it is below a threshold of `lmc`.
        error: a column; LLFC holds where it is below a threshold of `llfc`.
        lmc: thresholds, in the barrier's unit.
        llfc: thresholds, in the error's.

    Returns:
        One row per (lmc, llfc): the counts `both`, `lmc_only`, `llfc_only` and `neither`, of
        trials; `agree`, the share of trials in which both hold or neither, within a seed, over
        the cells of the grid that every seed has (see `analysis.runs.pairs.of_all_seeds`), and
        averaged over seeds, with its 95 % interval `low` and `high`, `p`, `seeds`, `note`; `kappa`,
        Cohen's, over all trials: how far the two agree beyond chance, 1 if always, 0 if by chance
        alone, NaN if each holds in all trials or in none.
    """
    used = measured(trials, barrier, error)
    alike, note = _measured_alike(trials, barrier, error, least=1)
    rows = []
    for most in lmc:
        for small in llfc:
            connected, linear = used[barrier] < most, used[error] < small
            same = (alike[barrier] < most) == (alike[error] < small)
            agree = same.astype(float).groupby(alike["seed"]).mean()
            counts = {
                "both": int((connected & linear).sum()),
                "lmc_only": int((connected & ~linear).sum()),
                "llfc_only": int((~connected & linear).sum()),
                "neither": int((~connected & ~linear).sum()),
            }
            found = with_note(over_seeds(agree.tolist(), possible=(0, 1)).columns("agree"), note)
            del found["p"]  # that they never agree is no question
            kappa = np.nan
            if connected.nunique() + linear.nunique() > 2:
                kappa = float(cohen_kappa_score(connected, linear))
            rows.append({"lmc": most, "llfc": small, **counts, **found, "kappa": kappa})
    return pd.DataFrame(rows)


def roc(
    trials: pd.DataFrame, *, barrier: str = INSTABILITY, error: str = LLFC, lmc: float = STABLE
) -> pd.DataFrame:
    """How well a small LLFC error tells where LMC holds, at every threshold.

    Returns:
        One row per threshold `llfc`, below which or at which LLFC is said to hold:
        `false_positives`, of the trials in which LMC does not hold, and `true_positives`, of those
        in which it does, the share in which LLFC does; empty if LMC holds in all trials or in none.

    Reference:
        Fawcett, An Introduction to ROC Analysis, Pattern Recognition Letters 27, 2006.
    """
    used = measured(trials, barrier, error)
    holds = used[barrier] < lmc
    if holds.nunique() < 2:
        return pd.DataFrame({"llfc": [], "false_positives": [], "true_positives": []})
    false, true, scores = roc_curve(holds, -used[error], drop_intermediate=False)
    return pd.DataFrame({"llfc": -scores, "false_positives": false, "true_positives": true})


def roc_area(
    trials: pd.DataFrame, *, barrier: str = INSTABILITY, error: str = LLFC, lmc: float = STABLE
) -> pd.DataFrame:
    """The area under the ROC: how often a connected trial has the smaller LLFC error.

    Of all two trials of a seed of which one is connected; 1/2 where the error says nothing. Over
    the cells of the grid that every seed has (see `analysis.runs.pairs.of_all_seeds`).

    Returns:
        One row per `predictor`, the error first and then what needs no blend (see
        `analysis.statistics.comparators`): `area`, averaged over the seeds in which LMC holds
        somewhere and not everywhere, with its 95 % interval `low` and `high` over those `seeds`,
        `p` that it is 1/2, and `note`; `difference`, the error's area less the predictor's on the
        same trials, seed by seed, with `difference_low`, `difference_high` and `difference_p`.

    Reference:
        Hanley & McNeil, The Meaning and Use of the Area under a Receiver Operating Characteristic
        (ROC) Curve, Radiology 143, 1982.
    """
    trials = with_weight_distance(trials)
    names = (error, *(name for name in comparators(trials, error) if name != error))
    _finite(trials, barrier, error)  # refuses what is no column
    rows = []
    for name in names:
        known = trials[np.isfinite(trials[name].to_numpy(dtype=float))]
        there, note = _measured_alike(known, barrier, error, least=2)
        own, other = (_areas(there, barrier, column, lmc) for column in (error, name))
        over_half = over_seeds(other - 0.5, possible=(-0.5, 0.5))
        ends = {end: getattr(over_half, end) + 0.5 for end in ("low", "high")}
        area = over_half.columns("area") | {"area": over_half.value + 0.5, **ends}
        area = with_note(area, note)
        rows.append({"predictor": name, **area, **difference(own, other, name == error)})
    return pd.DataFrame(rows)


def _areas(used: pd.DataFrame, barrier: str, error: str, lmc: float) -> Floats:
    """The area of each seed in which LMC holds somewhere and not everywhere."""
    return np.array(
        [
            roc_auc_score(rows[barrier] < lmc, -rows[error])
            for _, rows in used.groupby("seed")
            if (rows[barrier] < lmc).nunique() == 2
        ]
    )


def measured(trials: pd.DataFrame, *columns: str) -> pd.DataFrame:
    """The trials in which every one of `columns` is a number; repeats once.

    Raises:
        ValueError: if one is no column.
    """
    return counted_once(_finite(trials, *columns), *columns)


def _finite(trials: pd.DataFrame, *columns: str) -> pd.DataFrame:
    """The trials in which every one of `columns` is a number.

    Raises:
        ValueError: if one is no column.
    """
    for name in columns:
        if name not in trials:
            raise ValueError(f"trials must have a column {name!r}, but have none")
    kept: pd.DataFrame = trials[np.isfinite(trials[list(columns)].to_numpy(dtype=float)).all(1)]
    return kept


def _measured_alike(
    trials: pd.DataFrame, barrier: str, error: str, least: int
) -> tuple[pd.DataFrame, str]:
    """`measured`, over the cells of the grid that every seed has; a note if over all instead."""
    common = of_all_seeds(_finite(trials, barrier, error), least)
    return counted_once(common, barrier, error), unlike(common)
