"""How long a few training steps and two small trials take here, and how many bytes they leave.

Everything is run as a worker runs it, on networks with their first weights, in a store in memory.
"""

import dataclasses
import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from llfc.data.datasets import Data
from llfc.networks.checkpoints import named
from llfc.networks.spawning import untrained
from llfc.networks.store import Store
from llfc.networks.training import TrainState, initial_state, train
from llfc.specs import Network, Trial
from llfc.trial import run_trial
from sweeps.record.flattening import metrics_of, tables_of
from sweeps.record.measurement import Measurement, draw

FIRST = 16  # inputs of the smallest trial, of both splits together
GROWTH = 4  # from one size of a trial to the next
METRIC = 400  # bytes of one number of a run in MLflow's database
STEPS = 2  # training steps that are timed at least, after one that is not


@dataclass(frozen=True, kw_only=True)
class TrainingCost:
    """What training one network takes.

    Attributes:
        per_input: core seconds for one input once: forward, backward, and its share of the update.
        once: core seconds of what a worker does once, such as loading what torch loads late.
        weights: bytes of a trained network.
        state: bytes of a state that a training can go on from.
    """

    per_input: float
    once: float
    weights: int
    state: int


@dataclass(frozen=True, kw_only=True)
class TrialCost:
    """What measuring one trial takes.

    Attributes:
        seconds: core seconds of a trial on all inputs.
        once: core seconds of what a worker does once for all trials of an architecture: above all,
            derive its symmetry.
        size: bytes that its result takes, in the store and as MLflow's artifacts.
    """

    seconds: float
    once: float
    size: int


class Calibration:
    """Times what workers do.

    Args:
        device: where they compute.
        threads: torch threads of a worker.
        budget: seconds that timing one kind may take; more where its smallest size takes longer.
    """

    def __init__(self, device: torch.device, threads: int, budget: float) -> None:
        self._device, self._threads, self._budget = device, threads, budget

    def clock(self) -> float:
        """Core seconds so far: on a CPU of this process alone, whatever else the machine does."""
        if self._device.type == "cpu":
            return time.process_time()
        torch.cuda.synchronize(self._device)
        return time.perf_counter() * self._threads

    def training(self, network: Network, dataset: Data) -> TrainingCost:
        """What training `network` takes, from its first steps."""
        begun = self.clock()
        dataset = dataset.to(self._device).seen_by(network)
        model = untrained(network, dataset).to(self._device)
        watch = _Stopwatch(self.clock, self._budget, network.recipe.batch_size)
        state: TrainState | None = None
        try:
            state = train(
                model,
                dataset,
                network.recipe,
                start=initial_state(model),
                until_epoch=network.recipe.epochs,
                seed=network.seed,
                branch="forecast",
                observer=watch,
            )
        except (_EnoughError, ValueError):  # a loss that is not finite is the sweep's to say
            pass
        state = state or watch.state or initial_state(model)
        return TrainingCost(
            per_input=watch.per_input(dataset.count("train")),
            once=max(watch.begun - begun - watch.step, 0.0),
            weights=_bytes(state.weights.values()),
            state=_bytes(named(state).values()),
        )

    def trial(self, trial: Trial, dataset: Data) -> TrialCost:
        """What measuring `trial` takes: two small sizes, and the line through them.

        The line is that of seconds over inputs: a part that is fixed, and one per input.
        """
        store = _with_first_weights(trial, dataset)
        seen = dataset.seen_by(trial.pair.a, trial.pair.b)
        whole = trial.limit_measured or seen.count("train"), dataset.count("test")

        def seconds(inputs: int, alphas: int) -> tuple[float, Measurement]:
            part = inputs / sum(whole)
            train_count, test_count = (min(n, max(2, round(part * n))) for n in whole)
            small = dataclasses.replace(trial, alphas=alphas, limit_measured=train_count)
            begun = self.clock()
            found = run_trial(
                small, store, dataset.limited("test", test_count), device=self._device
            )
            return self.clock() - begun, Measurement.of(found, {})

        first = min(FIRST, sum(whole))
        begin, measured = seconds(first, 3)
        begun = self.clock()
        figures = draw(trial, measured.found)
        drawing_first, begun = self.clock() - begun, self.clock()
        draw(trial, measured.found)
        drawing = self.clock() - begun
        sizes = [first]
        times = [seconds(first, trial.alphas)[0]]
        spent = times[0]
        while sizes[-1] < sum(whole):
            inputs = min(sizes[-1] * GROWTH, sum(whole))
            # As if all were proportional to inputs: an upper bound.
            if len(sizes) > 1 and spent + _line(sizes, times, inputs) > self._budget:
                break
            sizes.append(inputs)
            # What libraries prepare for batches of a new size is no part of the slope.
            warming, _ = seconds(inputs, 3)
            taken, measured = seconds(inputs, trial.alphas)
            times.append(taken)
            spent += warming + taken
        once = begin - times[0] * 3 / trial.alphas + drawing_first - drawing
        return TrialCost(
            seconds=_line(sizes, times, sum(whole)) + drawing,
            once=max(once, 0.0),
            size=_size(measured, figures),
        )


def _line(sizes: list[int], times: list[float], inputs: int) -> float:
    """The time at `inputs` on the line through the last two times; no less than the last."""
    if inputs == sizes[-1] or len(sizes) == 1:
        return times[-1]
    slope = (times[-1] - times[-2]) / (sizes[-1] - sizes[-2])
    return times[-1] + max(slope, 0.0) * (inputs - sizes[-1])


class _EnoughError(Exception):
    """Ends a training that was timed long enough."""


class _Stopwatch:
    """Times the steps of a training after the first, and ends it; an `Observer`."""

    def __init__(self, clock: Callable[[], float], budget: float, batch_size: int) -> None:
        self._clock, self._budget, self._batch_size = clock, budget, batch_size
        self._stamps: list[float] = []
        self.state: TrainState | None = None

    def after_step(self, epoch: int, step: int, loss: Tensor) -> bool:
        self._stamps.append(self._clock())
        spent = self._stamps[-1] - self._stamps[0]
        return len(self._stamps) > STEPS and spent >= self._budget

    def keep(self, state: TrainState) -> None:
        self.state = state
        raise _EnoughError

    @property
    def begun(self) -> float:
        """When the first step was done."""
        return self._stamps[0]

    @property
    def step(self) -> float:
        """Seconds that a step takes, the first apart."""
        return (self._stamps[-1] - self._stamps[0]) / max(len(self._stamps) - 1, 1)

    def per_input(self, count: int) -> float:
        """Seconds per input where an epoch has `count`, the last step of which is smaller."""
        return self.step * -(-count // self._batch_size) / count


def _with_first_weights(trial: Trial, dataset: Data) -> Store:
    """A store in memory with the networks of `trial`, untrained and independent."""
    store = Store(f"memory://forecast-{uuid.uuid4().hex}")
    for member, network in enumerate((trial.pair.a, trial.pair.b)):
        drawn = dataclasses.replace(network.root, member=member, weights=None)
        store.save_network(network, untrained(drawn, dataset).state_dict())
    return store


def _bytes(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.nbytes for tensor in tensors)


def _size(measured: Measurement, figures: dict[str, bytes]) -> int:
    """Bytes of a result: its text in the store and MLflow, and its tables, figures and numbers."""
    tables = sum(len(text) for text in tables_of(measured.found).values())
    numbers = METRIC * len(metrics_of(measured.found))
    return 2 * len(measured.text) + tables + numbers + sum(map(len, figures.values()))
