"""How much closer the barrier is associated with the LLFC error than with simpler predictors.

A correlation of the barrier with the LLFC error is informative only as far as it exceeds that with
quantities that need no blended network: the distance between the features of A and of B, between
their weights, or the two factors of commutativity. Both coefficients are computed on the same
trials of the same seed, so their difference is paired by seed, which makes it far more precise.

Reference:
    Meng, Rosenthal & Rubin, Comparing Correlated Correlation Coefficients, Psychological Bulletin
    111, 1992: why the difference is one of paired, not of independent coefficients.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from analysis.runs.grid import FAMILY
from analysis.runs.schema import BASELINE, DIST_COM, DIST_H, WEIGHTS
from analysis.statistics.coefficients import (
    RANKS,
    USUAL,
    Counted,
    columns_of,
    correlation,
    counted,
    counted_for,
    usable,
)
from analysis.statistics.correlations import (
    averaged_over_seeds,
    groups_by,
    own_correlations,
    with_note,
)
from analysis.statistics.over_seeds import Floats, over_seeds, seeds_needed
from analysis.statistics.partial import partial_correlations
from analysis.statistics.summaries import with_weight_distance

# What is known of two networks without any network between them; all are distances.
COMPARATORS: Sequence[str] = (
    BASELINE,
    WEIGHTS,
    DIST_H,
    DIST_COM,
)


def comparators(trials: pd.DataFrame, error: str) -> tuple[str, ...]:
    """The columns with which the LLFC summary `error` is compared, as far as `trials` has them.

    The baseline is summarised over layers in the same way as the error.
    """
    own = error.replace("_error_", "_baseline_").replace("_ratio_", "_baseline_")
    names = (own if own in trials else BASELINE, *COMPARATORS[1:])
    return tuple(name for name in names if name in trials and trials[name].notna().any())


def comparisons(
    trials: pd.DataFrame,
    x: str,
    y: str,
    *,
    by: Sequence[str | tuple[str, ...]] = (),
    methods: Sequence[str] = USUAL,
) -> pd.DataFrame:
    """The correlation of `y` with `x` and with each of its comparators, on the same trials.

    Args:
        trials: one row per trial; the distance of the weights is made of their cosine.
        x: an LLFC summary.
        y: a barrier.
        by: axes, as for `correlations`.
        methods: names in METHODS of `analysis.statistics.coefficients`.

    Returns:
        One row per (group, method, predictor), `x` first: `value`, over all trials; `within`,
        `low`, `high`, `p`, `seeds`, `note` and `uneven`, within a seed, as in `correlations`;
        `difference`, the coefficient of `x` less that of the predictor, averaged over seeds, with
        its 95 % interval over seeds `difference_low` and `difference_high`, `difference_p` that it
        is zero, `difference_seeds_needed` to tell it from zero (`seeds_needed`), and
        `difference_note`, both coefficients being over the same trials, of cells that every seed
        has; `trials`, those that have all three columns, and `pairs`.

    Raises:
        ValueError: if one of `by` is no column.
    """
    trials = with_weight_distance(trials)
    names = (x, *(name for name in comparators(trials, x) if name != x))
    rows = []
    for group, part in groups_by(trials, by):
        for method, found in counted_for(part, x, y, methods):
            own = own_correlations(found.alike, x, y, method)
            for name in names:
                there = usable(found.trials, name, y, method)
                both, beside = found, own
                if there is not found.trials:
                    both = counted(there, x, y)
                    beside = own_correlations(both.alike, x, y, method)
                about = {"group": group, "method": method, "predictor": name}
                rows.append(about | _row(both, beside, name, x, y, method))
    return pd.DataFrame(rows)


def over_families(trials: pd.DataFrame, x: str, y: str, *, method: str = RANKS) -> pd.DataFrame:
    """What holds over families: the mean of the families' own numbers, not of their trials.

    A family is a combination of architecture, norm, activation and data set. Each counts once,
    however many trials it has, as it is their number from which one concludes on others.

    Returns:
        One row per predictor of `comparisons`: `families`, how many have a coefficient; `within`,
        their mean, with its 95 % Student's t interval over families `low` and `high`; `difference`,
        that of `x` less the predictor's, with `difference_low`, `difference_high` and
        `difference_p`; `more`, `less` and `open`, the number of families whose own interval over
        seeds is above 0, below it, or neither; `note`, why there is no interval.
    """
    axes = tuple(name for name in FAMILY if name in trials)
    found = comparisons(trials, x, y, by=[axes], methods=[method]).query("group != 'all'")
    rows = []
    for name, families in found.groupby("predictor", sort=False):
        within = over_seeds(families["within"].to_numpy(dtype=float), possible=(-1, 1))
        apart = over_seeds(families["difference"].to_numpy(dtype=float), possible=(-2, 2))
        more = int((families["difference_low"] > 0).sum())
        less = int((families["difference_high"] < 0).sum())
        rows.append(
            {
                "predictor": name,
                "families": within.seeds,
                "within": within.value,
                "low": within.low,
                "high": within.high,
                "difference": apart.value,
                "difference_low": apart.low,
                "difference_high": apart.high,
                "difference_p": apart.p,
                "more": more,
                "less": less,
                "open": apart.seeds - more - less,
                "note": within.note and f"no interval over {within.seeds}",
            }
        )
    return pd.DataFrame(rows)


def given_each_other(
    trials: pd.DataFrame, x: str, y: str, *, method: str = "Spearman"
) -> pd.DataFrame:
    """Partial correlations of `y` with `x` given each comparator, and with it given `x`.

    Returns:
        Two rows per comparator, `predictor` x and `given` the comparator, and the reverse: `raw`,
        the correlation without it, `within`, the partial one, and the other columns of
        `analysis.statistics.partial.partial_correlations`.
    """
    trials = with_weight_distance(trials)
    ways = [way for name in comparators(trials, x) if name != x for way in ((x, name), (name, x))]
    rows = [
        partial_correlations(trials, one, y, given=[other], methods=[method]).assign(predictor=one)
        for one, other in ways
    ]
    if not rows:
        return pd.DataFrame(columns=["predictor", "given", "raw", "within", "low", "high", "note"])
    found = pd.concat(rows, ignore_index=True).drop(columns=["x", "y"])
    return found[["predictor", *(name for name in found if name != "predictor")]]


def _row(found: Counted, own: Floats, name: str, x: str, y: str, method: str) -> dict[str, Any]:
    """One row of `comparisons`, over trials that have all three: x, y, the predictor `name`.

    `own` are each seed's coefficients of x with y.
    """
    other = own if x == name else own_correlations(found.alike, name, y, method)
    within = averaged_over_seeds(other, found.alike, name, y, method).columns("within")
    return {
        "value": correlation(columns_of(found.used, name, y), method),
        **with_note(within, found.note),
        **difference(own, other, x == name),
        "uneven": found.uneven,
        "trials": len(found.used),
        "pairs": found.pairs,
    }


def difference(own: Floats, other: Floats, same: bool = False) -> dict[str, Any]:
    """The mean difference of two coefficients, paired by seed; NaN if both are the `same`."""
    apart = np.empty(0) if same else own - other
    found = over_seeds(apart, possible=(-2, 2)).columns("difference")
    del found["seeds"]
    found |= {"note": "" if same else found["note"], "seeds_needed": seeds_needed(apart)}
    return {name if name == "difference" else f"difference_{name}": v for name, v in found.items()}
