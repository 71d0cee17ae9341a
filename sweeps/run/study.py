"""One sweep from its grid to its answer: what is missing is run, logged and reported."""

import dataclasses
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

from analysis.runs import schema
from analysis.runs.database import check_address
from analysis.runs.server import way_to
from llfc.data.datasets import Data
from llfc.names import counted
from llfc.networks.code import plugins_of, share_code
from llfc.networks.several import training_cost
from llfc.networks.spawning import forget_finished, has_state, untrained
from llfc.networks.store import Store
from llfc.networks.weightfiles import named_checkpoint
from llfc.plugins.rehearsal import rehearse
from llfc.specs import Network, Trial, fingerprint
from llfc.trial import check_trial
from sweeps.grid.inputs import DataKey, counted_in_epochs, data_key, load_each, resolved
from sweeps.grid.settings import Settings
from sweeps.grid.sweep import Sweep
from sweeps.record import asked
from sweeps.record.measurement import instability, is_whole, saved
from sweeps.record.titles import noun_of, title_of
from sweeps.run.engine import start
from sweeps.run.launch import run_jobs
from sweeps.run.plan import Job, Outcome, Stage, plan
from sweeps.run.recorder import Recorder
from sweeps.search.brackets import Brackets, Read

if TYPE_CHECKING:
    from analysis.runs.frames import Runs
    from sweeps.record.tracking import Tracker


def run_sweep(
    sweep: Sweep, trials: Sequence[Trial], settings: Settings, shown: set[str] | None = None
) -> int:
    """Run what is missing of the `trials` of `sweep`, log it, and report all of it.

    Args:
        sweep: the question.
        trials: those of its grid.
        settings: how they are run.
        shown: the fingerprints of the trials of this name that the command has run before, as other
            grids: the report is of them too, and these are added. None: there are none to come.

    Returns:
        0 if every trial has its run; 1 if some failed; 130 if it was interrupted.

    Raises:
        ValueError: if a setting or an axis is wrong; nothing has been trained then.
        OSError: if the storage folder cannot be written.
    """
    sweep = dataclasses.replace(sweep, name=settings.name or sweep.name)
    store = Store(settings.store)
    trials = resolved(trials, settings)
    check_address(settings.tracking)  # before anything is made that a refusal would leave behind
    trials, datasets = counted_in_epochs(trials, settings)
    store.check_writable()
    search = None
    if sweep.search is not None:
        datasets = load_each(trials, settings, datasets)
        search = Brackets(sweep, trials, datasets, partial(instability, store))
        search.follow()
        trials = search.trials
    stored = saved(store)
    to_measure = {trial for trial in trials if fingerprint(trial) not in stored}
    with ThreadPoolExecutor() as pool:
        # The tracking store and Ray each take seconds to open. Ray is started by this thread: its
        # processes end with the thread that started them.
        tag = "" if search is None else search.tag
        opening = pool.submit(_open, sweep, trials, settings, datasets, tag)
        workers = start(settings) if to_measure else 0
        datasets, tracker = opening.result()
    _share(trials, store)
    tracker.remove_abandoned()
    # Where nothing is left to measure, what is read of the runs now is what the report is made of.
    before = None if to_measure else _read(sweep, settings)
    finished = tracker.finished() if before is None else set(before.trials.get("fingerprint", ()))
    if search is not None and finished.intersection(map(fingerprint, search.wanted)):
        search.read = _or_logged(search.read, _read(sweep, settings))  # the store has lost some
        search.follow()
        trials = search.trials
    missing = [trial for trial in trials if fingerprint(trial) not in finished]
    # Only what is to be logged is read: a damaged one counts as not there, and is measured again.
    measured = [t for t in missing if t not in to_measure and is_whole(store, t)]
    planned = _planner(store, datasets, searching=search is not None)
    jobs = planned(set(missing).difference(measured))
    if search is not None:
        search.plan, jobs = planned, search.with_states(jobs)
    forget_finished(_networks(trials).keys() - {job.record for job in jobs}, store)
    if jobs and not workers:
        workers = start(settings)
    _announce(sweep, trials, finished=len(trials) - len(missing), jobs=jobs)
    if shown is None:
        asked.warn_of_lost(sweep, trials, settings)
    if search is not None and jobs:
        print(search.bound(), flush=True)
    with Recorder(tracker, store) as recorder:
        for trial in measured:
            recorder.record(trial)
        if search is not None:
            search.on_known = recorder.record
        outcome = _run(jobs, settings, sweep.name, workers, recorder, tracker.provenance, search)
    trials = trials if search is None else search.trials
    failures = {job.record: reason for job, reason in outcome.failed.items()} | recorder.failed
    try:
        for record, reason in failures.items():
            if isinstance(record, Trial):
                tracker.log_failure(record, reason)
        runs = _read(sweep, settings) if before is None or missing else before
        asked.keep(sweep, trials, settings, changed=bool(missing))
        shown = set() if shown is None else shown
        shown |= {fingerprint(trial) for trial in trials}
        _report(sweep, shown, runs, tracker, settings)
    finally:  # what failed is said even if that cannot be written down
        status = _close(sweep, trials, outcome, failures)
    return status


def _or_logged(read: Read, runs: "Runs") -> Read:
    """What a trial found, by `read` or as `runs` have it."""
    columns = runs.trials.reindex(
        columns=["fingerprint", schema.INSTABILITY, schema.INSTABILITY_SE]
    )
    found = {name: (barrier, error) for name, barrier, error in columns.to_numpy()}
    return lambda trial: read(trial) or found.get(fingerprint(trial))


def _open(
    sweep: Sweep,
    trials: Sequence[Trial],
    settings: Settings,
    loaded: Mapping[DataKey, Data],
    search: str,
) -> tuple[Mapping[DataKey, Data], "Tracker"]:
    """The data sets, on which every trial can be run, and then the tracking store."""
    datasets = load_each(trials, settings, loaded)
    _check_checkpoints(trials, datasets)
    kinds = {_kind(trial): trial for trial in trials}
    for trial in kinds.values():
        rehearse(trial, datasets[data_key(trial.pair.a)])
        check_trial(trial, datasets[data_key(trial.pair.a)])
    # Here, not above: MLflow and matplotlib load while Ray starts.
    from sweeps.record.tracking import Tracker

    artifacts = settings.folder / "artifacts"
    return datasets, Tracker(settings.tracking, sweep.name, artifacts, sweep.question, search)


def _planner(
    store: Store, datasets: Mapping[DataKey, Data], *, searching: bool
) -> Callable[[Iterable[Trial]], list[Job]]:
    """Makes the jobs that trials need beyond what is in `store`."""
    return partial(
        plan,
        trained=store.has,
        # A search trains trunks on from their last state on the way, as it needs them.
        has_state=lambda branch: searching or has_state(branch, store),
        cost=lambda network: training_cost(network, datasets[data_key(network)]),
    )


def _share(trials: Sequence[Trial], store: Store) -> None:
    """Put into `store` what workers cannot make: plug-ins, and networks trained elsewhere."""
    for trial in {tuple(plugins_of(trial)): trial for trial in trials}.values():
        share_code(trial, store)
    for network in _loaded(trials):
        if not store.has(network):
            store.save_network(network, named_checkpoint(str(network.weights)).tensors)


def _loaded(trials: Sequence[Trial]) -> list[Network]:
    """The networks of `trials` that were trained elsewhere."""
    return [network for network in _networks(trials) if network.weights is not None]


def _networks(trials: Iterable[Trial]) -> dict[Network, None]:
    """The networks of `trials`, each once, in their order."""
    return dict.fromkeys(n for trial in trials for n in (trial.pair.a, trial.pair.b))


def _check_checkpoints(trials: Sequence[Trial], datasets: Mapping[DataKey, Data]) -> None:
    """See that checkpoints are of their architecture; prefixes that were stripped are said."""
    for network in _loaded(trials):
        label, found = (
            str(network.weights).rpartition("@")[0],
            named_checkpoint(str(network.weights)),
        )
        found.check_fits(untrained(network, datasets[data_key(network)]), label)
        if found.stripped:
            print(f"checkpoint {label}: stripped {' '.join(found.stripped)}", file=sys.stderr)


def _kind(trial: Trial) -> tuple[Any, ...]:
    """What two trials have in common of which one need not be checked."""
    network, plugins = trial.pair.a, dict(plugins_of(trial))
    return (
        *(*data_key(network), network.architecture, network.norm, network.recipe.batch_size),
        *(trial.pair.shared_data, trial.pair.split_by, trial.form, trial.misaligned),
        # What a plug-in is given to work with counts too.
        *((network.width, *plugins.values()) if plugins else ()),
    )


def _run(
    jobs: Sequence[Job],
    settings: Settings,
    sweep: str,
    workers: int,
    recorder: Recorder,
    provenance: Mapping[str, str],
    search: Brackets | None,
) -> Outcome:
    if not jobs:
        return Outcome()
    return run_jobs(
        jobs,
        settings,
        sweep=sweep,
        workers=workers,
        provenance=provenance,
        on_done=lambda job: recorder.record(job.record),
        growth=search,
    )


def _announce(sweep: Sweep, trials: Sequence[Trial], *, finished: int, jobs: Sequence[Job]) -> None:
    train = sum(job.stage is Stage.NETWORKS for job in jobs)
    distinct = counted(len(_networks(trials)), "distinct network")
    print(
        f"{sweep.name}: {counted(len(trials), 'trial')} of {distinct}; {counted(finished, 'trial')}"
        f" already finished, {len(jobs) - train} to measure, {counted(train, 'network')} to train",
        flush=True,
    )


def _read(sweep: Sweep, settings: Settings) -> "Runs":
    from analysis.runs.mlflow import load_runs

    return load_runs(settings.tracking, sweep.name)


def _report(
    sweep: Sweep,
    shown: set[str],
    runs: "Runs",
    tracker: "Tracker",
    settings: Settings,
) -> None:
    """Print and write the answer that these trials give, whatever else the experiment holds."""
    from sweeps.record.reporting import report

    runs = runs.only(shown)
    if not len(runs.trials):
        return
    page = report(sweep, runs, tracker, settings.folder / "reports")
    print(f"\nreport: {page}\nruns:   {way_to(settings.tracking)}")


def _close(
    sweep: Sweep,
    trials: Sequence[Trial],
    outcome: Outcome,
    failures: Mapping[Network | Trial, str],
) -> int:
    trained = sum(job.stage is Stage.NETWORKS for job in outcome.done)
    measured = len(outcome.done) - trained
    busy = f", workers busy {outcome.worked / outcome.there:.0%} of the time" if measured else ""
    did = f"{counted(trained, 'network')} trained, {counted(measured, 'trial')} measured{busy}"
    print(f"{sweep.name}: {did}", flush=True)
    if outcome.interrupted and not outcome.given_up:
        return 130
    for record, reason in failures.items():
        print(
            f"failed: {noun_of(record)} {fingerprint(record)} ({title_of(record)}): {reason}",
            file=sys.stderr,
        )
    if failures:
        count = sum(isinstance(record, Trial) for record in failures)
        said = f"{count} of {counted(len(trials), 'trial')} failed"
        print(f"{said}; run the same command again to retry only these", file=sys.stderr)
    if outcome.interrupted:
        print(
            "stopped after as many failures as --stop-after-failures allows: what was done is kept",
            file=sys.stderr,
        )
    return 1 if failures else 0
