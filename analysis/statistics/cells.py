"""Are barrier and LLFC error associated within cells of the grid, or only between cells?

A cell is one setting of everything but the seed. Cells differ by design - a spawned pair has
neither barrier nor LLFC error, an independent one has both - so a correlation over the grid may be
entirely between cells. Within a cell only chance differs, and the question is with which power of
the LLFC error the barrier rises.

References:
    van de Pol & Wright, A Simple Method for Distinguishing Within- versus Between-Subject Effects
    Using Mixed Models, Animal Behaviour 77, 2009: the two slopes.
    Bates, Mächler, Bolker & Walker, Fitting Linear Mixed-Effects Models Using lme4, Journal of
    Statistical Software 67, 2015: effects that cross.
"""

import math
import warnings
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats
from statsmodels.regression.mixed_linear_model import MixedLM

from analysis.runs.grid import FAMILY
from analysis.runs.pairs import cell_columns, counted_once, group_index, pair_columns
from analysis.statistics.over_seeds import LEVEL, RELATIVE_ROUNDING

LEVELS = ("within a cell", "between cells")
LEAST_CELLS = 3
# Of one family, as the fit's time grows with the cube of its trials: these take a few seconds.
MOST_TRIALS = 400
# What trials share: the components of the variance. They cross one another inside a family.
SHARED = ("cell", "seed", "pair")


def within_cells(trials: pd.DataFrame, x: str, y: str) -> pd.DataFrame:
    """The association of `y` with `x` within the cells of the grid, and between them.

    A mixed model, fitted by restricted maximum likelihood: log y on the cell mean of log x and on
    the deviation of log x from it, with random effects of the cell, of the seed within its family
    and of the pair, which trials share. Intervals are Wald's.

    A number that is not positive, as a barrier of 0, has no logarithm. A cell with one is left out
    as a whole: dropping its zeros only would select trials by the outcome. Of a family
    with more than MOST_TRIALS trials, whole cells are drawn at random; where a cell alone would
    have more than an eighth of these, whole seeds before.

    Args:
        trials: one row per trial.
        x: a column, such as "llfc_error_mean".
        y: a column, such as "test_loss_chord".

    Returns:
        One row per `place` of LEVELS: `slope`, the power of x with which y rises, its 95 % interval
        `low` and `high`, `p` that it is 0, `note`, why there is none; `trials`, `cells` and `seeds`
        that the slopes rest on and `left_out`, the other trials; `share`, how much of the
        covariance of the ranks of x and y is there, over the `ranked` trials, of cells with two at
        least; above 1 if both places disagree in sign, NaN if nothing goes together.
    """
    finite = np.isfinite(trials[[x, y]].to_numpy(dtype=float)).all(axis=1)
    frame = _frame(counted_once(trials[finite], x, y), x, y)
    ranked, fitted = _repeated(frame), _drawn(_fewer_seeds(_repeated(_positive(frame))))
    between = _between(ranked)
    note = _unfit(frame["seed"].nunique(), fitted)
    return _slopes(fitted, note).assign(
        trials=len(fitted),
        cells=fitted["cell"].nunique(),
        seeds=fitted["seed"].nunique(),
        left_out=len(frame) - len(fitted),
        share=[1 - between, between],
        ranked=len(ranked),
    )


def _frame(trials: pd.DataFrame, x: str, y: str) -> pd.DataFrame:
    """Both columns, with cell, seed and pair as integer codes."""
    family = [name for name in FAMILY if name in trials]
    return pd.DataFrame(
        {
            "x": trials[x].to_numpy(dtype=float),
            "y": trials[y].to_numpy(dtype=float),
            "family": group_index(trials, family),
            "cell": group_index(trials, cell_columns(trials)),
            "seed": group_index(trials, ["seed"]),
            "pair": group_index(trials, pair_columns(trials)),
        }
    )


def _repeated(frame: pd.DataFrame) -> pd.DataFrame:
    """The trials of cells with at least two; a single one has no deviation from its cell's mean."""
    kept: pd.DataFrame = frame[frame.groupby("cell")["x"].transform("size") > 1]
    return kept


def _positive(frame: pd.DataFrame) -> pd.DataFrame:
    """The trials of cells in which both columns are positive throughout."""
    least = frame[["x", "y"]].min(axis=1).groupby(frame["cell"]).transform("min")
    kept: pd.DataFrame = frame[least > 0]
    return kept


def _fewer_seeds(frame: pd.DataFrame) -> pd.DataFrame:
    """A random subset of every family's seeds, so small that eight of its largest cells fit."""
    kept = []
    for _, family in frame.groupby("family"):
        share = MOST_TRIALS // 8 / family.groupby("cell").size().max()
        seeds = np.random.default_rng(0).permutation(family["seed"].unique())
        some = seeds[: math.floor(len(seeds) * min(1.0, share))]
        kept.append(family[family["seed"].isin(some)])
    return pd.concat(kept) if kept else frame


def _drawn(frame: pd.DataFrame) -> pd.DataFrame:
    """A random subset of every family's cells, with at most MOST_TRIALS trials together."""
    cells = frame["cell"].unique()
    order = dict(zip(cells, np.random.default_rng(0).permutation(len(cells)), strict=True))
    shuffled = frame.assign(order=frame["cell"].map(order)).sort_values("order", kind="stable")
    sizes = shuffled.groupby(["family", "order"])["x"].transform("size")
    before = shuffled.groupby("family").cumcount() - shuffled.groupby("cell").cumcount()
    return shuffled[before + sizes <= MOST_TRIALS].drop(columns="order").sort_index()


def _between(frame: pd.DataFrame) -> float:
    """The share of the covariance of the ranks that cells' means have."""
    if frame["cell"].nunique() < LEAST_CELLS:
        return math.nan
    ranks = frame[["x", "y"]].rank()
    ranks -= ranks.mean()
    means = ranks.groupby(frame["cell"]).transform("mean")
    whole = float((ranks["x"] * ranks["y"]).sum())
    if abs(whole) <= RELATIVE_ROUNDING * len(frame) ** 3:
        return math.nan
    return float((means["x"] * means["y"]).sum()) / whole


def _slopes(frame: pd.DataFrame, note: str) -> pd.DataFrame:
    """One row per place, from positive columns x and y, unless there is a note why not."""
    found = None
    if not note:
        found = _fit(frame)
        note = "" if found is not None else "no slope: the mixed model has no answer"
    if found is None:
        nothing = dict.fromkeys(("slope", "low", "high", "p"), math.nan)
        return pd.DataFrame({"place": LEVELS, **nothing, "note": note})
    slope, error = (np.asarray(each)[1:3] for each in (found.fe_params, found.bse_fe))
    half = stats.norm.ppf((1 + LEVEL) / 2) * error
    p = 2 * stats.norm.sf(np.abs(slope / error))
    ends = {"low": slope - half, "high": slope + half}
    return pd.DataFrame({"place": LEVELS, "slope": slope, **ends, "p": p, "note": ""})


def _unfit(seeds: int, frame: pd.DataFrame) -> str:
    """Why no slopes can be fitted to the remaining trials; empty if they can."""
    cells = frame["cell"].nunique()
    if seeds < 2:
        return f"no slope: {seeds} seed{'s'[: seeds != 1]}, at least 2 are needed"
    if cells < LEAST_CELLS:
        return (
            f"no slope: {cells} cell{'s'[: cells != 1]} of positive numbers in two trials or more,"
            f" at least {LEAST_CELLS} are needed"
        )
    means = np.log(frame["x"]).groupby(frame["cell"]).transform("mean")
    spreads = [np.ptp(means), np.ptp(np.log(frame["x"]) - means), np.ptp(np.log(frame["y"]))]
    return "no slope: a column does not vary" if min(spreads) <= RELATIVE_ROUNDING else ""


def _fit(frame: pd.DataFrame) -> Any:
    """The mixed model's result; None if it has none with standard errors."""
    x = np.log(frame["x"])
    mean = x.groupby(frame["cell"]).transform("mean")
    data = frame.assign(y=np.log(frame["y"]), own=x - mean, mean=mean)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a component of 0 is at the boundary, and an answer
        try:
            found = MixedLM.from_formula(
                "y ~ own + mean",
                data,
                groups="family",
                re_formula="0",
                vc_formula={name: f"0 + C({name})" for name in _components(frame)},
            ).fit(method=["powell"])  # needs no gradient, which has no zero at the boundary
            known = found.converged and np.isfinite([*found.fe_params, *found.bse_fe]).all()
        except (np.linalg.LinAlgError, ValueError):
            return None
    return found if known else None


def _components(frame: pd.DataFrame) -> list[str]:
    """The random effects of SHARED that are identifiable: distinct from residual and each other."""
    groups = {name: group_index(frame, ["family", name]) for name in SHARED}
    several = [name for name in SHARED if len(set(groups[name])) < len(frame)]
    return [
        name
        for place, name in enumerate(several)
        if not any(_alike(groups[name], groups[other]) for other in several[:place])
    ]


def _alike(one: NDArray[np.integer], other: NDArray[np.integer]) -> bool:
    """Whether both codes partition the trials in the same way."""
    return len(set(zip(one, other, strict=True))) == len(set(one)) == len(set(other))
