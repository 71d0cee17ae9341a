"""How the networks of a sweep were trained, and which of them have not converged."""

import math
from typing import Any

import numpy as np
import pandas as pd

from analysis.runs.frames import Runs
from analysis.runs.grid import family_names
from llfc.results import TRAINING, Array

LATE = 0.9  # of the epochs: an error that falls after these is still falling
FALLING, FAR = 0.05, 1.5  # falls by this share of itself; is so many times the best
HALVES = {"samples": "data", "classes": "classes"}
NETWORK = ["architecture", "norm", "width", "dataset", "limit_train", "seed"]


def trainings(runs: Runs) -> pd.DataFrame:
    """One row per (network, epoch), each network once however many trials it is in.

    Returns:
        The columns of `llfc.results.TRAINING`; `network`, a number for each; what it is (NETWORK),
        its `family`, and `part`, what of the data it is trained on: an empty word for all of them.
        Without rows where trials do not say how networks were trained.
    """
    table = runs.table("training")
    columns = ["network", "family", "part", *NETWORK, *TRAINING]
    if table.empty:
        return pd.DataFrame(columns=columns)
    trials = runs.trials.assign(family=family_names(runs.trials), part=_parts(runs.trials))
    trials = trials.set_index("run_id")
    parts: list[pd.DataFrame] = []
    seen: set[tuple[Any, ...]] = set()
    for key, rows in table.groupby(["run_id", "network"], observed=True, sort=False):
        about = trials.loc[str(key[0])][[*NETWORK, "family", "part"]]
        # Equal networks have equal losses, and others have not.
        known = (*map(str, about), rows["loss"].to_numpy().tobytes())
        if known not in seen:
            seen.add(known)
            parts.append(rows[list(TRAINING)].assign(network=len(parts), **about))
    return pd.concat(parts, ignore_index=True)[columns]


def ends(found: pd.DataFrame) -> pd.DataFrame:
    """One row per network of `trainings`: its last epoch, and what speaks against its convergence.

    `late` is the error of the test inputs after nine tenths of the epochs. `falling`: it fell after
    that by more than FALLING of itself and two standard errors, of a share of as many inputs.
    `far`: the last error is more than FAR times the best of its family on the same data, or on as
    much of them, and by two standard errors.
    """
    rows = []
    for network, epochs in found.groupby("network", sort=True):
        judged = epochs[epochs["test_error"].notna()]
        if judged.empty:
            continue
        before = judged[judged["epoch"] <= LATE * epochs["epoch"].max()]
        late = float(before["test_error"].iloc[-1]) if len(before) else math.nan
        last = epochs.iloc[-1]
        rows.append({**last.to_dict(), "network": network, "late": late})
    table = pd.DataFrame(rows, columns=[*found.columns, "late"])
    if table.empty:
        return table.assign(falling=[], far=[])
    error = table["test_error"].to_numpy(dtype=float)
    count = table["judged"].to_numpy(dtype=float)
    alike = table.groupby(["family", "dataset", "part"])
    best = alike["test_error"].transform("min").to_numpy(dtype=float)
    fell = table["late"].to_numpy(dtype=float) - error
    return table.assign(
        falling=fell > np.maximum(FALLING * error, 2 * _standard_error(error, count)),
        far=error - best > np.maximum((FAR - 1) * best, 2 * _standard_error(best, count)),
    )


def _parts(trials: pd.DataFrame) -> list[str]:
    """What part of the data each trial's networks are trained on, in words."""
    found = trials.reindex(columns=["shared_data", "split_by"])
    return [
        "" if share is None or share != share else "half of the " + HALVES[by]
        for share, by in zip(found["shared_data"], found["split_by"], strict=True)
    ]


def _standard_error(share: Array, count: Array) -> Array:
    """Of a share of `count` inputs; an error above 1 is no share, and has none."""
    inside = np.clip(share, 0, 1)
    return np.asarray(np.sqrt(inside * (1 - inside) / count))
