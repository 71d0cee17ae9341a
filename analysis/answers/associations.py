"""The study's table: each barrier with each LLFC summary, and how many of them are chance.

So many correlations are looked at together that some would be far from zero by chance alone. Their
p values are corrected for it by Benjamini & Yekutieli's procedure, which bounds the expected share
of chance among those called significant, whatever the dependence between them; and these depend on
one another closely, as they share trials, barriers and layers.

Nor is a correlation worth much alone: beside each stand those of the barrier with what is known of
the two ends without any blend, and how much closer the LLFC summary is.

Reference:
    Benjamini & Yekutieli, The Control of the False Discovery Rate in Multiple Testing under
    Dependency, Annals of Statistics 29, 2001.
"""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from statsmodels.stats.multitest import multipletests

from analysis.statistics.coefficients import METHODS, USUAL
from analysis.statistics.comparators import comparisons
from analysis.statistics.correlations import correlations
from analysis.statistics.over_seeds import LEAST_SEEDS, LEVEL, Floats
from analysis.statistics.summaries import SUMMARIES
from llfc.results import BARRIERS

CORRECTION = "fdr_by"  # Benjamini & Yekutieli, as statsmodels calls it


def associations(
    trials: pd.DataFrame,
    *,
    errors: Sequence[str] = SUMMARIES,
    barriers: Sequence[str] = BARRIERS,
    by: Sequence[str | tuple[str, ...]] = (),
    methods: Sequence[str] = USUAL,
    permutations: int = 0,
    seed: int = 0,
) -> pd.DataFrame:
    """The correlation of every barrier with every LLFC summary and with what needs no blend.

    Args:
        trials: one row per trial, as `with_summaries` gives them.
        errors: columns; those that `trials` lacks, as an old store may, are left out.
        barriers: columns, likewise.
        by: axes, as for `correlations`.
        methods: names in METHODS of `analysis.statistics.coefficients`.
        permutations: how many to draw for `p_permuted`; 0 for none.
        seed: of the permutations.

    Returns:
        One row per (barrier, error, group, method), where `beside` is empty: the columns of
        `correlations`; `p_adjusted` and `p_permuted_adjusted`, corrected over all these rows that
        have one; `tests`, how many those are for `p_adjusted`. Behind it a row for each comparator
        of that error, with its column as `error` and `beside` the summary that it is compared with:
        the columns of `analysis.statistics.comparators.comparisons`, and `difference_p_adjusted`,
        corrected over all `difference_tests` differences.

    Raises:
        ValueError: if there is no such column.
    """
    pairs = [(b, e) for b in barriers for e in errors if b in trials and e in trials]
    if not pairs:
        raise ValueError(
            "trials must have columns of a barrier and of an LLFC summary, but lack one of them"
        )
    own = pd.concat(
        correlations(
            trials, error, barrier, by=by, methods=methods, permutations=permutations, seed=seed
        ).assign(barrier=barrier, error=error, beside="", place=place)
        for place, (barrier, error) in enumerate(pairs)
    )
    others = pd.concat(
        comparisons(trials, error, barrier, by=by, methods=methods)
        .query("predictor != @error")
        .rename(columns={"predictor": "error"})
        .assign(barrier=barrier, beside=error, place=place)
        for place, (barrier, error) in enumerate(pairs)
    )
    own = _corrected(own)
    found = pd.concat([own, _corrected_differences(others).assign(tests=own["tests"].iloc[0])])
    found = found.sort_values("place", kind="stable", ignore_index=True)
    first = ["barrier", "error", "beside", "group", "method"]
    return found[[*first, *found.columns.difference([*first, "place"], sort=False)]]


def _corrected(found: pd.DataFrame) -> pd.DataFrame:
    """The rows of `correlations`, with their p values corrected for their number."""
    # Seeds that agree to the last digit have no t test, but a correlation that was looked at.
    looked = (found["within"].notna() & (found["seeds"] >= LEAST_SEEDS)).to_numpy()
    signed = np.array([METHODS[method].signed for method in found["method"]])
    return found.assign(
        p_adjusted=adjusted(found["p"].to_numpy(dtype=float), looked & signed),
        p_permuted_adjusted=adjusted(found["p_permuted"].to_numpy(dtype=float)),
        tests=int((found["p"].notna() | (looked & signed)).sum()),
    )


def _corrected_differences(found: pd.DataFrame) -> pd.DataFrame:
    """The rows of `comparisons`, with the p values of their differences corrected likewise."""
    p = found["difference_p"].to_numpy(dtype=float)
    looked = (found["difference"].notna() & (found["seeds"] >= LEAST_SEEDS)).to_numpy()
    return found.assign(
        difference_p_adjusted=adjusted(p, looked),
        difference_tests=int((found["difference_p"].notna() | looked).sum()),
    )


def adjusted(p: Floats, looked: NDArray[np.bool_] | None = None) -> Floats:
    """The p values corrected for their number; NaN stays NaN.

    Args:
        p: NaN where there is none.
        looked: where there was a test all the same, so that it counts, as if its p were 1.
    """
    known = ~np.isnan(p)
    tests = known if looked is None else known | looked
    found = np.full(len(p), math.nan)
    if tests.any():
        filled = np.where(known, p, 1.0)
        found[tests] = multipletests(filled[tests], alpha=1 - LEVEL, method=CORRECTION)[1]
    return np.where(known, found, math.nan)
