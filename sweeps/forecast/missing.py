"""What of several sweeps is missing, read from stores and MLflow, which are left as they are."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from analysis.runs.database import check_address, path_of
from llfc.networks.spawning import has_state
from llfc.networks.steps import steps_per_epoch
from llfc.networks.store import Store
from llfc.specs import Network, Trial, fingerprint
from sweeps.grid.settings import Settings
from sweeps.record.measurement import is_whole, saved
from sweeps.run.plan import Job, plan


class Reading(Store):
    """A store that is only read: a damaged file counts as absent, and stays where it is."""

    def __init__(self, root: Path | str) -> None:
        super().__init__(root)
        self._names: dict[str, set[str]] = {}

    def has_tensors(self, kind: str, name: str) -> bool:
        """Whether `kind/name` is here and whole; each folder is listed once."""
        if kind not in self._names:
            self._names[kind] = set(self.names(kind))
        return name in self._names[kind] and super().has_tensors(kind, name)

    def quarantine(self, path: str, reason: str) -> None:
        """Leave it."""


@dataclass
class Planned:
    """What sweeps that are run before leave in a store that has not got it yet."""

    networks: set[str] = field(default_factory=set)
    states: set[Network] = field(default_factory=set)  # as the branches that leave there
    trials: set[str] = field(default_factory=set)


@dataclass(frozen=True, kw_only=True)
class Missing:
    """What a sweep still has to do.

    Attributes:
        jobs: in the order in which they would be dispatched.
        epochs: of each network's job, how many it trains.
        states: of each network's job, how many states it keeps for branches.
        networks_there: networks that are trained, or would be by a sweep before.
        trials_there: trials that are measured, or would be.
    """

    jobs: Sequence[Job]
    epochs: dict[Job, float]
    states: dict[Job, int]
    networks_there: Sequence[Network]
    trials_there: Sequence[Trial]


def missing_of(
    name: str,
    trials: Sequence[Trial],
    settings: Settings,
    planned: Planned,
    inputs: Callable[[Network], int] = lambda network: network.limit_train or 1,
) -> Missing:
    """What the sweep called `name` has to do after those that have `planned` what they leave.

    Args:
        name: the sweep's.
        trials: all of them.
        settings: where its stores are.
        planned: what sweeps before it leave; what this one leaves is added.
        inputs: how many training inputs a network is trained on; asked where it forks at a step.

    Raises:
        ValueError: if MLflow's address is wrong, or its store cannot be read.
    """
    store = Reading(settings.store)
    there, stored = _logged(name, settings) | planned.trials, saved(store)

    def measured(trial: Trial) -> bool:
        name = fingerprint(trial)
        return name in there or (name in stored and is_whole(store, trial))

    def trained(network: Network) -> bool:
        elsewhere = network.weights is not None  # its file is there, or had been refused
        return elsewhere or fingerprint(network) in planned.networks or store.has(network)

    def kept(branch: Network) -> bool:
        branch = replace(branch, shared_data=branch.root.shared_data)  # all leave one trunk
        return branch in planned.states or has_state(branch, store)

    trials_there = [trial for trial in trials if measured(trial)]
    jobs = plan(
        set(trials).difference(trials_there),
        trained=trained,
        has_state=kept,
        cost=lambda network: network.width,
    )
    networks = dict.fromkeys(n for t in trials for n in (t.pair.a, t.pair.b))
    networks_there = [n for n in networks if trained(n)]
    epochs, states = {}, {}
    for job in jobs:
        if isinstance(job.record, Network):
            root = job.record.root
            forks = _forks(job, root)
            ends = [replace(root, spawn_epoch=n) for n in range(root.recipe.epochs + 1)]
            done = {branch for branch in (*ends, *forks) if kept(branch)}
            whole = trained(job.record)
            epochs[job] = _epochs(job.record, forks, done, partial(_place, inputs), whole=whole)
            states[job] = len(set(forks) - done)
    for job in jobs:
        if isinstance(job.record, Network):
            planned.networks.add(job.name)
            planned.states |= set(_forks(job, job.record.root))
        else:
            planned.trials.add(job.name)
    return Missing(
        jobs=jobs,
        epochs=epochs,
        states=states,
        networks_there=networks_there,
        trials_there=trials_there,
    )


def _forks(job: Job, root: Network) -> list[Network]:
    """The branches for which `job` keeps states of `root`."""
    epochs = [replace(root, spawn_epoch=epoch) for epoch in job.keep_epochs]
    return epochs + [replace(root, spawn_step=step) for step in job.keep_steps]


def _place(inputs: Callable[[Network], int], branch: Network) -> float:
    """Where `branch` leaves its root, in epochs."""
    if branch.spawn_step is None:
        return branch.spawn_epoch or 0
    return branch.spawn_step / steps_per_epoch(branch.recipe, inputs(branch))


def _epochs(
    network: Network,
    forks: Iterable[Network],
    done: Iterable[Network],
    place: Callable[[Network], float],
    *,
    whole: bool,
) -> float:
    """How many epochs it takes to train `network`, where its root's states at `done` are there."""
    last = network.recipe.epochs
    if network.is_branch:
        return last - place(network)
    known, total = {0.0, *map(place, done)}, 0.0
    wanted = sorted({*map(place, forks), *(() if whole else (last,))} - known)
    for epoch in wanted:
        total += epoch - max(e for e in known if e <= epoch)
        known.add(epoch)
    return total


def _logged(name: str, settings: Settings) -> set[str]:
    """Fingerprints of the trials whose runs are complete; MLflow is not opened where it is not."""
    check_address(settings.tracking)
    path = path_of(settings.tracking)
    if path is not None and not Path(path).is_file():
        return set()
    from analysis.runs.mlflow import load_runs, sweep_names  # MLflow takes seconds to load

    if name not in sweep_names(settings.tracking):
        return set()
    return set(load_runs(settings.tracking, name).trials.get("fingerprint", ()))
