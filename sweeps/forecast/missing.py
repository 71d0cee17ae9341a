"""What of several sweeps is missing, read from stores and MLflow, which are left as they are."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from analysis.runs.database import check_address, path_of
from llfc.networks.spawning import has_state
from llfc.networks.store import Store
from llfc.specs import Network, Trial, fingerprint
from sweeps.grid.settings import Settings
from sweeps.record.measurement import is_whole, saved
from sweeps.run.plan import Job, Stage, plan


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
    states: set[tuple[str, int]] = field(default_factory=set)
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
    epochs: dict[Job, int]
    states: dict[Job, int]
    networks_there: Sequence[Network]
    trials_there: Sequence[Trial]


def missing_of(name: str, trials: Sequence[Trial], settings: Settings, planned: Planned) -> Missing:
    """What the sweep called `name` has to do after those that have `planned` what they leave.

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

    def kept(root: Network, epoch: int) -> bool:
        there = (fingerprint(root), epoch) in planned.states
        return there or has_state(root, epoch, store)

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
            done = {epoch for epoch in range(root.recipe.epochs + 1) if kept(root, epoch)}
            epochs[job] = _epochs(job, job.record, done, whole=trained(job.record))
            states[job] = len(set(job.keep_epochs) - done)
    for job in jobs:
        if job.stage is Stage.TRIALS:
            planned.trials.add(job.name)
        else:
            planned.networks.add(job.name)
            planned.states |= {(job.name, epoch) for epoch in job.keep_epochs}
    return Missing(
        jobs=jobs,
        epochs=epochs,
        states=states,
        networks_there=networks_there,
        trials_there=trials_there,
    )


def _epochs(job: Job, network: Network, done: set[int], *, whole: bool) -> int:
    """How many epochs `job` trains, where its root's states after `done` epochs are there."""
    last = network.recipe.epochs
    if network.spawn_epoch is not None:
        return last - network.spawn_epoch
    wanted = sorted({*job.keep_epochs, *(() if whole else (last,))} - done)
    known, total = {0, *done}, 0
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
