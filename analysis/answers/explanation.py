"""How much better unseen seeds are predicted with one thing more: LLFC error, conditions, ...

A gain is over what the question names, and only that can be said of it. Weights are compared by
their angle, with a line of its own for each family of networks: their distance grows with the size
of the networks, so that over several sizes it predicts little, and anything gains much over it. And
what a condition of LLFC predicts has to be seen beside what the features of the two ends alone do.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from analysis.runs.grid import family_names
from analysis.runs.pairs import counted_once, of_all_seeds
from analysis.runs.schema import ADDITIVITY, BARRIER, BASELINE, DIST_COM, LLFC, WEIGHTS
from analysis.statistics.coefficients import unlike
from analysis.statistics.correlations import groups_by, with_note
from analysis.statistics.over_seeds import Floats, over_seeds
from analysis.statistics.predictions.held_out import predict, shares
from analysis.statistics.summaries import with_weight_distance

# A question: what is predicted, from what, and from what more.
Question = tuple[str, Sequence[str], Sequence[str]]
QUESTIONS: Mapping[str, Question] = {
    "LLFC error, beyond the baseline": (BARRIER, [BASELINE], [LLFC]),
    "baseline, beyond LLFC error": (BARRIER, [LLFC], [BASELINE]),
    "LLFC error, beyond family × weight cosine": (BARRIER, [f"family:{WEIGHTS}"], [LLFC]),
    "weight cosine, beyond LLFC error": (BARRIER, [LLFC], [WEIGHTS]),
    "LLFC error, from both conditions": (LLFC, [], [DIST_COM, ADDITIVITY]),
    "LLFC error, from the baseline": (LLFC, [], [BASELINE]),
    "both conditions, beyond the baseline": (LLFC, [BASELINE], [DIST_COM, ADDITIVITY]),
    "commutativity, beyond weak additivity": (LLFC, [ADDITIVITY], [DIST_COM]),
    "weak additivity, beyond commutativity": (LLFC, [DIST_COM], [ADDITIVITY]),
}


def explanations(
    trials: pd.DataFrame,
    questions: Mapping[str, Question] = QUESTIONS,
    given: Sequence[str] = (),
    by: Sequence[str | tuple[str, ...]] = (),
) -> pd.DataFrame:
    """How much more of the variance of unseen seeds further columns predict.

    Each seed in turn is held out, a line fitted to the others' trials, in their ranks, with and
    without the further columns, and the share of the held-out seed's variance compared. All
    over the cells of the grid that every seed has (see `analysis.runs.pairs.of_all_seeds`): a
    seed's variance is that of its own cells, and shares of unlike variances have no mean.

    Args:
        trials: one row per trial, as `with_summaries` gives them.
        questions: by name; those about a column that `trials` lacks are left out. A column may be
            `family`, the architecture with its norm, and two may be joined by ":", as for
            `analysis.statistics.predictions.held_out.design`.
        given: columns that every fit has, such as "architecture".
        by: axes, as for `analysis.statistics.correlations.correlations`: what is fitted over
            several families of networks may owe all to their differences.

    Returns:
        One row per (group, question): `target`, `base`, `extra`; `share_base` and `share_both`, the
        shares predicted without and with `extra`, averaged over seeds; `gain`, their difference,
        with its 95 % interval over seeds `low` and `high`, `p`, `seeds` and `note`; `trials`.

    References:
        Stone, Cross-Validatory Choice and Assessment of Statistical Predictions, Journal of the
        Royal Statistical Society B 36, 1974.
        Zhou, Yang, Yang, Yan & Hu, Going Beyond Linear Mode Connectivity: The Layerwise Linear
        Feature Connectivity, NeurIPS 2023: Theorem 1, that both conditions give LLFC.
    """
    trials = with_weight_distance(trials).assign(family=family_names(trials))
    rows = [
        {"group": group, "question": name, **found}
        for group, part in groups_by(trials, by)
        for name, question in questions.items()
        if (found := _explained(part, question, given))
    ]
    return pd.DataFrame(rows)


def _explained(
    trials: pd.DataFrame, question: Question, given: Sequence[str]
) -> dict[str, object] | None:
    """A row of `explanations`; None if a column is not there, or no seed can be held out."""
    target, base, extra = question
    used, note = _measured(trials, [target, *base, *extra, *given])
    if used["seed"].nunique() < 2:
        return None

    def predicted(columns: Sequence[str]) -> Floats:
        seeds = used["seed"].tolist()
        found = predict(used, columns, target, seeds)
        return shares(found["wanted"], found["predicted"], seeds)

    without, both = predicted([*given, *base]), predicted([*given, *base, *extra])
    return {
        "target": target,
        "base": ", ".join([*given, *base]),
        "extra": ", ".join(extra),
        "share_base": over_seeds(without).value,
        "share_both": over_seeds(both).value,
        **with_note(over_seeds(both - without).columns("gain"), note),
        "trials": len(used),
    }


def _measured(trials: pd.DataFrame, columns: Sequence[str]) -> tuple[pd.DataFrame, str]:
    """The trials in which all `columns` are there and, if numbers, finite; repeats once.

    Of cells of the grid that every seed has; a note if of all instead.
    """
    names = [part for column in columns for part in column.split(":")]
    if any(name not in trials for name in names):
        return trials.iloc[:0], ""
    numbers = [name for name in names if pd.api.types.is_numeric_dtype(trials[name])]
    finite = np.isfinite(trials[numbers].to_numpy(dtype=float)).all(axis=1)
    common = of_all_seeds(trials[finite], least=2)
    return counted_once(common, *numbers), unlike(common)
