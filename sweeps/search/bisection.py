"""Bisection of an onset, as a function of what is measured: which places are measured next.

Places are indices of a lattice. Both its ends are measured first. Then the onset lies between the
last place that is not connected and the first from which on all that are measured are (see
`analysis.statistics.crossing`), and the middle of that gap is measured next, until no place lies
within. What the test set cannot decide belongs to neither side: both sides of it are bisected then,
so that it widens the bracket and turns no side of it into the other.

Above the bracket little was measured. A recheck measures some places there, so that a response that
is connected, not connected and connected again is met where they lie, and nowhere else.
"""

import bisect
import functools
import itertools
from collections.abc import Iterable, Mapping

from analysis.statistics.crossing import CONNECTED, bracket_in


def next_places(measured: Mapping[int, int], last: int, recheck: int = 0) -> tuple[int, ...]:
    """The places to be measured now; none when the onset is known as closely as can be.

    Args:
        measured: verdicts (`crossing.verdicts`) by place; those that no search asks for are as if
            they were not there.
        last: the last place of the lattice; its first is 0.
        recheck: how many places above the bracket are measured once it is closed, in the middles
            of the widest gaps. Where one is not connected after all, or undecided, the gap above it
            is bisected as before: the bracket is that of the last crossing among all places
            measured. They are asked for once.

    >>> next_places({}, 8), next_places({0: -1, 8: 1}, 8), next_places({0: -1, 4: 0, 8: 1}, 8)
    ((0, 8), (4,), (2, 6))
    >>> next_places({0: 1, 8: 1}, 8), next_places({0: -1, 8: -1}, 8)
    ((), ())
    >>> next_places({0: 1, 8: 1}, 8, 3), next_places({0: 1, 8: 1, 2: 1, 4: -1, 6: 1}, 8, 3)
    ((2, 4, 6), (5,))
    """
    known, wanted = _closed({}, measured, last)
    if wanted:
        return wanted
    beyond = _beyond(known, recheck)
    if wanted := _not_in(measured, beyond):
        return wanted
    return _closed(known | {place: measured[place] for place in beyond}, measured, last)[1]


def _closed(
    known: dict[int, int], measured: Mapping[int, int], last: int
) -> tuple[dict[int, int], tuple[int, ...]]:
    """Bisects from what is `known` on, as far as `measured` goes: what it knows and wants then."""
    while places := _middles(known, last):
        if wanted := _not_in(measured, places):
            return known, wanted
        known = known | {place: measured[place] for place in places}
    return known, ()


def _not_in(measured: Mapping[int, int], places: Iterable[int]) -> tuple[int, ...]:
    return tuple(place for place in places if place not in measured)


def _middles(known: Mapping[int, int], last: int) -> tuple[int, ...]:
    """Both ends, and then the middle of each gap that is left."""
    if ends := {0, last} - known.keys():
        return tuple(sorted(ends))
    return tuple(sorted((a + b) // 2 for a, b in set(_gaps(known)) if b - a > 1))


def _beyond(known: Mapping[int, int], count: int) -> tuple[int, ...]:
    """The places of a recheck above the bracket that is `known`; none if it has no upper end."""
    places = sorted(known)
    _, high = bracket_in([known[place] for place in places])
    return () if high is None else widest_middles(places[high:], count)


def widest_middles(places: Iterable[int], count: int) -> tuple[int, ...]:
    """`count` further places, each in the middle of the widest gap; of equal ones the lowest.

    Fewer if nothing is left between them.

    >>> widest_middles([0, 8], 3), widest_middles([1, 4, 8, 16], 3), widest_middles([6, 8], 3)
    ((2, 4, 6), (6, 10, 12), (7,))
    """
    there, found = sorted(places), list[int]()
    for _ in range(count):
        width, below = max(((b - a, -a) for a, b in itertools.pairwise(there)), default=(0, 0))
        if width <= 1:
            break
        found.append(-below + width // 2)
        bisect.insort(there, found[-1])
    return tuple(sorted(found))


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


def most_places(last: int, recheck: int = 0) -> int:
    """How many places are measured at most, of a response that stays connected once it is.

    On a lattice whose last place is `last`. Where the first middle is undecided, both halves are
    bisected to their end.

    >>> most_places(1), most_places(8), most_places(64), most_places(64, 3)
    (2, 7, 13, 16)
    """
    return min(last + 1, 2 + max(0, 2 * _halvings(last) - 1) + recheck)


def most_further(last: int, recheck: int) -> int:
    """How many more at most, of any other response, as a recheck finds it not connected again.

    A gap above a place that is not, and one above a place that is undecided, are bisected then; the
    recheck has left none of more than a half of the lattice, three places none of more than a
    quarter.

    >>> most_further(64, 0), most_further(64, 1), most_further(64, 3)
    (0, 10, 8)
    """
    left = max(0, _halvings(last) - (recheck + 1).bit_length() + 1)
    return min(2 * left, last + 1 - most_places(last, recheck)) if recheck else 0


def fewest_places(last: int, recheck: int = 0) -> int:
    """How many are measured where the test set decides each, and what is connected stays so.

    Both ends, one per halving, and those of a recheck.

    >>> fewest_places(8), fewest_places(64), fewest_places(64, 3)
    (5, 8, 11)
    """
    return min(last + 1, 2 + _halvings(last) + recheck)


def _halvings(last: int) -> int:
    return (last - 1).bit_length()


def worst_places(
    measured: Mapping[int, int], last: int, *, early: bool, recheck: int = 0
) -> list[int]:
    """The places of the costliest search that goes on from `measured`, of any monotone response.

    Args:
        measured: verdicts by place.
        last: the last place of the lattice.
        early: whether a place costs what is left of a training from the last state that is kept
            up to it, at a measured place or one of `halves`; otherwise it costs its number, as a
            width does.
        recheck: as for `next_places`.
    """
    states = halves(last)

    def cost(place: int, kept: Iterable[int]) -> int:
        return last - max(p for p in (0, *kept, *states) if p <= place) if early else place

    def rechecked(above: tuple[int, ...]) -> tuple[int, tuple[int, ...]]:
        places = widest_middles(above, 0 if closed else recheck)
        kept = [(*above, *places[:count]) for count in range(len(places))]
        return sum(map(cost, places, kept)), places

    @functools.cache
    def worst(
        a: int, b: int, above: tuple[int, ...], one: bool, top: bool
    ) -> tuple[int, tuple[int, ...]]:
        """Of the gap from `a` to `b`, which is `one`, or has an undecided place at an end.

        Where it is the `top` one, all that are measured `above` it are connected.
        """
        if b - a <= 1:
            return rechecked(above) if top else (0, ())
        middle = (a + b) // 2
        ways = [worst(a, middle, (middle, *above), one, top), worst(middle, b, above, one, top)]
        if one:
            lower, upper = worst(a, middle, (), False, False), worst(middle, b, above, False, top)
            ways.append((lower[0] + upper[0], lower[1] + upper[1]))
        more, places = max(ways)
        return more + cost(middle, (a,)), (middle, *places)

    known, wanted = _closed({}, measured, last)
    closed = not wanted
    if ends := {0, last} - measured.keys():
        return [*sorted(ends), *worst(0, last, (last,), True, True)[1]]
    found = list(_not_in(measured, _beyond(known, recheck))) if closed else []
    gaps = _gaps(measured)
    one = len(gaps) == 2 and gaps[0] == gaps[1]
    for a, b in dict.fromkeys(gaps):
        above = tuple(place for place in sorted(measured) if place >= b)
        top = all(measured[place] == CONNECTED for place in above)
        found += worst(a, b, above, one, top)[1]
    return list(dict.fromkeys(found))
