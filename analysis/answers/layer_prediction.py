"""Which layer's LLFC error predicts the barrier best, in networks that the fit has not seen."""

import numpy as np
import pandas as pd

from analysis.runs.frames import Runs
from analysis.runs.grid import AXES
from analysis.runs.pairs import counted_once, of_all_seeds
from analysis.runs.schema import BARRIER
from analysis.statistics.coefficients import unlike
from analysis.statistics.correlations import with_note
from analysis.statistics.predictions.held_out import predict, share
from analysis.statistics.summaries import at_depths


def layer_predictions(
    runs: Runs, barrier: str = BARRIER, *, hold_out: str = "architecture", over: bool = False
) -> pd.DataFrame:
    """How well the LLFC error at each relative depth predicts the barrier where it was not fitted.

    Each value of `hold_out` in turn is left out, a line in ranks is fitted to the others' trials,
    and the barrier predicted where it was left out. The depths of different networks compare as in
    `with_summaries`. All over the cells of the grid that every seed has (see
    `analysis.runs.pairs.of_all_seeds`), unless a value of `hold_out` had none left.

    Args:
        runs: what was found.
        barrier: a column of its trials.
        hold_out: an axis; its values are what is held out.
        over: whether to take the error over its baseline instead.

    Returns:
        One row per depth of `at_depths`, the best first, and `mean` as depth for the mean over
        layers: `share`, the share of the barrier's variance that was predicted (1 perfect, 0 no
        better than the mean), with its 95 % interval over seeds `low` and `high`, `p`, `seeds`,
        `note`; `held_out`, how many values were held out; `trials`, those with the barrier and a
        profile, that repeat another once.

    Raises:
        ValueError: if `hold_out` is no axis, has one value only among the trials with a barrier and
            a profile, or there is no such barrier.
    """
    if hold_out not in (*AXES, "seed"):
        raise ValueError(f"hold_out must be an axis of the trials, got {hold_out!r}")
    if barrier not in runs.trials:
        raise ValueError(f"barrier must be a column of the trials, got {barrier!r}")
    trials = runs.trials[np.isfinite(runs.trials[barrier])]
    profiles = at_depths(runs, over=over).reindex(trials["run_id"]).set_axis(trials.index)
    depths = list(map(str, profiles))
    trials = pd.concat([trials, profiles], axis=1)
    whole = bool(depths) & np.isfinite(trials[depths].to_numpy(dtype=float)).all(axis=1)
    common = _of_all_seeds(trials[whole], hold_out)
    trials = counted_once(common, barrier, *depths)
    groups, seeds = trials[hold_out].astype(str).tolist(), trials["seed"].tolist()
    if len(set(groups)) < 2:
        raise ValueError(
            f"{hold_out} must have at least 2 values to hold out, got {len(set(groups))}"
        )
    rows = []
    for depth in depths:
        found = predict(trials, [depth], barrier, groups)
        of_variance = share(found["wanted"], found["predicted"], seeds)
        rows.append({"depth": depth, **with_note(of_variance.columns("share"), unlike(common))})
    table = pd.DataFrame(rows).assign(held_out=len(set(groups)), trials=len(trials))
    return table.sort_values("share", ascending=False, ignore_index=True)


def _of_all_seeds(trials: pd.DataFrame, hold_out: str) -> pd.DataFrame:
    """The trials of cells that every seed has; all, if a value of `hold_out` had none left."""
    common = of_all_seeds(trials, least=2)
    return common if set(common[hold_out]) == set(trials[hold_out]) else trials
