"""Which cases of a test the quick tests have, where all of them take long."""

import itertools

import pytest


def slow_unless(quick, cases, exhaustive=()):
    """`cases` as parameters, marked slow but for those in `quick`; a tuple is of several.

    Those in `exhaustive` are marked so too.
    """

    def marks(case):
        slow = [] if case in quick else [pytest.mark.slow]
        return slow + [pytest.mark.exhaustive] * (case in exhaustive)

    return [
        pytest.param(*(case if isinstance(case, tuple) else (case,)), marks=marks(case))
        for case in cases
    ]


def a_third_slow(quick, first, second):
    """All combinations of two; exhaustive, but for every third, which have each value of both."""
    cases = [*itertools.product(first, second)]
    places = itertools.product(range(len(first)), range(len(second)))
    others = {case for case, place in zip(cases, places, strict=True) if sum(place) % 3}
    return slow_unless(quick, cases, others - {*quick})


def a_third_quick(cases):
    """The cases of a long table, such as operators, of which the quick tests have every third."""
    return slow_unless([*cases][::3], cases)
