"""Bisection beside the grid it stands for: the same bracket, from few of its places."""

import itertools
import math
import random

import numpy as np
import pytest

from analysis.statistics.crossing import CONNECTED, NOT_CONNECTED, UNDECIDED, bracket_in, onset_of
from sweeps.search.bisection import (
    fewest_places,
    halves,
    most_further,
    most_places,
    next_places,
    worst_places,
)


def searched(verdict, last, measured=None, rng=None, recheck=0):
    """What a search measures where `verdict(place)` is found, from what is measured already.

    With `rng` one of the places asked for ends at a time, in a random order.
    """
    found = dict(measured or {})
    while places := next_places(found, last, recheck):
        assert not found.keys() & places
        for place in [rng.choice(places)] if rng else places:
            assert 0 <= place <= last
            found[place] = verdict(place)
    return found


def bracket(found):
    places = sorted(found)
    low, high = bracket_in([found[place] for place in places])
    return (None if low is None else places[low], None if high is None else places[high])


def steps(last):
    """Every monotone response: not connected, then undecided, then connected, any of them empty."""
    for low, high in itertools.combinations_with_replacement(range(last + 2), 2):

        def verdict(place, low=low, high=high):
            if place < low:
                return NOT_CONNECTED
            return UNDECIDED if place < high else CONNECTED

        yield low, high, verdict


@pytest.mark.parametrize("recheck", [0, 1, 3])
@pytest.mark.parametrize("last", [*range(1, 12), 16, 17, 33])
def test_a_search_finds_the_bracket_of_the_whole_grid(last, recheck):
    for low, high, verdict in steps(last):
        found = searched(verdict, last, recheck=recheck)
        grid = {place: verdict(place) for place in range(last + 1)}
        assert bracket(found) == bracket(grid), (low, high)
        assert len(found) <= most_places(last, recheck)
        if low == high:  # noise-free: it is bracketed to the resolution, in as many halvings
            fewest = math.ceil(math.log2(last)) + 2 + recheck
            assert len(found) <= fewest_places(last, recheck) == min(fewest, last + 1)
            below, above = bracket(found)
            assert (-1 if below is None else below) < low <= (last + 1 if above is None else above)
            if 0 < low <= last:
                assert above - below == 1
            else:
                more = min(recheck, last - 1) if low == 0 else 0
                assert len(found) == 2 + more, "an end says it already"


def any_responses(last, count):
    """Responses that are monotone nowhere."""
    rng = random.Random(last)
    for _ in range(count):
        yield rng.choices((NOT_CONNECTED, UNDECIDED, CONNECTED), (1, 1, 3), k=last + 1).__getitem__


@pytest.mark.parametrize("recheck", [0, 3])
@pytest.mark.parametrize("last", [5, 9, 16])
def test_a_search_goes_on_from_wherever_it_was_stopped(last, recheck):
    rng = random.Random(last)
    for verdict in [*(verdict for _, _, verdict in steps(last)), *any_responses(last, 50)]:
        whole = searched(verdict, last, recheck=recheck)
        one_by_one = searched(verdict, last, rng=rng, recheck=recheck)
        assert one_by_one == whole
        for count in range(len(whole)):  # any beginning of what was done in that order
            begin = dict(list(one_by_one.items())[:count])
            assert searched(verdict, last, begin, recheck=recheck) == whole


@pytest.mark.parametrize("recheck", [0, 1, 2, 3])
@pytest.mark.parametrize("last", [1, 2, 3, 7])
def test_whatever_is_found_a_search_ends_in_time_with_its_ends_measured(last, recheck):
    """Every response at all, monotone or not."""
    for response in itertools.product((NOT_CONNECTED, UNDECIDED, CONNECTED), repeat=last + 1):
        found = searched(response.__getitem__, last, recheck=recheck)
        assert len(found) <= most_places(last, recheck) + most_further(last, recheck) <= last + 1
        assert {0, last} <= found.keys()
        low, high = bracket(found)
        assert low is None or low == last or low + 1 in found
        assert high is None or high == 0 or high - 1 in found


@pytest.mark.parametrize("recheck", [1, 2, 3, 5])
@pytest.mark.parametrize("last", [7, 16, 64])
def test_a_recheck_measures_what_it_promises_above_each_bracket(last, recheck):
    responses = [*(verdict for _, _, verdict in itertools.islice(steps(last), 0, None, 7))]
    for verdict in [*responses, *any_responses(last, 100)]:
        closed, found = searched(verdict, last), searched(verdict, last, recheck=recheck)
        assert closed.items() <= found.items()
        _, high = bracket(closed)
        if high is None:
            assert found == closed, "nothing is stable up to the end"
            continue
        free = set(range(high, last)) - closed.keys()
        promised = set(list(found)[len(closed) :][: min(recheck, len(free))])
        assert len(promised) == min(recheck, len(free))
        assert promised <= free
        assert len(found) <= most_places(last, recheck) + most_further(last, recheck)
        # No gap that is left is wider than both halves of any that was split.
        above = sorted({place for place in closed if place >= high} | promised)
        widest = max((b - a for a, b in itertools.pairwise(above)), default=0)
        for place in promised:
            at = above.index(place)
            assert widest <= above[at + 1] - above[at - 1]


def test_only_a_recheck_meets_a_place_that_is_not_connected_above_the_bracket():
    """The bracket is then that of the last crossing, as `onset_of` has it of the whole grid."""

    def verdict(place):
        return CONNECTED if 5 <= place < 40 or place >= 52 else NOT_CONNECTED

    assert bracket(searched(verdict, 64)) == (4, 5)
    found = searched(verdict, 64, recheck=3)
    assert bracket(found) == bracket({place: verdict(place) for place in range(65)}) == (51, 52)


def test_a_connected_place_below_one_that_is_not_is_reported():
    """The ends are measured, so a response that falls again by the end is seen."""
    found = searched([1, 1, 1, -1].__getitem__, 3)
    places = np.array(sorted(found), dtype=float)
    barriers = np.array([0.0 if found[place] == CONNECTED else 1.0 for place in sorted(found)])
    onset = onset_of(places, barriers, np.zeros(len(places)), 0.5)
    assert (onset.low, onset.high, onset.monotone) == (3.0, math.inf, False)


def test_a_fine_search_takes_an_eighth_of_its_grid_at_most():
    for last in (128, 1024):
        assert most_places(last) / (last + 1) < 1 / 8
        assert fewest_places(last) == math.log2(last) + 2


@pytest.mark.parametrize("last", [1, 2, 5, 8, 13, 16])
@pytest.mark.parametrize("recheck", [0, 1, 3])
@pytest.mark.parametrize("early", [True, False])
def test_no_search_costs_more_than_the_one_that_a_forecast_counts(last, early, recheck):
    def cost(places, known=()):
        """Of places in the order in which they are measured."""
        kept, total = {0, *halves(last), *known}, 0
        for place in places:
            total += last - max(k for k in kept if k <= place) if early else place
            kept.add(place)
        return total

    how = {"early": early, "recheck": recheck}
    worst = worst_places({}, last, **how)
    assert len(set(worst)) == len(worst) <= most_places(last, recheck)
    every = [searched(verdict, last, recheck=recheck) for _, _, verdict in steps(last)]
    assert max(map(cost, every)) <= cost(worst)
    for whole in every[::3]:  # from anywhere on
        for done in {len(whole) // 2, len(whole) - 1}:
            known = dict(list(whole.items())[:done])
            rest = [place for place in whole if place not in known]
            assert cost(rest, known) <= cost(worst_places(known, last, **how), known)
