"""Searches whose trials are never run: what each finds is a function of it."""

import dataclasses
import random
from collections.abc import Callable, Mapping

from llfc.specs import Network, Trial
from sweeps.grid.inputs import data_key
from sweeps.grid.options import parse
from sweeps.grid.sweep import Search, Sweep
from sweeps.onset import ONSET
from sweeps.run.plan import Job, plan
from sweeps.search.brackets import Brackets

INPUTS = 500  # training inputs, of five steps an epoch by the usual recipe
# Of twenty epochs, a hundred steps, and without a recheck.
SWEEP = dataclasses.replace(
    ONSET.replace({"architecture": ["mlp"], "width": [1]}), search=Search(recheck=0)
)
Found = tuple[float, float]  # a barrier and its standard error


class Counted:
    """A data set of which only the size is known."""

    def inputs_of(self, network: Network) -> int:
        del network
        return INPUTS


def asked(*words: str) -> tuple[Sweep, list[Trial]]:
    """What `words` on the command line of the sweep make of it."""
    _, sweep, trials = parse(SWEEP, words)
    return sweep, trials


def brackets(
    *words: str,
    known: Mapping[Trial, Found] | None = None,
    read: Callable[[Trial], Found | None] | None = None,
) -> Brackets:
    """The searches that `words` ask for, where the store holds what is `known`, or is `read`."""
    sweep, trials = asked(*words)
    datasets = {data_key(trial.pair.a): Counted() for trial in trials}
    found = Brackets(sweep, trials, datasets, read or (known or {}).get)  # type: ignore[arg-type]
    found.plan = jobs_of
    found.follow()
    return found


def jobs_of(trials) -> list[Job]:
    """The jobs of `trials`, of whose networks none is trained."""
    return plan(trials, trained=lambda _: False, has_state=lambda _: True, cost=lambda _: 1.0)


def run(
    search: Brackets,
    response: Callable[[Trial], Found | None],
    rng: random.Random | None = None,
) -> dict[Trial, Found | None]:
    """Measure what is wanted until nothing is; None fails. With `rng` in a random order."""
    known: dict[Trial, Found | None] = {}
    before = search.read
    search.read = lambda trial: known.get(trial) or before(trial)
    while trials := search.wanted:
        for trial in [rng.choice(trials)] if rng else trials:
            known[trial] = response(trial)
            (job,) = (job for job in jobs_of([trial]) if job.record == trial)
            more = search.ended(job, failed=known[trial] is None)
            assert {j.record for j in more if isinstance(j.record, Trial)} <= set(search.wanted)
    return known


def step_of(trial: Trial) -> int:
    """Where its pair forks, in steps."""
    pair = trial.pair
    if pair.spawn_step is not None:
        return pair.spawn_step
    return (pair.spawn_epoch or 0) * -(-INPUTS // pair.recipe.batch_size)
