"""How often 95 % intervals hold the truth in simulated sweeps whose trials share networks.

For each law of tests/helpers/simulated_sweeps.py and number of seeds, in per cent of the sweeps:

- seeds: Student's t over the seeds' own correlations, which is what `analysis` gives;
- naive, bootstrap, jackknife: of Pearson's correlation over all trials, from taking trials for
  independent, from drawing whole seeds, and from leaving out a seed at a time.

Run: python tests/benchmarks/bench_coverage.py [--sweeps N]
"""

import argparse
import time

import numpy as np

from analysis.statistics.coefficients import clip, step
from analysis.statistics.over_seeds import over_seeds
from tests.helpers.simulated_sweeps import LAWS, OTHERS, coefficients, tied, truth

SEEDS = (3, 5, 8, 12)


def by_seeds(law, seeds: int, sweeps: int, method: str) -> float:
    """The share of sweeps whose interval holds the truth, of those that have one."""
    drawn = law(np.random.default_rng(seeds), sweeps, seeds)
    steps = step(method, drawn.shape[-1], tied=law is tied)
    found = [over_seeds(clip(each, steps), "fisher") for each in coefficients(drawn, method)]
    within, _ = truth(law, method)
    return np.mean([one.low <= within <= one.high for one in found if not one.note])


def by_trials(interval, law, seeds: int, sweeps: int) -> float:
    """The share of sweeps in which an interval over all trials holds the truth."""
    rng = np.random.default_rng(seeds)
    low, high = interval(law(rng, min(sweeps, 1000), seeds), rng)
    _, pooled = truth(law, "Pearson")
    return np.mean((low <= pooled) & (pooled <= high))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sweeps", type=int, default=1000)
    options = parser.parse_args()
    began = time.perf_counter()
    names = ("seeds, Spearman", "seeds, Pearson", "naive", "bootstrap", "jackknife")
    print(f"{'law':16} {'seeds':>5}", *(f"{name:>16}" for name in names))
    for law in LAWS:
        for seeds in SEEDS:
            shares = [by_seeds(law, seeds, options.sweeps, m) for m in ("Spearman", "Pearson")]
            shares += [by_trials(interval, law, seeds, options.sweeps) for interval in OTHERS]
            print(f"{law.__name__:16} {seeds:5}", *(f"{100 * share:16.1f}" for share in shares))
    print(f"{time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
