"""At which depth of the networks does the LLFC error go with the barrier?"""

from collections.abc import Sequence

import pandas as pd

from analysis.runs.frames import Runs
from analysis.runs.schema import BARRIER, WEIGHT_COS
from analysis.statistics.comparators import COMPARATORS, comparisons
from analysis.statistics.correlations import correlations
from analysis.statistics.summaries import at_depths

# What is at one depth, and what is not.
ERROR, BASELINE = "llfc_error_there", "llfc_baseline_there"
OTHERS = (*COMPARATORS, WEIGHT_COS)


def layer_correlations(
    runs: Runs,
    barrier: str = BARRIER,
    *,
    by: Sequence[str | tuple[str, ...]] = (),
    method: str = "Spearman",
) -> pd.DataFrame:
    """The correlation of the barrier with the LLFC error at each relative depth.

    Args:
        runs: what was found.
        barrier: a column of its trials.
        by: axes, as for `correlations`.
        method: a name in METHODS of `analysis.statistics.coefficients`.

    Returns:
        One row per (group, depth), the depths those of `at_depths` and `mean` for the mean over
        layers: the columns of `correlations`; `baseline`, the coefficient within a seed of the
        baseline at this depth, and `difference`, `difference_low`, ... of the LLFC error's minus
        it, as in `analysis.statistics.comparators`.

    Raises:
        ValueError: if there is no such barrier, or one of `by` is no column.
    """
    if barrier not in runs.trials:
        raise ValueError(f"barrier must be a column of the trials, got {barrier!r}")
    errors, baselines = (
        at_depths(runs, column=column).reindex(runs.trials["run_id"]).reset_index(drop=True)
        for column in ("cos_error", "baseline")
    )
    kept = [name for name in runs.trials if name not in OTHERS]
    # `drop` would leave a frame of one block a column, of which pandas warns at each that is added.
    trials = runs.trials[kept].reset_index(drop=True)
    found = [
        _at_depth(
            trials.assign(**{ERROR: errors[depth], BASELINE: baselines[depth]}), barrier, by, method
        ).assign(depth=depth)
        for depth in map(str, errors)
    ]
    frame = pd.concat(found, ignore_index=True)
    first = ["group", "depth"]
    return frame[first + [name for name in frame if name not in first]]


def _at_depth(
    trials: pd.DataFrame, barrier: str, by: Sequence[str | tuple[str, ...]], method: str
) -> pd.DataFrame:
    """The columns of `correlations` at one depth, beside those of its baseline."""
    own = correlations(trials, ERROR, barrier, by=by, methods=[method])
    compared = comparisons(trials, ERROR, barrier, by=by, methods=[method])
    beside = compared[compared["predictor"] == BASELINE].rename(columns={"within": "baseline"})
    columns = ["baseline", *(name for name in map(str, beside) if name.startswith("difference"))]
    return own.merge(beside[["group", *columns]], on="group", how="left")
