"""Summaries of a trial's layers as one number each, such as their mean, maximum and last.

Profiles are read at the layers after activation functions and residual blocks, and at the logits:
pre-activations, which some families are probed at and others are not, are in no mean and at no
depth.

All at alpha = 1/2. Errors are 1 - cos between a layer's feature in the blend and the blend of that
layer's features in A and in B; a ratio is an error over the layer's baseline, 1 - cos between the
features of A and of B, as an error means nothing where A and B agree already.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from analysis.runs.columns import DEPTHS, FEATURE_ROUNDING
from analysis.runs.frames import Runs
from analysis.runs.schema import ENDS_ERROR, WEIGHT_COS, WEIGHTS, llfc_summary
from analysis.statistics.over_seeds import Floats
from llfc.results import averaged_layers

# Where a whole profile is read.
PROFILE_DEPTHS = tuple(i / 10 for i in range(1, 11))
# Of which layers a summary is, beside the whole profile.
READ = ("mean", "max", "last", *(f"depth_{depth}" for depth in DEPTHS))
ERRORS: Sequence[str] = tuple(llfc_summary("error", place) for place in READ)
RATIOS: Sequence[str] = tuple(llfc_summary("ratio", place) for place in READ)
SUMMARIES: Sequence[str] = (*ERRORS, *RATIOS)
# What each of them has to be compared with: 1 - cos between the features of A and of B alone.
BASELINES: Sequence[str] = tuple(llfc_summary("baseline", place) for place in READ)


def with_summaries(runs: Runs) -> pd.DataFrame:
    """The trials, with SUMMARIES, BASELINES, WEIGHTS and `endpoint_error` as columns.

    `mean` is over the layers that `llfc.results.averaged_layers` names, `max` over all that are
    probed, `last` of the last (`llfc_ratio_mean` is the errors' sum over the baselines' sum, as a
    trial has it; `llfc_ratio_max` the largest layer's ratio). `depth_0.5` is half-way from the
    first layer to the last, pre-activations left out, on the straight line between the layers
    beside it, so that networks of any depth compare. `endpoint_error` is the mean test error rate
    of A and B, and WEIGHTS is 1 - cos between their weights, which compares over networks of any
    size, as their distance does not. NaN where it was not measured.

    Reference:
        Zhou, Yang, Yang, Yan & Hu, Going Beyond Linear Mode Connectivity: The Layerwise Linear
        Feature Connectivity, NeurIPS 2023. https://arxiv.org/abs/2307.08286
    """
    profiles = middle(runs.layers)
    columns = {
        run_id: _summarise(rows) for run_id, rows in profiles.groupby("run_id", observed=True)
    }
    found = pd.DataFrame.from_dict(columns, orient="index")
    trials = runs.trials.reset_index(drop=True)
    # The others are scalars of a trial.
    names = [name for name in (*SUMMARIES, *BASELINES) if name not in trials]
    new = found.reindex(index=trials["run_id"], columns=names).reset_index(drop=True)
    joined = with_weight_distance(pd.concat([trials, new], axis=1))
    ends = [name for name in ENDS_ERROR if name in joined]
    return joined.assign(endpoint_error=joined[ends].mean(axis=1) if len(ends) == 2 else np.nan)


def with_weight_distance(trials: pd.DataFrame) -> pd.DataFrame:
    """`trials` with WEIGHTS, if they have the cosine of the weights; rounding below 0 is 0."""
    if WEIGHT_COS not in trials or WEIGHTS in trials:
        return trials
    return trials.assign(**{WEIGHTS: (1 - trials[WEIGHT_COS].astype(float)).clip(lower=0)})


def at_depths(runs: Runs, *, over: bool = False, column: str = "cos_error") -> pd.DataFrame:
    """The LLFC error of each trial at each of PROFILE_DEPTHS, and `mean`, over layers.

    Args:
        runs: what was found.
        over: whether to take the error over its baseline instead.
        column: of the layers; "baseline" for the baseline alone.

    Returns:
        One row per run, by run id; layers and places between them as in `with_summaries`.
    """
    rows = middle(runs.layers)
    error = over_baseline(rows["cos_error"], rows["baseline"]) if over else rows[column]
    found = {}
    for run_id, part in rows.assign(error=error).groupby("run_id", observed=True):
        values = part["error"].to_numpy(dtype=float)
        at = dict(zip(map(str, PROFILE_DEPTHS), _at(PROFILE_DEPTHS, part, values), strict=True))
        found[run_id] = {**at, "mean": values[averaged_layers(part["kind"].tolist())].mean()}
    return pd.DataFrame.from_dict(found, orient="index")


def middle(layers: pd.DataFrame) -> pd.DataFrame:
    """The rows of `Runs.layers` at alpha = 1/2, where every trial has one a layer."""
    return layers[np.isclose(layers["alpha"].astype(float), 0.5)]


def over_baseline(error: "pd.Series[float]", baseline: "pd.Series[float]") -> "pd.Series[float]":
    """Error over baseline; 0 where both are rounding, as A, B and the blend agree."""
    differ = (error.abs() > FEATURE_ROUNDING) | (baseline.abs() > FEATURE_ROUNDING)
    found: pd.Series[float] = (error / baseline).where(differ, 0.0)
    return found


def _summarise(rows: pd.DataFrame) -> dict[str, float]:
    """SUMMARIES and BASELINES of one trial, except the means, from its layers in forward order."""
    columns = {
        "error": rows["cos_error"],
        "ratio": over_baseline(rows["cos_error"], rows["baseline"]),
        "baseline": rows["baseline"],
    }
    found: dict[str, float] = {}
    for kind, column in columns.items():
        values = column.to_numpy(dtype=float)
        found |= {llfc_summary(kind, "max"): values.max(), llfc_summary(kind, "last"): values[-1]}
        for depth in DEPTHS:
            found[llfc_summary(kind, f"depth_{depth}")] = float(_at((depth,), rows, values)[0])
    return found


def _at(places: Sequence[float], rows: pd.DataFrame, values: Floats) -> Floats:
    """The values of a trial's layers at relative depths, pre-activations left out."""
    kinds = rows["kind"].tolist()
    after = [i for i, kind in enumerate(kinds) if kind != "pre-activation" or i == len(kinds) - 1]
    found: Floats = np.interp(places, rows["depth"].to_numpy()[after], values[after])
    return found
