"""Reference numbers: what each cell of the grid has, for other implementations to test against."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import pandas as pd

from analysis.runs.grid import AXES
from analysis.runs.pairs import FINENESS, cell_columns, group_index, measured_once
from analysis.runs.params import ADDED
from analysis.runs.schema import BARRIER, BASELINE, ENDS_ERROR, INSTABILITY, LLFC, PROVENANCE
from analysis.statistics.over_seeds import over_seeds

# The numbers of a trial that a reference has, by their names there.
NUMBERS = {
    "loss_barrier": BARRIER,
    "error_barrier": INSTABILITY,
    "llfc_error": LLFC,
    "baseline": BASELINE,
    "error_a": ENDS_ERROR[0],
    "error_b": ENDS_ERROR[1],
}
MADE_BY = tuple(name for name in ("commit", "versions") if name in PROVENANCE)


def with_cells(trials: pd.DataFrame) -> pd.DataFrame:
    """`trials`, each line once, with the name of their `cell`: their parameters but the seed.

    A name is eight hex digits, the same wherever the same was measured.
    """
    trials = measured_once(trials).reset_index(drop=True)
    columns = cell_columns(trials)
    index = group_index(trials, columns)
    named = {
        number: _name({column: trials[column].iloc[row] for column in columns})
        for row, number in enumerate(index.tolist())
    }
    return trials.assign(cell=[named[number] for number in index.tolist()])


def references(trials: pd.DataFrame) -> pd.DataFrame:
    """The numbers of each cell of the grid, over its seeds.

    Args:
        trials: one row per trial.

    Returns:
        One row per cell: its name `cell`, its parameters, `seeds`, and of each of NUMBERS the mean
        under its own name, `_low` and `_high`, its 95 % Student's t interval, NaN with fewer than
        three seeds, and `_sd`, the standard deviation over seeds; `commit` and `versions` of the
        code, where trials have them. `loss_barrier` is the chord barrier of the test loss, of
        classes in nats, `error_barrier` the mean barrier of the test error, Frankle et al.'s
        instability; `llfc_error` and `baseline` are 1 - cos at alpha = 1/2, means over layers.
    """
    told = with_cells(trials)
    parameters = [axis for axis in (*AXES, *FINENESS) if axis in told]
    rows = []
    for cell, part in told.groupby("cell", sort=False):
        first = part.iloc[0]
        row = {"cell": cell, **{name: first[name] for name in dict.fromkeys(parameters)}}
        row["seeds"] = part["seed"].nunique()
        for name, column in NUMBERS.items():
            values = part.groupby("seed")[column].mean()
            found = over_seeds(values.to_numpy(dtype=float))
            row |= {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}
            row[f"{name}_sd"] = values.std()
        row |= {name: " ".join(sorted(set(part[name]))) for name in MADE_BY if name in part}
        rows.append(row)
    return pd.DataFrame(rows)


def _name(parameters: Mapping[str, Any]) -> str:
    # A parameter that came later and has its usual value is not told, so that it changes no name.
    told = {n: str(v) for n, v in parameters.items() if n not in ADDED or v != ADDED[n]}
    said = json.dumps(told, sort_keys=True)
    return hashlib.blake2b(said.encode(), digest_size=4).hexdigest()
