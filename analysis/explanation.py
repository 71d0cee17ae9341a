"""Does one thing explain another beyond a third: LLFC error, barrier, weight distance, conditions.

Two readings of the same question. `explanations` predicts seeds that the fit has not seen, and asks
how much better it predicts with the further columns. `mediation` splits the effect of the weight
distance on the barrier into what goes through the LLFC error and what goes past it; that is causal
only if nothing else moves both, which a grid of trials cannot show.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from scipy import stats

from analysis.columns import BARRIER, LLFC
from analysis.held_out import predict, ranks, shares
from analysis.over_seeds import Floats, over_seeds
from analysis.pairs import counted_once

# A question: what is predicted, from what, and from what more.
Question = tuple[str, Sequence[str], Sequence[str]]
# The conditions under which LLFC holds, as Dist_com and Dist_sigma averaged over layers.
COMMUTATIVITY, ADDITIVITY = "commutativity_dist_com_mean", "additivity_dist_mean"
QUESTIONS: Mapping[str, Question] = {
    "LLFC error, beyond weight distance": (BARRIER, ["weight_distance"], [LLFC]),
    "weight distance, beyond LLFC error": (BARRIER, [LLFC], ["weight_distance"]),
    "both conditions": (LLFC, [], [COMMUTATIVITY, ADDITIVITY]),
    "commutativity, beyond weak additivity": (LLFC, [ADDITIVITY], [COMMUTATIVITY]),
    "weak additivity, beyond commutativity": (LLFC, [COMMUTATIVITY], [ADDITIVITY]),
}


def explanations(
    trials: pd.DataFrame,
    questions: Mapping[str, Question] = QUESTIONS,
    given: Sequence[str] = (),
) -> pd.DataFrame:
    """How much more of the variance of unseen seeds further columns predict.

    Each seed in turn is held out, a line fitted to the others' trials, in ranks, with and without
    the further columns, and the share of the held-out seed's variance compared.

    Args:
        trials: a row a trial, as `with_summaries` gives them.
        questions: by name; those about a column that `trials` lacks are left out.
        given: columns that every fit has, such as "architecture".

    Returns:
        A row a question: `target`, `base`, `extra`; `share_base` and `share_both`, the shares
        predicted without and with `extra`, averaged over seeds; `gain`, their difference, with its
        95 % interval over seeds `low` and `high`, `p`, `seeds` and `note`; `trials`.

    Reference:
        Stone, Cross-Validatory Choice and Assessment of Statistical Predictions, Journal of the
        Royal Statistical Society B 36, 1974.
        Zhou, Yang, Yang, Yan & Hu, Going Beyond Linear Mode Connectivity: The Layerwise Linear
        Feature Connectivity, NeurIPS 2023: Theorem 1, that both conditions give LLFC.
    """
    rows: list[dict[str, object]] = []
    for name, (target, base, extra) in questions.items():
        used = _measured(trials, [target, *base, *extra, *given])
        if used["seed"].nunique() < 2:
            continue
        wanted = ranks(used, [target])[:, 0]
        found = [
            shares(wanted, predict(ranks(used, [*given, *columns]), wanted, seeds), seeds)
            for columns in (base, [*base, *extra])
            for seeds in [used["seed"].tolist()]
        ]
        about = {"question": name, "target": target, "base": ", ".join([*given, *base])}
        base_share, both_share = (over_seeds(each).value for each in found)
        means = {"share_base": base_share, "share_both": both_share}
        gain = over_seeds(found[1] - found[0]).columns("gain")
        rows.append({**about, "extra": ", ".join(extra), **means, **gain, "trials": len(used)})
    return pd.DataFrame(rows)


def mediation(
    trials: pd.DataFrame,
    *,
    cause: str = "weight_distance",
    mediator: str = LLFC,
    outcome: str = BARRIER,
    given: Sequence[str] = ("architecture", "width"),
) -> pd.DataFrame:
    """How much of the effect of `cause` on `outcome` goes through `mediator`.

    In each seed, in ranks scaled to variance 1, by least squares: `total` is the effect of the
    cause on the outcome; `direct` that with the mediator held fixed; `indirect` their difference,
    the effect of the cause on the mediator times that of the mediator on the outcome.

    Args:
        trials: a row a trial, as `with_summaries` gives them.
        cause: a column.
        mediator: a column.
        outcome: a column.
        given: columns held fixed throughout.

    Returns:
        A row an effect (total, direct, indirect): `value`, its 95 % interval over seeds `low` and
        `high`, `p`, `seeds`, `note`.

    Raises:
        ValueError: if a column is not there.

    References:
        Baron & Kenny, The Moderator-Mediator Variable Distinction in Social Psychological Research,
        Journal of Personality and Social Psychology 51, 1986.
        Imai, Keele & Tingley, A General Approach to Causal Mediation Analysis, Psychological
        Methods 15, 2010: for lines without interaction, both definitions agree.
    """
    missing = [name for name in (cause, mediator, outcome, *given) if name not in trials]
    if missing:
        raise ValueError(f"trials must have a column {missing[0]!r}, got none")
    used = _measured(trials, [cause, mediator, outcome])
    found = [
        _effects(rows, cause, mediator, outcome, given) for _, rows in used.groupby("seed")
    ] or [(np.nan, np.nan)]
    total, direct = np.array(found).T
    effects = {"total": total, "direct": direct, "indirect": total - direct}
    return pd.DataFrame(
        [{"effect": name, **over_seeds(each).columns()} for name, each in effects.items()]
    )


def _effects(
    rows: pd.DataFrame, cause: str, mediator: str, outcome: str, given: Sequence[str]
) -> tuple[float, float]:
    """The total and the direct effect in one seed; NaN if it has too few trials for the fit."""
    fixed = np.hstack([np.ones((len(rows), 1)), ranks(rows, given)])
    x, m, y = (_scaled(rows[name]) for name in (cause, mediator, outcome))
    if len(rows) < np.linalg.matrix_rank(fixed) + 4:
        return np.nan, np.nan
    total = np.linalg.lstsq(np.column_stack([x, fixed]), y)[0][0]
    direct = np.linalg.lstsq(np.column_stack([x, m, fixed]), y)[0][0]
    return float(total), float(direct)


def _scaled(column: "pd.Series[float]") -> Floats:
    placed: Floats = stats.rankdata(column)
    scaled: Floats = (placed - placed.mean()) / (placed.std() or 1.0)
    return scaled


def _measured(trials: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """The trials in which all `columns` are there and, if numbers, finite; repeats once."""
    if any(name not in trials for name in columns):
        return trials.iloc[:0]
    numbers = [name for name in columns if pd.api.types.is_numeric_dtype(trials[name])]
    finite = np.isfinite(trials[numbers].to_numpy(dtype=float)).all(axis=1)
    return counted_once(trials[finite], *numbers)
