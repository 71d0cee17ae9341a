"""Which cases of a test the quick tests have, where all of them take long."""

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


def spread(first, second):
    """Every third of all combinations, among which each value of both is."""
    return [
        (one, other)
        for i, one in enumerate(first)
        for j, other in enumerate(second)
        if (i + j) % 3 == 0
    ]


def a_third_quick(cases):
    """The cases of a long table, such as operators, of which the quick tests have every third."""
    return slow_unless([*cases][::3], cases)
