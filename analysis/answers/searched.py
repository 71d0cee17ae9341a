"""What a search found: from where on pairs are stable, over seeds and for each of them."""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from analysis.answers.matched import what_matching_does
from analysis.answers.onset import by_seed, onsets, with_unfinished
from analysis.answers.tables import two_decimals
from analysis.runs.columns import phrase
from analysis.runs.frames import Runs
from analysis.runs.grid import GridLayout, lines_along, name
from analysis.runs.params import PARAMS, RECIPE
from analysis.runs.schema import FAILED, INSTABILITY, INSTABILITY_SE

BRACKETS = ("group", "seed", "value", "low", "high", "trials", "wide", "monotone", "again")


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a search was asked for.

    Attributes:
        axis: the column of the axis along which it searched.
        resolution: how closely, in the unit of the axis.
        threshold: mean barrier of the test error below which a pair counts as stable.
        recheck: how many places were measured above each bracket to see whether pairs stay stable.
    """

    axis: str
    resolution: float
    threshold: float
    recheck: int


def asked_of(trials: pd.DataFrame) -> Asked | None:
    """The search that asked for `trials`; None if it was a grid, or nothing can be said of it."""
    if "search" not in trials or INSTABILITY not in trials:
        return None
    texts = trials["search"].unique()
    if len(texts) != 1 or not isinstance(texts[0], str):  # several sweeps joined
        return None
    said = json.loads(texts[0])
    axis = said["axis"] if said["axis"] in PARAMS else RECIPE + said["axis"]
    return Asked(
        axis=axis,
        resolution=said["resolution"],
        threshold=said["threshold"],
        recheck=said.get("recheck", 0),  # not said by searches from before there was one
    )


def sweep_answer(runs: Runs, plan: GridLayout) -> str:
    """The sweep's own question, and its answer in plain words: of a search, or of matching.

    Where neither has one, how the barrier goes along the sweep's axis. Empty if nothing is known.

    Args:
        runs: what was read; one trial at least.
        plan: the layout of its grid.
    """
    asked = asked_of(runs.trials)
    said = (
        what_matching_does(runs.trials, plan)
        if asked is None
        else search_answer(runs.trials, asked, runs.unfinished)
    )
    return " ".join([*filter(None, [runs.question, said])])


def seed_brackets(
    trials: pd.DataFrame, asked: Asked, unfinished: pd.DataFrame | None = None
) -> pd.DataFrame:
    """The bracket of each seed.

    Returns:
        One row per seed in each combination of the other axes, BRACKETS: the crossing `value` and
        the ends `low` and `high` of the bracket, infinite where the seed has none; the number of
        `trials`; whether the bracket is `wide`, as the test set or a failure left more of it than
        the resolution; whether the response was `monotone` where it was measured; and the places
        at which the pair is unstable `again`, above one at which it is stable, as far as the test
        set can tell. The bracket is that of the last crossing, above all of these.
    """
    known = with_unfinished(trials, unfinished)
    parts = dict(lines_along(known, asked.axis))
    rows = []
    for one in by_seed(
        trials, asked.axis, threshold=asked.threshold, unfinished=unfinished, searched=True
    ):
        counts = parts[one.group]["seed"].value_counts()
        for seed, onset in one.seeds.items():
            width = onset.high - onset.low
            rows.append(
                {
                    "group": one.group,
                    "seed": seed,
                    "value": onset.at,
                    "low": onset.low,
                    "high": onset.high,
                    "trials": int(counts[seed]),
                    "wide": bool(math.isfinite(width) and width > asked.resolution * (1 + 1e-9)),
                    "monotone": onset.monotone,
                    "again": onset.again,
                }
            )
    return pd.DataFrame(rows, columns=BRACKETS)


def seed_estimates(
    trials: pd.DataFrame, asked: Asked, unfinished: pd.DataFrame | None = None
) -> pd.DataFrame:
    """The frame of `onsets` over these brackets; no interval reaches beyond the training's end."""
    found = onsets(
        trials, asked.axis, threshold=asked.threshold, unfinished=unfinished, searched=True
    )
    return found.assign(high=found["high"].clip(upper=_end(trials, asked.axis)))


def search_answer(
    trials: pd.DataFrame, asked: Asked, unfinished: pd.DataFrame | None = None
) -> str:
    """From where on pairs are stable, in a sentence per combination of the other axes."""
    if not lines_along(with_unfinished(trials, unfinished), asked.axis):
        return ""
    brackets = seed_brackets(trials, asked, unfinished)
    found = seed_estimates(trials, asked, unfinished)
    said = [_sentence(row, brackets, trials, asked) for _, row in found.iterrows()]
    noise = ""
    if INSTABILITY_SE in trials:
        noise = (
            " Brackets are those of the test set as a sample: what it cannot tell from the"
            " threshold belongs to neither side."
        )
    failed = 0 if unfinished is None else int((unfinished["status"] == FAILED).sum())
    if failed:
        noise += (
            f" {failed} trial{'s' * (failed != 1)} failed, on neither side either: a bracket may be"
            " wider for that alone."
        )
    what = f"Stable means: {phrase(INSTABILITY)} below {100 * asked.threshold:g} %."
    return f"{' '.join(said)} {what}{noise}"


def _sentence(
    row: "pd.Series[Any]", brackets: pd.DataFrame, trials: pd.DataFrame, asked: Asked
) -> str:
    """One combination of the other axes."""
    own = brackets[brackets["group"] == row["group"]]
    censored = ~(np.isfinite(own["low"]) & np.isfinite(own["high"]))
    value, low, high = (float(row[end]) for end in ("onset", "low", "high"))
    where = f" ({row['group']})" if row["group"] else ""
    count = f"{len(own)} seed{'s'[: len(own) != 1]}, {int(censored.sum())} censored"
    wide = int(own["wide"].sum())
    more = f", {wide} bracketed less closely than {asked.resolution:g}" if wide else ""
    more += again_text(own, asked.axis)
    back = int((~own["monotone"].astype(bool) & (own["again"].map(len) == 0)).sum())
    unsure = "stable at a value and not at a larger one, within the error of the test set"
    more += f", {back} {unsure}" if back else ""
    end = _end(trials, asked.axis)
    of = f" of {shown(end)}" if math.isfinite(end) else ""
    text = f"{name(asked.axis)} {_stable_from(value, low, high, own)}{of}"
    return f"Pairs{where} are stable from {text} on: {count}{more}."


def again_text(brackets: pd.DataFrame, axis: str) -> str:
    """Where which of the seeds in `brackets` were unstable again; empty if none was."""
    said = [
        f"at {name(axis)} {', '.join(map(shown, again))} in seed {seed}"
        for seed, again in zip(brackets["seed"], brackets["again"], strict=True)
        if again
    ]
    if not said:
        return ""
    return (
        f", not stable throughout: unstable again {' and '.join(said)}, and brackets are those of"
        " the last crossing"
    )


def _stable_from(value: float, low: float, high: float, own: pd.DataFrame) -> str:
    """The estimate with its interval; without one the brackets that there are."""
    if (own["low"] == -math.inf).all() and (own["high"] == high).all():
        return f"{shown(high)}, where the search begins,"
    if not (math.isnan(low) or math.isnan(high) or math.isnan(value)):
        return f"{shown(value)} (95 % interval over seeds {shown(low)} to {shown(high)})"
    if not (math.isnan(low) and math.isnan(high)):
        return onset_text(value, low, high, shown)
    ends = own[np.isfinite(own["high"])]
    if ends.empty:
        least = own["low"].max()
        return f"above {shown(least)}" if math.isfinite(least) else "an unknown value"
    lowest = ends["low"].min()
    begin = "the start" if math.isinf(lowest) else shown(lowest)
    beyond = ", or beyond the end" if len(ends) < len(own) else ""
    return f"{begin} to {shown(ends['high'].max())}{beyond}"


def _end(trials: pd.DataFrame, axis: str) -> float:
    """How long training is, in the unit of a spawn axis; infinite for other axes."""
    if axis not in ("spawn_epoch", "spawn_step"):
        return math.inf
    ends = trials["recipe.epochs"].astype(float)
    if axis == "spawn_step":
        ends = ends * pd.to_numeric(trials["steps_per_epoch"])
    found = ends.dropna().unique()
    return float(found[0]) if len(found) == 1 else math.inf


def shown(value: float) -> str:
    """A place on an axis, to four digits.

    >>> shown(123.456), shown(2400.0), shown(0.0625)
    ('123.5', '2400', '0.0625')
    """
    return f"{float(f'{value:.4g}'):g}"


def onset_text(
    value: float, low: float, high: float, tell: Callable[[float], str] = two_decimals
) -> str:
    """An onset with its interval, or the side of it that is known; numbers as `tell` has them.

    >>> onset_text(1.5, 1.0, 2.0), onset_text(math.nan, 2.0, math.nan)
    ('1.50 (1.00 to 2.00)', 'above 2.00')
    >>> onset_text(math.nan, math.nan, 0.5), onset_text(math.nan, 1.0, 2.0)
    ('below 0.50', '1.00 to 2.00')
    """
    if math.isnan(low) != math.isnan(high):
        side = f"above {tell(low)}" if math.isnan(high) else f"below {tell(high)}"
        return side if math.isnan(value) else f"{tell(value)} ({side})"
    if math.isnan(value):
        return "–" if math.isnan(low) else f"{tell(low)} to {tell(high)}"
    return tell(value) + ("" if math.isnan(low) else f" ({tell(low)} to {tell(high)})")
