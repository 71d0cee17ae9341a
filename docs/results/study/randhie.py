"""Visits to a doctor in the RAND Health Insurance Experiment, of statsmodels: a regression."""

import numpy as np
from statsmodels.datasets import randhie


def load() -> dict[str, np.ndarray]:
    """Nine numbers of 20 190 persons' years, and log(1 + visits); a fifth is for testing.

    Reference:
        Newhouse and the Insurance Experiment Group, Free for All?, Harvard University Press, 1993.
    """
    table = randhie.load_pandas()
    inputs = table.exog.to_numpy(dtype=float)
    targets = np.log1p(table.endog.to_numpy(dtype=float))
    order = np.random.default_rng(0).permutation(len(targets))
    first = len(order) * 4 // 5
    parts = {"train": order[:first], "test": order[first:]}
    rows = {f"{split}_inputs": inputs[places] for split, places in parts.items()}
    return rows | {f"{split}_targets": targets[places] for split, places in parts.items()}
