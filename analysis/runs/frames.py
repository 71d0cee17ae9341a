"""What sweeps have found, as typed frames: one row per trial, or per (trial, layer, alpha).

A trial is here once, whatever the number of its runs: of several finished runs the newest counts,
and a trial without a finished run is in `unfinished`, never in no frame at all.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from analysis.runs import schema
from analysis.runs.params import NULLABLE, PARAMS
from llfc.names import lookup, readable
from llfc.results import CURVE, PROFILE, TABLES, Array, Connection

ReadConnections = Callable[[Iterable[str]], Mapping[str, Connection]]
Columns = Mapping[str, Any]  # columns of one length, by name

ABOUT = ("run_id", "fingerprint", "sweep", "source", "url", "start")
UNFINISHED = (
    "fingerprint", "status", "reason", "start", "run_id", "attempts", "sweep", "source", *PARAMS
)  # fmt: skip
# The parameters that may be the name of a plug-in.
NAMED = ("architecture", "dataset", "matching", "correction", "task")
# The parameters that say how many steps an epoch has.
DATA = ("dataset", "limit_train", "shared_data", "split_by", "recipe.batch_size")
LAYER_COLUMNS = ("layer", "kind", "index", "depth", "alpha", *PROFILE, "baseline", "baseline_std")


@dataclass(frozen=True, kw_only=True, eq=False)
class Runs:
    """What one sweep, or several joined, have found so far.

    Attributes:
        sweep: the sweep's name.
        source: where it was read, for people.
        trials: one row per finished trial: run_id, fingerprint, sweep, source, url (of the run's
            page on its tracking server; empty if the store is none), start, the provenance tags,
            every parameter under its name and with its type (None is None, not NaN), every scalar
            under its name. Where some pairs are spawned at a step, all are: a spawn epoch is then
            given as the step that it is.
        unfinished: one row per trial that was begun and has no finished run: fingerprint, status
            (FAILED; RUNNING is in flight or abandoned), reason, start, run_id, attempts, and the
            parameters, None in a run that does not say them.
        superseded: finished runs left out because a newer one of the same trial is there.
        outdated: runs left out because their parameters do not give back their fingerprint.
        question: what the sweep asks, in a sentence; empty if it does not say, or for several.
        read: gives the connections of runs by run id; called once, when `layers`, `curves` or a
            table is first asked for.
    """

    sweep: str
    source: str
    trials: pd.DataFrame
    unfinished: pd.DataFrame
    superseded: int = 0
    outdated: int = 0
    question: str = ""
    read: ReadConnections

    def __post_init__(self) -> None:
        for name, frame in _in_steps(self.trials, self.unfinished).items():
            object.__setattr__(self, name, frame)

    def only(self, fingerprints: Collection[str]) -> "Runs":
        """These runs without those of other trials, as another grid in the same place has."""
        kept = (
            frame[frame["fingerprint"].isin(fingerprints)]
            for frame in (self.trials, self.unfinished)
        )
        trials, unfinished = (frame.reset_index(drop=True) for frame in kept)
        return replace(self, trials=trials, unfinished=unfinished)

    @cached_property
    def every(self) -> pd.DataFrame:
        """One row per trial, finished or not, told apart by `status`.

        The columns of `trials` and of `unfinished`; scalars are NaN where nothing was found.
        """
        done = self.trials.assign(status=schema.FINISHED, reason="", attempts=1)
        return frame_of([*records_of(done), *records_of(self.unfinished)])

    def status(self) -> pd.DataFrame:
        """How many trials each sweep and store has in each status, none left out.

        Returns:
            One row per (sweep, source), one column per status, and `trials`, their sum.
        """
        keys = ["sweep", "source"]
        frames = [
            self.trials[keys].assign(status=schema.FINISHED),
            self.unfinished[[*keys, "status"]],
        ]
        frame = pd.concat([part for part in frames if len(part)] or frames[:1])
        table = frame.groupby([*keys, "status"]).size().unstack(fill_value=0)
        table.columns.name = None
        return table.assign(trials=table.sum(axis=1)).reset_index()

    @cached_property
    def connections(self) -> Mapping[str, Connection]:
        """What each trial found, by run id."""
        return self.read(self.trials["run_id"])

    @cached_property
    def layers(self) -> pd.DataFrame:
        """One row per (trial, layer, alpha): the columns of PROFILE, the layer's baselines.

        `kind` is one of `llfc.results.LAYER_KINDS`. `index` counts a trial's layers from 0; `depth`
        runs from 0, its first that is no pre-activation, to 1, its last, in equal steps, and is a
        pre-activation's as that of its activation.
        Each row has its trial's run_id and fingerprint.
        """
        return self._stack(LAYER_COLUMNS, map(_layer_columns, self.connections.values()))

    @cached_property
    def curves(self) -> pd.DataFrame:
        """One row per (trial, alpha): the columns of CURVE."""
        return self._stack(CURVE, (found.curve for found in self.connections.values()))

    def table(self, name: str) -> pd.DataFrame:
        """One row per (trial, row of the table): the columns of `llfc.results.TABLES[name]`.

        Trials that did not measure it have no rows.

        Raises:
            ValueError: if there is no such table.
        """
        columns = lookup("table", name, TABLES)
        nothing: Columns = {column: [] for column in columns}
        tables = (found.tables.get(name, nothing) for found in self.connections.values())
        return self._stack(columns, tables)

    def _stack(self, columns: Sequence[str], parts: Iterable[Columns]) -> pd.DataFrame:
        """The columns of each connection under one another, behind what names its trial.

        Column by column, as one frame per trial costs more than all that is in it. Words are
        categories: millions of rows repeat a few.
        """
        parts = list(parts)
        names = dict(zip(self.trials["run_id"], self.trials["fingerprint"], strict=True))
        run_ids = list(self.connections)
        rows = np.repeat(np.arange(len(parts)), [len(part[columns[0]]) for part in parts])
        about = {
            "run_id": pd.Categorical.from_codes(rows, pd.Index(run_ids)),
            "fingerprint": pd.Categorical.from_codes(rows, pd.Index([names[r] for r in run_ids])),
        }
        return pd.DataFrame(
            about | {name: _joined([part[name] for part in parts]) for name in columns}
        )


def frame_of(rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """A frame of trials; a parameter that may be None keeps Python's values, so None is None."""
    rows = list(rows)
    if not rows:
        return pd.DataFrame(columns=[*ABOUT, *schema.PROVENANCE, *PARAMS])
    names = dict.fromkeys(name for row in rows for name in row)
    columns = {
        name: pd.Series([row.get(name) for row in rows], dtype=object if name in NULLABLE else None)
        for name in names
    }
    return pd.DataFrame(columns)


def _in_steps(trials: pd.DataFrame, unfinished: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Both frames with all forks in steps, if any is; a fork is one axis, in one unit.

    A run from before steps per epoch were recorded has those of one with the same data; without
    such a one it keeps its spawn epoch.
    """
    frames = {"trials": trials, "unfinished": unfinished}
    found = [frame["spawn_step"] for frame in frames.values() if "spawn_step" in frame]
    asked = trials["search"].dropna() if "search" in trials else ()
    if not any(column.notna().any() for column in found) and "spawn_step" not in "".join(asked):
        return {}
    known = {}
    for row in records_of(trials):
        if pd.notna(steps := row.get("steps_per_epoch")) and steps:
            known[tuple(row.get(name) for name in DATA)] = int(steps)
    placed = {}
    for name, frame in frames.items():
        rows = records_of(frame)
        for row in rows:
            steps = known.get(tuple(row.get(name) for name in DATA))
            epoch = row.get("spawn_epoch")
            if epoch is not None and (steps or epoch == 0):
                row |= {"spawn_epoch": None, "spawn_step": epoch * (steps or 0)}
        placed[name] = frame_of(rows) if rows else frame
    return placed


def records_of(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of `frame`, by column."""
    return [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]


def _joined(parts: Sequence[Any]) -> Any:
    """One column's values of all trials; words as categories."""
    parts = [part for part in parts if len(part)]  # which has no type
    if not parts:
        return np.array([], dtype=float)
    joined = np.concatenate([np.asarray(part, _kind(part)) for part in parts])
    return pd.Categorical(joined) if joined.dtype == object else joined


def _kind(part: Any) -> Any:
    return object if isinstance(part, list) else None


def _depths(kinds: Sequence[str]) -> Array:
    """Where each layer is between the first that is no pre-activation and the last."""
    after = np.array([kind != "pre-activation" for kind in kinds[:-1]] + [True] * len(kinds[-1:]))
    steps = np.cumsum(after) - after
    depths: Array = steps / max(int(after.sum()) - 1, 1)
    return depths


def _layer_columns(found: Connection) -> Columns:
    """LAYER_COLUMNS of one trial; layer by layer, each at every alpha."""
    layers, alpha = found.layers, found.curve["alpha"]
    index = np.repeat(np.arange(len(layers)), len(alpha))
    each = {
        "baseline": np.array([layer.baseline for layer in layers]),
        "baseline_std": np.array([layer.baseline_std for layer in layers]),
    }
    return {
        "layer": [layer.name for layer in layers for _ in alpha],
        "kind": [layer.kind for layer in layers for _ in alpha],
        "index": index,
        "depth": _depths([layer.kind for layer in layers])[index],
        "alpha": np.tile(alpha, len(layers)),
        **{name: np.ravel([getattr(layer, name) for layer in layers]) for name in PROFILE},
        **{name: values[index] for name, values in each.items()},
    }


def with_readable_names(runs: Runs) -> Runs:
    """`runs` with plug-ins called by file and function; in full where several share that name."""
    trials, unfinished = runs.trials.copy(), runs.unfinished.copy()
    for column in NAMED:
        shown = _shown(v for frame in (trials, unfinished) for v in frame.get(column, ()))
        for frame in (trials, unfinished):
            if shown and column in frame:
                frame[column] = frame[column].map(lambda value, to=shown: to.get(value, value))
    return replace(runs, trials=trials, unfinished=unfinished)


def _shown(names: Iterable[object]) -> Mapping[object, str]:
    """The short name of each plug-in that no other one shares."""
    given = [name for name in dict.fromkeys(names) if isinstance(name, str)]
    counts = Counter(map(readable, given))
    return {n: readable(n) for n in given if readable(n) != n and counts[readable(n)] == 1}
