"""Does the relation of barrier and LLFC error in some families of networks hold in another?

Intervals over seeds are for new seeds of the same grid. For other families the sample is the
families, of which there are few. So each is held out in turn and predicted from the others only:
in ranks, which only tests the order, and in the barrier's own unit.
"""

import numpy as np
import pandas as pd

from analysis.runs.grid import family_names
from analysis.runs.pairs import counted_once
from analysis.runs.schema import BARRIER, LLFC
from analysis.statistics.coefficients import usable
from analysis.statistics.comparators import comparators
from analysis.statistics.over_seeds import Estimate, Floats, over_seeds
from analysis.statistics.predictions.held_out import predict, shares
from analysis.statistics.summaries import with_weight_distance

LEAST_FAMILIES = 2


def transfers(trials: pd.DataFrame, x: str = LLFC, y: str = BARRIER) -> pd.DataFrame:
    """How well `y` is predicted in a family of networks by a line fitted to the other families.

    Args:
        trials: one row per trial.
        x: an LLFC summary; its comparators predict beside it.
        y: a barrier.

    Returns:
        One row per (held_out, predictor): each architecture, and where one has several norms or
        activations each of these alone (`usual` where it is the architecture's own). `share`, of
        the variance of y's ranks among the fitted trials, and `share_value`, of the variance of y
        itself, the prediction being the value that the fitted trials have at the predicted rank;
        averaged over seeds, with the 95 % intervals over `seeds`
        `low`, `high` and `value_low`, `value_high`; `note`; `trials`, those held out. A comparator
        that only some trials have is judged on these, and on no family without it.

    Raises:
        ValueError: if there are fewer than two families with both numbers.
    """
    trials = with_weight_distance(trials)
    used = counted_once(usable(trials, x, y, "Spearman"), x, y)
    names = (x, *(name for name in comparators(trials, x) if name != x))
    having = {name: usable(used, name, y, "Spearman") for name in names}
    out = {name: _families(rows) for name, rows in having.items()}
    rows = [
        {"held_out": held_out, "predictor": name, **_transfer(having[name], found, name, y)}
        for held_out in _families(used)
        for name in names
        if (found := out[name].get(held_out)) is not None
    ]
    if not rows:
        raise ValueError(
            f"families of networks to hold out must be at least {LEAST_FAMILIES}, got"
            f" {family_names(used).nunique()}"
        )
    return pd.DataFrame(rows)


def _families(trials: pd.DataFrame) -> dict[str, "pd.Series[bool]"]:
    """What is held out in turn: each architecture, and each of its norms and activations."""
    found: dict[str, pd.Series[bool]] = {}
    for names in (trials.get("architecture", family_names(trials)), family_names(trials)):
        for name in sorted(set(names)):
            out = names == name
            if not out.all() and not any(out.equals(other) for other in found.values()):
                found[f"{name}, usual" if name in found else str(name)] = out
    return found


def _transfer(trials: pd.DataFrame, out: "pd.Series[bool]", x: str, y: str) -> dict[str, object]:
    """A row of `transfers`, but for its names."""
    found = predict(trials, [x], y, out.tolist())[out.to_numpy()]
    seeds = trials["seed"][out].tolist()
    ranks = _over_seeds(shares(found["wanted"], found["predicted"], seeds))
    values = _over_seeds(shares(found["wanted_value"], found["predicted_value"], seeds))
    return {
        **ranks.columns("share"),
        "share_value": values.value,
        "value_low": values.low,
        "value_high": values.high,
        "trials": len(found),
    }


def _over_seeds(found: Floats) -> Estimate:
    return over_seeds(found, possible=(-np.inf, 1))
