"""What of several sweeps is missing, read from stores and MLflow, which are left as they are."""

from collections.abc import Callable, Sequence
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
    there = _There(Reading(settings.store), planned, _logged(name, settings))
    trials_there = [trial for trial in trials if there.measured(trial)]
    jobs = plan(
        set(trials).difference(trials_there),
        trained=there.trained,
        has_state=there.kept,
        cost=lambda network: network.width,
    )
    networks = dict.fromkeys(n for t in trials for n in (t.pair.a, t.pair.b))
    trainings = {job: job.record for job in jobs if isinstance(job.record, Network)}
    missing = Missing(
        jobs=jobs,
        epochs={
            job: there.epochs(job, network, partial(_place, inputs))
            for job, network in trainings.items()
        },
        states={
            job: len(set(_forks(job, n)) - there.states(job, n)) for job, n in trainings.items()
        },
        networks_there=[network for network in networks if there.trained(network)],
        trials_there=trials_there,
    )
    planned.trials |= {job.name for job in jobs if job not in trainings}
    planned.networks |= {job.name for job in trainings}
    planned.states |= {fork for job, network in trainings.items() for fork in _forks(job, network)}
    return missing


class _There:
    """What is there already, or will be once the sweeps before have run.

    Args:
        store: of networks, states and results.
        planned: what the sweeps before leave.
        logged: fingerprints of the trials whose runs are complete.
    """

    def __init__(self, store: Store, planned: Planned, logged: set[str]) -> None:
        self._store, self._planned = store, planned
        self._logged, self._stored = logged, saved(store)

    def measured(self, trial: Trial) -> bool:
        name = fingerprint(trial)
        if name in self._logged or name in self._planned.trials:
            return True
        return name in self._stored and is_whole(self._store, trial)

    def trained(self, network: Network) -> bool:
        elsewhere = network.weights is not None  # its file is there, or had been refused
        planned = fingerprint(network) in self._planned.networks
        return elsewhere or planned or self._store.has(network)

    def kept(self, branch: Network) -> bool:
        branch = replace(branch, shared_data=branch.root.shared_data)  # all leave one trunk
        return branch in self._planned.states or has_state(branch, self._store)

    def states(self, job: Job, network: Network) -> set[Network]:
        """The root's states that are kept, as the branches that leave there."""
        root = network.root
        ends = [replace(root, spawn_epoch=n) for n in range(root.recipe.epochs + 1)]
        return {branch for branch in (*ends, *_forks(job, network)) if self.kept(branch)}

    def epochs(self, job: Job, network: Network, place: Callable[[Network], float]) -> float:
        """How many epochs `job` trains, from where its root's states are."""
        last = network.recipe.epochs
        if network.is_branch:
            return last - place(network)
        known, total = {0.0, *map(place, self.states(job, network))}, 0.0
        end = () if self.trained(network) else (last,)
        for epoch in sorted({*map(place, _forks(job, network)), *end} - known):
            total += epoch - max(e for e in known if e <= epoch)
            known.add(epoch)
        return total


def _forks(job: Job, network: Network) -> list[Network]:
    """The branches for which `job`, which trains `network`, keeps states of its root."""
    root = network.root
    epochs = [replace(root, spawn_epoch=epoch) for epoch in job.keep_epochs]
    return epochs + [replace(root, spawn_step=step) for step in job.keep_steps]


def _place(inputs: Callable[[Network], int], branch: Network) -> float:
    """Where `branch` leaves its root, in epochs."""
    if branch.spawn_step is None:
        return branch.spawn_epoch or 0
    return branch.spawn_step / steps_per_epoch(branch.recipe, inputs(branch))


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
