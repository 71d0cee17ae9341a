"""At which depth of the networks does the LLFC error go with the barrier?"""

from collections.abc import Sequence

import pandas as pd

from analysis.columns import BARRIER
from analysis.correlations import correlations
from analysis.frames import Runs
from analysis.summaries import at_depths


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
        method: a name in METHODS of `analysis.correlations`.

    Returns:
        A row a (group, depth), the depths those of `at_depths` and `mean` for the mean over layers:
        the columns of `correlations`.

    Raises:
        ValueError: if there is no such barrier, or one of `by` is no column.
    """
    if barrier not in runs.trials:
        raise ValueError(f"barrier must be a column of the trials, got {barrier!r}")
    profiles = at_depths(runs).reindex(runs.trials["run_id"]).reset_index(drop=True)
    trials = runs.trials.reset_index(drop=True)
    found = [
        correlations(
            trials.assign(error_there=profiles[depth]),
            "error_there",
            barrier,
            by=by,
            methods=[method],
        ).assign(depth=depth)
        for depth in map(str, profiles)
    ]
    frame = pd.concat(found, ignore_index=True)
    first = ["group", "depth"]
    return frame[first + [name for name in frame if name not in first]]
