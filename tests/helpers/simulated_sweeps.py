"""Sweeps drawn from a known law, whose trials share networks: does an interval hold its truth?

A sweep is two numbers, as LLFC error and barrier, for each of CELLS cells of a grid and each of K
seeds, shape [2, K, CELLS]. In every law the cells have means of their own, as widths and matchings
have, and trials of a seed share what they share: an effect of the seed, of the pair, or a slope.
"""

import functools

import numpy as np
from scipy import stats

CELLS = 15  # five pairs a seed, three matchings each
GRID = np.linspace(-1, 1, CELLS)
MANY = 20_000  # seeds whose mean is taken for the truth


def shared_effects(rng, *shape):
    """A seed moves all its trials: an easy test set, a lucky initialisation."""
    seed, trial = rng.normal(0, 0.4, (2, *shape, 1)), rng.normal(0, 0.3, (2, *shape, CELLS))
    return GRID + seed + trial


def shared_networks(rng, *shape):
    """Trials of one pair share both networks; matchings move them apart; skewed, as barriers."""
    pair, trial = rng.normal(0, 0.4, (2, *shape, 5, 1)), rng.normal(0, 0.15, (2, *shape, 5, 3))
    x, y = np.reshape(pair + trial, (2, *shape, CELLS))
    means = np.add.outer(np.linspace(-1, 1, 5), [0, -0.5, -1]).ravel()
    return np.exp([means + x, means + 0.5 * x + y])


def strong(rng, *shape):
    """Barriers over two orders of magnitude, and little noise."""
    seed, trial = rng.normal(0, 0.15, (2, *shape, 1)), rng.normal(0, 0.15, (2, *shape, CELLS))
    x, y = 2 * GRID + seed + trial
    return np.exp([x, 1.5 * y + 0.3 * np.sin(3 * GRID)])


def weak(rng, *shape):
    """Next to no relation within a seed, and large effects of the seed."""
    seed, trial = rng.normal(0, 0.6, (2, *shape, 1)), rng.normal(0, 0.6, (2, *shape, CELLS))
    return 0.3 * GRID + seed + trial


def slopes(rng, *shape):
    """The relation itself differs between seeds, even in sign."""
    x, y = rng.normal(0, 0.4, (2, *shape, CELLS))
    x = GRID + x
    return np.stack([x, rng.normal(0.5, 0.6, (*shape, 1)) * x + y])


def heavy_tails(rng, *shape):
    """Now and then a seed, or a trial, goes wrong."""
    seed, trial = rng.standard_t(3, (2, *shape, 1)), rng.standard_t(3, (2, *shape, CELLS))
    return GRID + 0.3 * (seed + trial)


def few_cells(rng, *shape):
    """Five cells a seed, as one matching over five widths has."""
    seed, trial = rng.normal(0, 0.6, (2, *shape, 1)), rng.normal(0, 0.4, (2, *shape, 5))
    return np.linspace(-1, 1, 5) + seed + trial


def tied(rng, *shape):
    """Connected pairs have barriers of exactly 0: ranks that are nearly, and never, perfect."""
    x, y = rng.normal(0, 0.12, (2, *shape, 9))
    means = np.linspace(-1, 1, 9)
    barrier = np.exp(2 * (means + y))
    barrier[..., :2] = 0
    return np.stack([np.exp(means + x), barrier])


LAWS = (shared_effects, shared_networks, strong, weak, slopes, heavy_tails, few_cells, tied)


def pearson(x, y):
    """Pearson's correlations over the last axis; scipy's, that warn of nothing."""
    return stats.pearsonr(x, y, axis=-1).statistic


def new_families(rng, seeds, families=4, cells=12):
    """Families of networks whose laws differ, each with a slope and a height of its own.

    They are drawn anew for every sweep, and its seeds share them, as in a study. Shape [2, K, C].
    """
    slope, height = rng.normal([[1.4], [1.8]], [[0.5], [1.1]], (2, families))[..., None]
    mean, cell = rng.normal([[[-3]], [[0]]], [[[1.6]], [[0.45]]], (2, families, cells))
    x = mean + rng.normal(0, 0.3, (seeds, families, cells))
    y = height + slope * mean + 1.24 * (x - mean) + cell + rng.normal(0, 0.3, x.shape)
    return np.stack([x, y]).reshape(2, seeds, -1)


def coefficients(sweep, method):
    """Each seed's own correlation, shape [..., K]; as it is, be it 1 or not."""
    return pearson(*(stats.rankdata(sweep, axis=-1) if method == "Spearman" else sweep))


def each_seed(sweep, method):
    """The same, where ranks that agree in all trials are half-way to two neighbours exchanged.

    Fisher's z of 1 is infinite. No other coefficient is touched, so that a truth made of these is
    none that a bound has moved.
    """
    found = coefficients(sweep, method)
    if method != "Spearman":
        return found
    order = np.arange(sweep.shape[-1])
    next_to = stats.spearmanr(order, order[[1, 0, *order[2:]]]).statistic
    return np.where(found > 1 - 1e-12, (1 + next_to) / 2, found)


def all_trials(sweep, method):
    """The correlation over the trials of all seeds, shape [...]."""
    flat = np.reshape(sweep, (*np.shape(sweep)[:-2], -1))
    return pearson(*(stats.rankdata(flat, axis=-1) if method == "Spearman" else flat))


@functools.cache
def truth(law, method):
    """Within a seed and over all trials: what infinitely many seeds would say."""
    sweep = law(np.random.default_rng(0), MANY)
    within = np.tanh(np.arctanh(each_seed(sweep, method)).mean())
    return float(within), float(all_trials(sweep, method))


# Intervals that do not hold their truth as often as they say, for Pearson's correlation over all
# trials; sweeps of shape [2, R, K, C], ends of shape [R].


def taking_trials_for_independent(sweep, rng):
    """Fisher's interval for as many independent trials."""
    del rng
    z = np.arctanh(all_trials(sweep, "Pearson"))
    half = 1.96 / np.sqrt(sweep.shape[2] * sweep.shape[3] - 3)
    return np.tanh(z - half), np.tanh(z + half)


def percentiles_over_seeds(sweep, rng):
    """Percentiles of a bootstrap that draws whole seeds."""
    repeats, seeds = sweep.shape[1:3]
    drawn = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=(repeats, 999))
    found = _from_sums(np.einsum("rbk,rkj->rbj", drawn, _sums(sweep)))
    return tuple(np.nanquantile(found, [0.025, 0.975], axis=1))


def leaving_out_seeds(sweep, rng):
    """The jackknife over seeds on Fisher's z scale, with Student's t."""
    del rng
    sums, seeds = _sums(sweep), sweep.shape[2]
    whole = np.arctanh(_from_sums(sums.sum(1)))[:, None]
    pseudo = seeds * whole - (seeds - 1) * np.arctanh(_from_sums(sums.sum(1, keepdims=True) - sums))
    half = stats.t.ppf(0.975, seeds - 1) * pseudo.std(1, ddof=1) / np.sqrt(seeds)
    return np.tanh(pseudo.mean(1) - half), np.tanh(pseudo.mean(1) + half)


OTHERS = (taking_trials_for_independent, percentiles_over_seeds, leaving_out_seeds)


def _sums(sweep):
    """What a correlation is made of, by seed, shape [R, K, 6]."""
    x, y = sweep
    return np.stack([np.ones_like(x), x, y, x * x, y * y, x * y], axis=-1).sum(-2)


def _from_sums(sums):
    n, x, y, xx, yy, xy = np.moveaxis(sums, -1, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (xy - x * y / n) / np.sqrt((xx - x * x / n) * (yy - y * y / n))
