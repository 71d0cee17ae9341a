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
    most_places,
    next_places,
    worst_places,
)


def searched(verdict, last, measured=None, rng=None):
    """What a search measures where `verdict(place)` is found, from what is measured already.

    With `rng` one of the places asked for ends at a time, in a random order.
    """
    found = dict(measured or {})
    while places := [p for p in next_places(found, last) if p not in found]:
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


@pytest.mark.parametrize("last", [*range(1, 12), 16, 17, 33])
def test_a_search_finds_the_bracket_of_the_whole_grid(last):
    for low, high, verdict in steps(last):
        found = searched(verdict, last)
        grid = {place: verdict(place) for place in range(last + 1)}
        assert bracket(found) == bracket(grid), (low, high)
        assert len(found) <= most_places(last)
        if low == high:  # noise-free: it is bracketed to the resolution, in as many halvings
            assert len(found) <= fewest_places(last) == math.ceil(math.log2(last)) + 2
            below, above = bracket(found)
            assert (-1 if below is None else below) < low <= (last + 1 if above is None else above)
            if 0 < low <= last:
                assert above - below == 1
            else:
                assert len(found) == 2, "an end says it already"


@pytest.mark.parametrize("last", [5, 9, 16])
def test_a_search_goes_on_from_wherever_it_was_stopped(last):
    rng = random.Random(last)
    for _, _, verdict in steps(last):
        whole = searched(verdict, last)
        one_by_one = searched(verdict, last, rng=rng)
        assert one_by_one == whole
        for count in range(len(whole)):  # any beginning of what was done in that order
            begin = dict(list(one_by_one.items())[:count])
            assert searched(verdict, last, begin) == whole


@pytest.mark.parametrize("last", [1, 2, 3, 7])
def test_whatever_is_found_a_search_ends_in_time_with_its_ends_measured(last):
    """Every response at all, monotone or not."""
    for response in itertools.product((NOT_CONNECTED, UNDECIDED, CONNECTED), repeat=last + 1):
        found = searched(response.__getitem__, last)
        assert len(found) <= most_places(last)
        assert {0, last} <= found.keys()
        low, high = bracket(found)
        assert low is None or low == last or low + 1 in found
        assert high is None or high == 0 or high - 1 in found


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
@pytest.mark.parametrize("early", [True, False])
def test_no_search_costs_more_than_the_one_that_a_forecast_counts(last, early):
    def cost(places, known=()):
        """Of places in the order in which they are measured."""
        kept, total = {0, *halves(last), *known}, 0
        for place in places:
            total += last - max(k for k in kept if k <= place) if early else place
            kept.add(place)
        return total

    worst = worst_places({}, last, early=early)
    assert len(set(worst)) == len(worst) <= most_places(last)
    assert max(cost(searched(verdict, last)) for _, _, verdict in steps(last)) <= cost(worst)
    for _, _, verdict in itertools.islice(steps(last), 0, None, 3):  # from anywhere on
        whole = list(searched(verdict, last))
        known = {place: verdict(place) for place in whole[: len(whole) // 2]}
        rest = [place for place in searched(verdict, last, known) if place not in known]
        assert cost(rest, known) <= cost(worst_places(known, last, early=early), known)
