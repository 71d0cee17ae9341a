"""A dry run: what sweeps would train and measure, and what that takes; nothing is written."""

import dataclasses
import heapq
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from llfc.data.datasets import Data, check_stored
from llfc.devices import keep_freed_memory
from llfc.names import counted
from llfc.networks.history import LATE, SHARE, judged_at_once
from llfc.specs import Network, Trial
from llfc.trial import check_trial
from sweeps.forecast.calibration import Calibration, TrainingCost, TrialCost
from sweeps.forecast.missing import Missing, Planned, Reading, missing_of
from sweeps.forecast.table import Row, sum_line, table
from sweeps.grid.inputs import DataKey, counted_in_epochs, data_key, load_each, resolved
from sweeps.grid.settings import Settings
from sweeps.grid.sweep import Sweep
from sweeps.record.measurement import instability
from sweeps.record.titles import kind_of
from sweeps.run.plan import Job, Queue
from sweeps.run.resources import cores, share_of, workers_on
from sweeps.run.worker import choose_device
from sweeps.search.brackets import Brackets

TOTAL = 30.0  # seconds that timing may take, all kinds together
MOST = 2.0  # seconds that timing one kind may take
DOSES = "misalignment", "misaligned"  # of no account beside matching and measuring

Asked = tuple[Settings, Sweep, Sequence[Trial]]


def dry_run(asked: Sequence[Asked]) -> int:
    """Print what the sweeps `asked`, one after another, would do, and what it takes.

    What two of them share is counted once, with the first.

    Returns:
        0.

    Raises:
        ValueError: if a setting or an axis is wrong, as where they are run.
    """
    planned: dict[str, Planned] = {}
    forecasts = []
    for settings, sweep, trials in asked:
        name = settings.name or sweep.name
        with _data_sets(trials, settings) as (found, datasets):
            before = planned.setdefault(settings.store, Planned())
            inputs = partial(_count, datasets)
            found, searches = _asked_for(sweep, found, datasets, settings)
            missing = missing_of(name, found, settings, before, inputs)
            more = [searches(sum(missing.epochs.values()))] if searches else []
            forecasts.append(_Forecast(name, missing, datasets, settings, more))
    budget = min(MOST, TOTAL / max(1, sum(len(f.kinds()) for f in forecasts)))
    keep_freed_memory()
    for forecast in forecasts:
        print("\n".join(forecast.lines(budget)), flush=True)
    if len(forecasts) > 1:
        print(sum_line([f.rows for f in forecasts], wall=sum(f.wall for f in forecasts)))
    return 0


@contextmanager
def _data_sets(
    trials: Sequence[Trial], settings: Settings
) -> Iterator[tuple[list[Trial], Mapping[DataKey, Data]]]:
    """The trials with their data sets; what is decoded lies beside the cache, and is removed."""
    with TemporaryDirectory(prefix="llfc-dry-run-") as folder:
        beside = Path(folder) / "runs" / "data"
        beside.mkdir(parents=True)
        for path in settings.cache.glob("*"):
            (beside / path.name).symlink_to(path)
        elsewhere = dataclasses.replace(settings, storage=str(beside.parent))
        found = resolved(trials, elsewhere)
        for name in {trial.pair.dataset for trial in found}:
            check_stored(name, settings.data_root)
        found, read = counted_in_epochs(found, elsewhere)
        datasets = load_each(found, elsewhere, read)
        for trial in {_pair_kind(t): t for t in found}.values():
            check_trial(trial, datasets[data_key(trial.pair.a)])
        yield found, datasets


def _asked_for(
    sweep: Sweep,
    trials: Sequence[Trial],
    datasets: Mapping[DataKey, Data],
    settings: Settings,
) -> tuple[list[Trial], Callable[[float], str] | None]:
    """The trials that `sweep` asks for at most, and of a search the line for so many epochs."""
    if sweep.search is None:
        return list(trials), None
    store = Reading(settings.store)
    search = Brackets(sweep, trials, datasets, partial(instability, store))
    search.follow()
    found, replayed, line = search.forecast()
    return (
        found,
        lambda epochs: f"{line}; it trains {counted(round(epochs + replayed), 'epoch')} at most",
    )


def _count(datasets: Mapping[DataKey, Data], network: Network) -> int:
    return datasets[data_key(network)].inputs_of(network)


class _Forecast:
    """What one sweep takes.

    Attributes:
        rows: by kind of network, once `lines` has timed them.
        wall: seconds until it is done, likewise.
    """

    def __init__(
        self,
        name: str,
        missing: Missing,
        datasets: Mapping[DataKey, Data],
        settings: Settings,
        more: Sequence[str] = (),
    ) -> None:
        self.name, self.missing, self.datasets = name, missing, datasets
        self.settings, self.more = settings, more
        self.device = choose_device(settings.device)
        self.rows: list[Row] = []
        self.wall = 0.0

    def kinds(self) -> dict[Any, Network | Trial]:
        """One job's record of each kind that is to be timed."""
        return {_kind(job.record): job.record for job in self.missing.jobs}

    def lines(self, budget: float) -> list[str]:
        """The table and what is below it."""
        costs = self._timed(budget)
        workers = self._workers()
        seconds = self._seconds(costs, workers)
        self.rows = self._rows(costs, seconds)
        self.wall = _wall(self.missing.jobs, seconds, workers, self.settings.cpus_per_trial)
        running = max(
            (cost.state for cost in costs.values() if isinstance(cost, TrainingCost)), default=0
        )
        lines = table(
            self.name, self.rows, wall=self.wall, workers=workers, running=running * workers
        )
        return [*lines, *self.more]

    def _timed(self, budget: float) -> dict[Any, TrainingCost | TrialCost]:
        kinds = self.kinds()
        calibration = Calibration(self.device, self.settings.cpus_per_trial, budget)
        before = torch.get_num_threads()
        torch.set_num_threads(self.settings.cpus_per_trial)
        found: dict[Any, TrainingCost | TrialCost] = {}
        try:
            for number, (kind, record) in enumerate(kinds.items(), start=1):
                if sys.stderr.isatty():
                    said = f"\r{self.name}: timing {number} of {len(kinds)} kinds of jobs\033[K"
                    print(said, end="", file=sys.stderr, flush=True)
                if isinstance(record, Network):
                    found[kind] = calibration.training(record, self.datasets[data_key(record)])
                else:
                    dataset = self.datasets[data_key(record.pair.a)]
                    found[kind] = calibration.trial(record, dataset)
        finally:
            torch.set_num_threads(before)
            if sys.stderr.isatty():
                print("\r\033[K", end="", file=sys.stderr, flush=True)
        return found

    def _seconds(
        self, costs: Mapping[Any, TrainingCost | TrialCost], workers: int
    ) -> dict[Job, float]:
        """Core seconds of each job; each worker's first of a kind takes more."""
        found: dict[Job, float] = {}
        begun = Counter[tuple[Any, ...]]()
        for job in self.missing.jobs:
            kind = _kind(job.record)
            cost = costs[kind]
            if isinstance(cost, TrialCost):
                found[job] = cost.seconds
            elif isinstance(network := job.record, Network):
                dataset = self.datasets[data_key(network)]
                inputs = _inputs(network, dataset, self.missing.epochs[job])
                found[job] = cost.per_input * inputs
            begun[kind] += 1
            found[job] += cost.once if begun[kind] <= workers else 0.0
        return found

    def _workers(self) -> int:
        node = {"CPU": cores(), "GPU": torch.cuda.device_count(), "memory": float("inf")}
        share = share_of(self.settings, [node])
        return max(1, workers_on(node, {**share, "memory": 0}))

    def _rows(
        self, costs: Mapping[Any, TrainingCost | TrialCost], seconds: Mapping[Job, float]
    ) -> list[Row]:
        rows: dict[str, Row] = {}

        def row(record: Network | Trial) -> Row:
            network = record if isinstance(record, Network) else record.pair.a
            limit = f"#{network.limit_train}" if network.limit_train else ""
            kind = f"{kind_of(network)}{limit}"
            return rows.setdefault(kind, Row(kind))

        for network in self.missing.networks_there:
            row(network).networks_there += 1
        for trial in self.missing.trials_there:
            row(trial).trials_there += 1
        for job in self.missing.jobs:
            cost, here = costs[_kind(job.record)], row(job.record)
            if isinstance(cost, TrainingCost):
                here.networks += 1
                here.training += seconds[job]
                here.weights += cost.weights
                here.states += cost.state * self.missing.states[job]
            else:
                here.trials += 1
                here.measuring += seconds[job]
                here.results += cost.size
        return list(rows.values())


def _inputs(network: Network, dataset: Data, epochs: float) -> float:
    """How many inputs `epochs` of a training take, with those by which it is judged.

    To judge takes forward passes alone, a third of a training step; see `llfc.networks.history`.
    """
    count, last = dataset.inputs_of(network), network.recipe.epochs
    most = judged_at_once(last, count)
    seen = min(most, count) + min(most, dataset.count("test"))
    judged = (int(LATE * last) > last - epochs) + bool(epochs)
    return epochs * count * (1 + SHARE) + judged * seen / 3 if epochs else 0.0


def _kind(record: Network | Trial) -> tuple[Any, ...]:
    """What jobs have in common that take equally long, epochs apart."""
    if isinstance(record, Network):
        return _training_kind(record)
    names = {field.name for field in dataclasses.fields(record)} - {"pair", *DOSES}
    return (*_pair_kind(record), *(getattr(record, name) for name in sorted(names)))


def _pair_kind(trial: Trial) -> tuple[Any, ...]:
    return (*_training_kind(trial.pair.a), trial.pair.shared_data)


def _training_kind(network: Network) -> tuple[Any, ...]:
    recipe = network.recipe
    steps = recipe.batch_size, recipe.optimizer, recipe.precision, recipe.augment, recipe.clip
    made = network.architecture, network.width, network.norm, *network.options.items()
    half = network.shared_data is not None, network.split_by
    return (*made, *data_key(network), *half, *steps)


def _wall(jobs: Sequence[Job], seconds: Mapping[Job, float], workers: int, threads: int) -> float:
    """Seconds until all is done, if `workers` take the jobs in order, each when it can be done."""
    queue, now, running = Queue(jobs), 0.0, list[tuple[float, int, Job]]()
    number = 0
    while True:
        while len(running) < workers and (job := queue.next_job()) is not None:
            heapq.heappush(running, (now + seconds[job] / threads, number, job))
            number += 1
        if not running:
            return now
        now, _, ended = heapq.heappop(running)
        queue.done(ended)
