"""The sentences of an answer: each reason once, and no more groups than can be read."""

import math

import pandas as pd

from analysis.answer import MOST, within

FEW = "no interval: 1 seed, at least 3 are needed"


def found(*groups, note=FEW):
    """A frame of `correlations`: all trials, and then a row a (group, value, note)."""
    rows = [("all", 0.9, note), *groups]
    return pd.DataFrame(
        {
            "group": [group for group, *_ in rows],
            "method": "Spearman",
            "within": [value for _, value, _ in rows],
            "low": math.nan,
            "high": math.nan,
            "seeds": 1,
            "note": [said for *_, said in rows],
        }
    )


def test_what_was_said_of_all_trials_is_not_said_again():
    frame = found(("a", 0.5, FEW), ("b", 0.7, FEW), ("c", math.nan, "too few"))
    assert within(frame) == " Within groups: a 0.50; b 0.70."


def test_another_reason_is_said():
    frame = found(("a", 0.5, "no interval: the seeds do not differ"), ("b", 0.7, FEW))
    assert within(frame) == (
        " Within groups: a 0.50 (no interval: the seeds do not differ); b 0.70."
    )


def test_of_many_groups_the_lowest_and_the_highest_are_told():
    many = [(f"g{i}", i / 100, FEW) for i in range(MOST + 1)]
    assert within(found(*many)) == f" Within {MOST + 1} groups it is 0.00 (g0) to 0.08 (g{MOST})."
