"""Matchers that break a law of the contract each, and keep the others as far as they can."""

import torch

from llfc.matching import Permutation
from llfc.symmetry.spec.axes import Factor, axis_size

RECORD = {"iterations": 1}


def stays(a, b, spec, batches, *, seed, **record):
    return Permutation(spec.identity(), RECORD | record)


def turns_round(a, b, spec, batches, *, seed):
    return Permutation({g: units.roll(1) for g, units in spec.identity().items()}, RECORD)


def falls(a, b, spec, batches, *, seed):
    return Permutation(spec.random(0), RECORD | {"objective_before": 1.0, "objective": 0.5})


def boasts(a, b, spec, batches, *, seed):
    return stays(a, b, spec, batches, seed=seed, overlap=1.5)


def counts_wrong(a, b, spec, batches, *, seed):
    return Permutation(spec.random(0), RECORD | {"moved": 1.0})


def certifies(a, b, spec, batches, *, seed):
    return stays(a, b, spec, batches, seed=seed, certificate=1.0)


def forgets(a, b, spec, batches, *, seed):
    return Permutation({group: spec.identity()[group] for group in list(spec.groups)[1:]}, RECORD)


def tampers(a, b, spec, batches, *, seed):
    """The spec no longer says that the first weight moves."""
    name, axes = next(iter(spec.axes.items()))
    spec.axes[name] = tuple(((Factor(axis_size(axis)),),) for axis in axes)
    return Permutation(spec.random(0), RECORD)


def by_chance(a, b, spec, batches, *, seed):
    return Permutation(spec.random(int(torch.randint(2**31, ()))), RECORD)


def by_hash(a, b, spec, batches, *, seed):
    return Permutation(spec.random(abs(hash("matching"))), RECORD)


def nudges(a, b, spec, batches, *, seed):
    next(b.parameters()).data.add_(1e-6)
    return stays(a, b, spec, batches, seed=seed)


def trains(a, b, spec, batches, *, seed):
    b.train()
    return stays(a, b, spec, batches, seed=seed)


def differentiates(a, b, spec, batches, *, seed):
    a(batches[0]).sum().backward()
    return stays(a, b, spec, batches, seed=seed)


def leaves_a_hook(a, b, spec, batches, *, seed):
    """Its hook comes off only if all goes well."""
    handle = a.register_forward_hook(lambda *captured: None)
    for batch in batches:
        a(batch)
    handle.remove()
    return stays(a, b, spec, batches, seed=seed)
