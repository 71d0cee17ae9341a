"""Bisection of an onset, as a function of what is measured: which places are measured next.

Places are indices of a lattice. Both its ends are measured first. Then the onset lies between the
last place that is not connected and the first from which on all that are measured are (see
`analysis.statistics.crossing`), and the middle of that gap is measured next, until no place lies
within. What the test set cannot decide belongs to neither side: both sides of it are bisected then,
so that it widens the bracket and turns no side of it into the other.
"""

import functools
from collections.abc import Mapping

from analysis.statistics.crossing import bracket_in


def next_places(measured: Mapping[int, int], last: int) -> tuple[int, ...]:
    """The places to be measured now; none when the onset is known as closely as can be.

    Args:
        measured: verdicts (`crossing.verdicts`) by place.
        last: the last place of the lattice; its first is 0.

    >>> next_places({}, 8), next_places({0: -1, 8: 1}, 8), next_places({0: -1, 4: 0, 8: 1}, 8)
    ((0, 8), (4,), (2, 6))
    >>> next_places({0: 1, 8: 1}, 8), next_places({0: -1, 8: -1}, 8)
    ((), ())
    """
    if ends := {0, last} - measured.keys():
        return tuple(sorted(ends))
    return tuple(sorted((a + b) // 2 for a, b in set(_gaps(measured)) if b - a > 1))


def _gaps(measured: Mapping[int, int]) -> list[tuple[int, int]]:
    """The gap above the last place that is not connected, and that below where all others are.

    They are one gap, twice, unless something between is undecided; an end that is not there has
    none.
    """
    places = sorted(measured)
    low, high = bracket_in([measured[place] for place in places])
    above = [(places[low], places[low + 1])] if low is not None and low + 1 < len(places) else []
    below = [(places[high - 1], places[high])] if high else []
    return above + below


def halves(last: int) -> list[int]:
    """The places of a search that closes in on its lower end.

    >>> halves(16), halves(1)
    ([8, 4, 2, 1], [])
    """
    return [last >> times for times in range(1, last.bit_length())]


def most_places(last: int) -> int:
    """How many places are measured at most, on a lattice whose last place is `last`.

    Where the first middle is undecided, both halves are bisected to their end.

    >>> most_places(1), most_places(8), most_places(64)
    (2, 7, 13)
    """
    halvings = (last - 1).bit_length()
    return 2 + max(0, 2 * halvings - 1)


def fewest_places(last: int) -> int:
    """How many are measured where the test set decides each: both ends, and one per halving.

    >>> fewest_places(8), fewest_places(64)
    (5, 8)
    """
    return 2 + (last - 1).bit_length()


def worst_places(measured: Mapping[int, int], last: int, *, early: bool) -> list[int]:
    """The places of the costliest search that goes on from `measured`, of any monotone response.

    Args:
        measured: verdicts by place.
        last: the last place of the lattice.
        early: whether a place costs what is left of a training from the last state that is kept
            up to it, at a measured place or one of `halves`; otherwise it costs its number, as a
            width does.
    """
    states = halves(last)

    @functools.cache
    def worst(a: int, b: int, one: bool) -> tuple[int, tuple[int, ...]]:
        """Of the gap from `a` to `b`, which is `one`, or has an undecided place at an end."""
        if b - a <= 1:
            return 0, ()
        middle = (a + b) // 2
        left, right = worst(a, middle, one), worst(middle, b, one)
        ways = [left, right]
        if one:
            lower, upper = worst(a, middle, False), worst(middle, b, False)
            ways.append((lower[0] + upper[0], lower[1] + upper[1]))
        cost, places = max(ways)
        state = max(a, *(place for place in states if place <= middle), 0)
        return cost + (last - state if early else middle), (middle, *places)

    if ends := {0, last} - measured.keys():
        return [*sorted(ends), *worst(0, last, True)[1]]
    gaps = _gaps(measured)
    one = len(gaps) == 2 and gaps[0] == gaps[1]
    return [place for gap in dict.fromkeys(gaps) for place in worst(*gap, one)[1]]
