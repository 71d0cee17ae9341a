"""Bounds of the barrier: their coverage on what they were not made of."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis.runs.schema import BARRIER, LLFC
from analysis.statistics.predictions.conformal import PLACES, bounds, held_elsewhere, upper_bound


@pytest.mark.parametrize("count", [9, 30, 200])
def test_a_new_value_is_below_the_bound_as_often_as_theory_says(count):
    rng = np.random.default_rng(0)
    draws = rng.lognormal(size=(2000, count + 1))
    held = [row[-1] <= upper_bound(row[:-1], 0.9) for row in draws]
    # The k-th of n values exceeds one more with probability k / (n + 1): a beta's mean.
    exact = stats.beta(k := math.ceil(0.9 * (count + 1)), count + 1 - k).mean()
    assert exact >= 0.9
    assert abs(np.mean(held) - exact) < 4 * math.sqrt(exact * (1 - exact) / 2000) + 1e-12


def fabricated(families, seeds=5, shift=0.0):
    rng, rows = np.random.default_rng(1), []
    for family in range(families):
        effect = rng.normal(0, shift)
        for seed in range(seeds):
            for x in rng.random(12):
                y = 2 * x**2 + effect + rng.normal(0, 0.1)
                rows.append({LLFC: x, BARRIER: y, "seed": seed, "architecture": f"net{family}"})
    return pd.DataFrame(rows)


def test_bounds_are_of_the_trials_below_and_their_coverage_of_those_left_out():
    trials = fabricated(4)
    found = bounds(trials).set_index("below")
    assert found.index.tolist() == list(PLACES)
    for below, row in found.iterrows():
        near = trials[trials[LLFC] < below]
        assert row["trials"] == len(near)
        assert row["bound"] == upper_bound(near[BARRIER].to_numpy())
        for name, column in (("seeds", "seed"), ("families", "architecture")):
            held = []
            for group in near[column].unique():
                rest = near[near[column] != group][BARRIER].to_numpy()
                if len(rest) >= 9:
                    own = near[near[column] == group][BARRIER]
                    held.append((own <= upper_bound(rest)).mean())
            assert row[name] == len(held)
            assert row[f"{name}_held"] == pytest.approx(
                np.mean(held) if held else np.nan, nan_ok=True
            )
            assert row[f"{name}_least"] == pytest.approx(min(held, default=np.nan), nan_ok=True)
    assert found.loc[1.0, "seeds_held"] == pytest.approx(0.9, abs=0.05)


def test_that_a_bound_does_not_hold_in_another_family_is_seen():
    alike, unlike = (bounds(fabricated(4, shift=s)).set_index("below") for s in (0, 3))
    assert unlike.loc[1.0, "families_least"] < 0.2 < alike.loc[1.0, "families_least"]
    assert unlike.loc[1.0, "seeds_least"] > 0.7


def test_few_values_bound_nothing():
    assert upper_bound(np.arange(8.0)) == math.inf
    assert held_elsewhere(np.arange(8.0), np.repeat([0, 1], 4), 0.9) == []
