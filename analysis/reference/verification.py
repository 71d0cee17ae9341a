"""`python -m analysis verify`: a cell of the grid trained and measured anew, beside what is known.

The one part of the analysis that computes: in this process alone, without Ray and MLflow.
"""

import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from scipy import stats

from analysis.reference.numbers import NUMBERS, with_cells
from analysis.runs.params import PARAMS, trial_from_params
from analysis.statistics.over_seeds import LEVEL, Floats
from llfc.data.datasets import load_dataset, resolve_dataset
from llfc.networks.spawning import train_network
from llfc.networks.store import Store
from llfc.results import Connection
from llfc.specs import Trial
from llfc.trial import run_trial

# Relative to a number: what the order of additions may change of it, and a training cannot.
SAME_BELOW = 1e-5
DATA = "data"  # the folder of the storage that data sets are copied to
SAME, LIKELY, OUTSIDE = "same", "as a new seed", "outside"


def verify(
    trials: pd.DataFrame,
    cell: str,
    storage: Path,
    data_root: Path | None = None,
    seeds: Sequence[int] | None = None,
    dataset: str | None = None,
    say: Callable[[str], None] = lambda text: print(text, file=sys.stderr),
) -> pd.DataFrame:
    """Train and measure a cell's pairs again, and compare.

    The same code on the same kind of processor gives the same numbers to the bit. On another kind,
    rounding differs, and training makes that grow until a network is as one of another seed. So
    each number is judged by how near it is, and by whether it is within the 95 % prediction
    interval of one more seed, mean ± t s sqrt(1 + 1/n) of the known ones.

    Args:
        trials: one row per trial.
        cell: the name of one, as `references` has it.
        storage: folder of networks; those that are there are not trained again.
        data_root: folder of torchvision's data sets.
        seeds: which to run; None for all that the cell has.
        dataset: where a data set of one's own is now, `FILE.py:FUNCTION`; its code and its content
            must be those of the cell's. None if it is built in, or in the storage from before.
        say: is told what is done next.

    Returns:
        One row per (seed, number): `known`, `again`, the prediction interval `low` and `high` (NaN
        with fewer than three seeds) and `verdict`: same, as a new seed, or outside; "outside" too
        where it is not the same and there is no interval.

    Raises:
        ValueError: if there is no such cell or seed, its networks cannot be trained or measured,
            or `dataset` is another one.
    """
    told = with_cells(trials)
    part = told[told["cell"] == cell]
    if part.empty:
        raise ValueError(f"no cell {cell!r}: `table reference` has their names")
    known_seeds = sorted(int(seed) for seed in part["seed"])
    for seed in seeds or ():
        if seed not in known_seeds:
            raise ValueError(f"cell {cell} has no seed {seed}: it has {known_seeds}")
    if dataset is not None:
        _check_same(dataset, str(part["dataset"].iloc[0]), storage / DATA)
    store = Store(storage)
    rows = []
    for _, row in part[part["seed"].isin(seeds or known_seeds)].iterrows():
        trial = trial_from_params({name: str(row[name]) for name in PARAMS if name in row})
        found = _again(trial, store, storage, data_root, say).scalars()
        for name, column in NUMBERS.items():
            if column in row and not math.isnan(row[column]):
                known, again = float(row[column]), found[column]
                low, high = predicted(part[column].to_numpy(dtype=float))
                verdict = judged(known, again, low, high)
                interval = {"low": low, "high": high, "verdict": verdict}
                about = {"seed": int(row["seed"]), "number": name}
                rows.append({**about, "known": known, "again": again, **interval})
    return pd.DataFrame(rows)


def _check_same(dataset: str, known: str, cache: Path) -> None:
    """See that `dataset` is the one called `known`, and leave it in `cache`."""
    found = resolve_dataset(dataset, cache)
    if found != known:
        raise ValueError(
            f"dataset must be {known}, as in the cell, by code and content, got {found}"
        )


def predicted(values: Floats) -> tuple[float, float]:
    """The 95 % prediction interval of one more value, if they are normal; NaN of fewer than three.

    >>> import numpy as np
    >>> low, high = predicted(np.array([1.0, 2.0, 3.0]))
    >>> round(low, 3), round(high, 3)
    (-2.968, 6.968)
    """
    count = len(values)
    if count < 3:
        return math.nan, math.nan
    reach = stats.t.ppf((1 + LEVEL) / 2, count - 1) * values.std(ddof=1) * math.sqrt(1 + 1 / count)
    return float(values.mean() - reach), float(values.mean() + reach)


def judged(known: float, again: float, low: float, high: float) -> str:
    """What `verify` says of a number."""
    if math.isclose(known, again, rel_tol=SAME_BELOW, abs_tol=SAME_BELOW):
        return SAME
    return LIKELY if low <= again <= high else OUTSIDE


def _again(
    trial: Trial, store: Store, storage: Path, root: Path | None, say: Callable[[str], None]
) -> Connection:
    pair = trial.pair
    given: dict[str, Any] = {"cache": storage / DATA, "data_root": root}
    dataset = load_dataset(pair.dataset, limit_train=pair.limit_train, **given)
    for network in (pair.a, pair.b):
        if not store.has(network):
            say(f"training {network.architecture}, seed {network.seed}")
            train_network(network, store, dataset)
    say(f"measuring seed {pair.seed}")
    measured = load_dataset(
        pair.dataset, limit_train=pair.limit_train, limit_test=trial.limit_test, **given
    )
    return run_trial(trial, store, measured)
