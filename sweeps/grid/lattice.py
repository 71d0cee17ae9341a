"""The places at which a search may measure: values of its axis, equally far apart."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llfc.names import lookup
from llfc.specs import Recipe, Trial
from sweeps.grid.sweep import SPAWN, Sweep

# The axes of numbers along which an onset can be searched, with the type of their values.
SEARCHED: Mapping[str, type] = {
    **dict.fromkeys(SPAWN, int),
    "width": float,
    "epochs": int,
    "batch_size": int,
    **dict.fromkeys(("lr", "momentum", "weight_decay", "warmup"), float),
}
STEPS = 64  # of a search without a resolution, from one end to the other


@dataclass(frozen=True)
class Lattice:
    """Values from `first` to `last`, `resolution` apart; the last two may be closer.

    Attributes:
        first: the lower end.
        last: the upper end.
        resolution: positive.
    """

    first: float
    last: float
    resolution: float

    @property
    def end(self) -> int:
        """The place of the last value; that of the first is 0."""
        return math.ceil(round((self.last - self.first) / self.resolution, 9))

    def value(self, place: int) -> float:
        """The value at `place`; whole where both ends and the resolution are.

        >>> [Lattice(0, 10, 4).value(place) for place in range(4)], Lattice(0.1, 0.7, 0.1).value(2)
        ([0, 4, 8, 10], 0.3)
        """
        if place == self.end:
            return self.last
        found = self.first + place * self.resolution
        return found if isinstance(found, int) else float(f"{found:.12g}")


def check_search(sweep: Sweep) -> None:
    """See that a search can be made of `sweep`.

    Raises:
        ValueError: if its axis is none of numbers, its ends are not two of them in their order, or
            its resolution is none for this axis.
    """
    kind = lookup("axis of a search", sweep.x, SEARCHED)
    ends = sweep.axes.get(sweep.x, ())
    least = 1 if sweep.x in SPAWN else 2
    if None in ends or not least <= len(ends) <= 2 or list(ends) != sorted(set(ends)):
        more = " (the second, if it is not given, is the training's end)" if least == 1 else ""
        shown = " ".join("none" if end is None else f"{end:g}" for end in ends) or "nothing"
        raise ValueError(
            f"{sweep.x} must be the two ends of the search, the lower one first{more}, got {shown}"
        )
    step = sweep.search.resolution if sweep.search else None
    if kind is int and step is not None and not float(step).is_integer():
        raise ValueError(f"resolution must be a whole number along {sweep.x}, got {step:g}")


def lattice_of(sweep: Sweep, recipe: Recipe, steps: int) -> Lattice:
    """The lattice of `sweep` for networks trained by `recipe`, with `steps` steps an epoch."""
    ends: Sequence[float] = sweep.axes[sweep.x]
    whole = {"spawn_epoch": recipe.epochs, "spawn_step": recipe.epochs * steps}
    first, last = ends if len(ends) == 2 else (ends[0], whole[sweep.x])
    resolution = (sweep.search.resolution if sweep.search else None) or (last - first) / STEPS
    if SEARCHED[sweep.x] is int:
        resolution = max(1, math.ceil(resolution))
    return Lattice(first, max(last, first), resolution)


def at(trial: Trial, axis: str, value: float) -> Trial:
    """`trial` with `value` on `axis`."""
    changes: dict[str, Any] = {axis: value}
    pair = trial.pair
    if axis in SPAWN:
        pair = dataclasses.replace(pair, **{**dict.fromkeys(SPAWN), **changes})
    elif axis in {field.name for field in dataclasses.fields(Recipe)}:
        pair = dataclasses.replace(pair, recipe=dataclasses.replace(pair.recipe, **changes))
    else:
        pair = dataclasses.replace(pair, **changes)
    return dataclasses.replace(trial, pair=pair)
