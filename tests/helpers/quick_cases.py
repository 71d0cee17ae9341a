"""Which cases of a test the quick tests have, where all of them take long."""

import pytest


def slow_unless(quick, cases):
    """`cases` as parameters, marked slow but for those in `quick`; a tuple is of several."""
    return [
        pytest.param(
            *(case if isinstance(case, tuple) else (case,)),
            marks=[] if case in quick else pytest.mark.slow,
        )
        for case in cases
    ]
