"""Matchers that break a law of the contract each, and keep the others as far as they can."""

import time

import torch

from llfc.matching import Permutation
from llfc.matching.overlap.overlap import Overlap
from llfc.matching.record import with_record
from llfc.symmetry.axes import Factor, axis_size


def recorded(a, b, spec, index, **changed):
    """A permutation with a true record, but for what is said to be changed."""
    overlap = Overlap.of(a, b, spec)
    true = with_record(overlap, index, began=time.perf_counter(), iterations=1)
    return Permutation(true, record={**true.record, **changed})


def stays(a, b, spec, batches, *, seed):
    return recorded(a, b, spec, spec.identity())


def turns_round(a, b, spec, batches, *, seed):
    return recorded(a, b, spec, {g: units.roll(1) for g, units in spec.identity().items()})


def falls(a, b, spec, batches, *, seed):
    return recorded(a, b, spec, spec.random(0), objective_before=1.0, objective=0.5)


def boasts(a, b, spec, batches, *, seed):
    return recorded(a, b, spec, spec.identity(), overlap=1.5)


def says_less(a, b, spec, batches, *, seed):
    found = recorded(a, b, spec, spec.identity())
    return Permutation(found, record={"objective": found.record["objective"]})


def counts_wrong(a, b, spec, batches, *, seed):
    return recorded(a, b, spec, spec.random(0), moved=1.0)


def certifies(a, b, spec, batches, *, seed):
    return recorded(a, b, spec, spec.identity(), certificate=1.0)


def forgets(a, b, spec, batches, *, seed):
    return Permutation({group: spec.identity()[group] for group in list(spec.groups)[1:]})


def tampers(a, b, spec, batches, *, seed):
    """The spec no longer says that the first weight moves."""
    name, axes = next(iter(spec.axes.items()))
    spec.axes[name] = tuple(((Factor(axis_size(axis)),),) for axis in axes)
    return spec.random(0)


def by_chance(a, b, spec, batches, *, seed):
    return spec.random(int(torch.randint(2**31, ())))


def by_hash(a, b, spec, batches, *, seed):
    return spec.random(abs(hash("matching")))


def nudges(a, b, spec, batches, *, seed):
    next(b.parameters()).data.add_(1e-6)
    return stays(a, b, spec, batches, seed=seed)


def trains(a, b, spec, batches, *, seed):
    b.train()
    return stays(a, b, spec, batches, seed=seed)


def differentiates(a, b, spec, batches, *, seed):
    a(batches[0]).sum().backward()
    return stays(a, b, spec, batches, seed=seed)


def listens(a, b, spec, batches, *, seed):
    """Its hook comes off only if all goes well."""
    handle = a.register_forward_hook(lambda *heard: None)
    for batch in batches:
        a(batch)
    handle.remove()
    return stays(a, b, spec, batches, seed=seed)


def takes_anything(a, b, spec, batches, *, seed):
    return spec.identity()
