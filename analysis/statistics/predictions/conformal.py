"""How high is the barrier where the LLFC error is below x? A bound with a known coverage.

Of n trials with an LLFC error below x, the k-th lowest barrier, k = ceil(level (n + 1)), is above
the barrier of one more such trial with a probability of at least `level`, whatever the
distribution, if it is exchangeable with them. That is conformal prediction within a category
(Mondrian), without a model of how the two go together.

Trials of one seed share networks, and those of one family are alike, so that a trial of a new seed
or a new family need not be exchangeable. How often the bound holds there is therefore counted:
each seed, and each family, is bounded by the trials of the others alone (cross-conformal).

References:
    Vovk, Gammerman & Shafer, Algorithmic Learning in a Random World, 2005: Mondrian predictors.
    Vovk, Cross-Conformal Predictors, Annals of Mathematics and Artificial Intelligence 74, 2015.
"""

import math
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.runs.grid import family_names
from analysis.runs.pairs import counted_once
from analysis.runs.schema import BARRIER, LLFC
from analysis.statistics.coefficients import usable
from analysis.statistics.over_seeds import Floats

LEVEL = 0.9
PLACES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0)


def upper_bound(values: Floats, level: float = LEVEL) -> float:
    """Below which one more value is with a probability of `level`; infinite for too few values.

    >>> upper_bound(np.arange(1.0, 20.0)), upper_bound(np.arange(8.0))
    (18.0, inf)
    """
    place = math.ceil(level * (len(values) + 1))
    return float(np.sort(values)[place - 1]) if place <= len(values) else math.inf


def bounds(
    trials: pd.DataFrame, x: str = LLFC, y: str = BARRIER, level: float = LEVEL
) -> pd.DataFrame:
    """Below which `y` is in trials whose `x` is below a number, and how often that held elsewhere.

    Args:
        trials: one row per trial.
        x: an LLFC summary, or what it is compared with.
        y: a barrier.
        level: how often the bound should hold.

    Returns:
        One row per number of PLACES: `below`, the number; `trials`, how many have less of `x`;
        `bound`, of `y` in its unit, infinite where they are too few; `level`; and for new `seeds`
        and new `families` the share of trials of each, bounded by the others' trials, that are
        below their bound: `seeds_held`, a mean over seeds, `seeds_least`, the smallest; and the
        number of `seeds` that could be judged. NaN and 0 where none could.
    """
    used = counted_once(usable(trials, x, y, "Spearman"), x, y)
    groups = {"seeds": used["seed"].to_numpy(), "families": family_names(used).to_numpy()}
    values, target = (used[name].to_numpy(dtype=float) for name in (x, y))
    rows = []
    for place in PLACES:
        near = values < place
        row = {"below": place, "trials": int(near.sum())}
        row |= {"bound": upper_bound(target[near], level), "level": level}
        for name, labels in groups.items():
            held = held_elsewhere(target[near], labels[near], level)
            row |= {f"{name}_held": float(np.mean(held)) if held else math.nan}
            row |= {f"{name}_least": min(held, default=math.nan), name: len(held)}
        rows.append(row)
    return pd.DataFrame(rows)


def held_elsewhere(values: Floats, groups: NDArray[Any], level: float) -> list[float]:
    """For each group, in which share of its values the bound holds that the others' values give.

    Groups whose bound would be infinite, as the others have too few values, are left out.
    """
    found = []
    for group in dict.fromkeys(groups.tolist()):
        out = groups == group
        bound = upper_bound(values[~out], level)
        if math.isfinite(bound):
            found.append(float((values[out] <= bound).mean()))
    return found
