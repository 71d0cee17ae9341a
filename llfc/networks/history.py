"""What a training was seen to do: loss and error by epoch, learning rate, speed, where it stands.

A text in the store, written anew every few seconds while the network is trained, so that whoever
can read the store can follow a training on another node.
"""

import json
import math
import time
import warnings
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from typing import Any

import torch
from torch import Tensor, nn

from llfc.data.datasets import Data
from llfc.modules.modes import in_mode
from llfc.networks.steps import steps_per_epoch
from llfc.networks.store import Store, StoreWarning
from llfc.networks.training import learning_rate
from llfc.results import MOST_JUDGED, TRAINING
from llfc.specs import Network, fingerprint
from llfc.tasks import as_task

HISTORIES = "histories"
SHARE = 0.01  # of the passes of training that judging may take, a step counting as three passes
LEAST = 50  # inputs of a split, however short the training
LATE = 0.9  # of the epochs: a network is judged then and at its end, whatever else
WRITTEN = 5.0  # seconds between two writings


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """One epoch of a training.

    Attributes:
        epoch: epochs done, counted from 1.
        loss: mean loss of the epoch's batches, each before its step, in train mode.
        train_loss: mean loss in eval mode after the epoch, of up to MOST_JUDGED training inputs;
            NaN where that would have taken over SHARE of all passes; so the next three.
        train_error: their error, as the task has it.
        test_loss: mean loss in eval mode of up to MOST_JUDGED test inputs.
        test_error: their error.
        judged: how many test inputs these are.
        lr: learning rate of the last step.
        seconds: since the training began, without what was lost to kills, and without judging.
        inputs_per_second: of this epoch.
    """

    epoch: int
    loss: float
    train_loss: float
    train_error: float
    test_loss: float
    test_error: float
    judged: int
    lr: float
    seconds: float
    inputs_per_second: float


class History:
    """Writes the history of one training while it runs.

    Args:
        network: what is trained.
        store: where the history lies.
        dataset: what it is trained on, on its device.
        model: the module that is trained.
        start: where it begins; of later epochs nothing is kept that was written.
    """

    def __init__(
        self,
        network: Network,
        store: Store,
        dataset: Data,
        model: nn.Module,
        start: tuple[int, int],
    ) -> None:
        epoch, step = start
        self._network, self._store, self._model = network, store, model
        self._dataset, self._task = dataset, as_task(dataset.task)
        seen = judged_at_once(network.recipe.epochs, dataset.count("train"))
        self._splits = {split: _some(dataset, split, seen) for split in ("train", "test")}
        self._steps = steps_per_epoch(network.recipe, dataset.count("train"))
        before = read_history(store, fingerprint(network))
        self._epochs = [one for one in epochs_of(before) if one.epoch <= epoch]
        self._trained = self._epochs[-1].seconds if self._epochs else 0.0
        self._judgements_per_epoch = SHARE / 2 * 3 * dataset.count("train") / (2 * seen)
        # Of the next epoch: another training's, its trunk's, did the rest.
        self._inputs = dataset.count("train") - step * network.recipe.batch_size
        self._mark = self._written = time.monotonic()

    def after_step(self, epoch: int, step: int, loss: Tensor) -> None:
        """Say, every few seconds, where the training stands."""
        if time.monotonic() - self._written >= WRITTEN:
            self.write(epoch, step, loss)

    def write(self, epoch: int, step: int, loss: Tensor) -> None:
        """Say where it stands: `step` steps after `epoch` epochs, with the sum of their losses."""
        inputs = min(step * self._network.recipe.batch_size, self._dataset.count("train"))
        if step:
            self._write({"epoch": epoch, "step": step, "loss": float(loss) / inputs})
        elif self._epochs:
            self._write({"epoch": epoch, "step": 0, "loss": self._epochs[-1].loss})

    def after_epoch(self, epoch: int, loss: float) -> None:
        """Note an epoch, counted from 1, and its mean loss."""
        now = time.monotonic()
        spent = now - self._mark
        self._trained += spent
        last = epoch == self._network.recipe.epochs
        # Of the epoch alone, so that a training that was killed is judged as one that was not.
        allowed = [math.floor(n * self._judgements_per_epoch) for n in (epoch - 1, epoch)]
        late = epoch == math.floor(LATE * self._network.recipe.epochs)
        judged = last or late or allowed[0] < allowed[1]
        found = self._judgements() if judged else dict.fromkeys(JUDGED, math.nan)
        recipe = self._network.recipe
        self._epochs.append(
            Epoch(
                epoch=epoch,
                loss=loss,
                **found,
                judged=self._splits["test"].count("test") if judged else 0,
                lr=learning_rate(recipe, (epoch * self._steps - 1) / (self._steps * recipe.epochs)),
                seconds=self._trained,
                inputs_per_second=self._inputs / max(spent, 1e-9),
            )
        )
        self._inputs = self._dataset.count("train")
        self._mark = time.monotonic()
        if last or self._mark - self._written >= WRITTEN:
            self._write({"epoch": epoch, "step": 0, "loss": loss})

    def _judgements(self) -> dict[str, float]:
        found = {}
        with in_mode(self._model, training=False), torch.no_grad():
            for split, dataset in self._splits.items():
                count, sums = 0, torch.zeros(2, dtype=torch.float64)
                for inputs, targets in dataset.batches(split, 500):
                    output = self._task.picked(self._task.run(self._model, inputs), targets)
                    samples, loss, error = self._task.sums(*output)
                    count += samples
                    sums += torch.stack([loss, error]).cpu()
                found[f"{split}_loss"], found[f"{split}_error"] = (sums / max(count, 1)).tolist()
        return found

    def _write(self, now: dict[str, Any]) -> None:
        self._written = time.monotonic()
        device = self._dataset.device
        content = {
            "epochs": [asdict(one) for one in self._epochs],
            "now": now,
            "steps": self._steps,
            "of": self._network.recipe.epochs,
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
            "seconds": self._trained + self._written - self._mark,
            "at": time.time(),
        }
        try:
            self._store.put_text(HISTORIES, fingerprint(self._network), json.dumps(content))
        except ValueError as error:
            warnings.warn(f"the history of a training is not kept: {error}", StoreWarning, 2)


def judged_at_once(epochs: int, inputs: int) -> int:
    """How many inputs of each split are judged at a time, in `epochs` over `inputs`, at most.

    Half of what judging may take is for the two times that it always is, of two splits each.
    """
    passes = SHARE * 3 * inputs * epochs
    return round(min(MOST_JUDGED, max(LEAST, passes / 8)))


JUDGED = ("train_loss", "train_error", "test_loss", "test_error")


def training_table(network: Network, store: Store) -> dict[str, list[float]]:
    """The columns TRAINING of the epochs of `network`, its trunk's before it; {} if not known."""
    epochs = epochs_of(read_history(store, fingerprint(network)))
    if network.is_branch:
        trunk = read_history(store, fingerprint(network.root))
        shared = network.spawn_epoch
        if shared is None:  # an epoch within which it leaves its trunk is among its own
            shared = (network.spawn_step or 0) // trunk.get("steps", 1)
        epochs = [one for one in epochs_of(trunk) if one.epoch <= shared] + epochs
    return {name: [getattr(one, name) for one in epochs] for name in TRAINING} if epochs else {}


def read_history(store: Store, name: str) -> dict[str, Any]:
    """What was last written of the training of the network with this fingerprint; {} if nothing.

    Keys: `epochs` (see `epochs_of`), `now` (`epoch` done, `step` of the next, `loss` so far),
    `steps` an epoch has, `of` how many epochs, `device`, `seconds` trained, `at` (a Unix time).
    """
    text = store.get_text(HISTORIES, name) if store.has_text(HISTORIES, name) else None
    try:
        return dict(json.loads(text)) if text else {}
    except (json.JSONDecodeError, TypeError, ValueError):  # written by other code
        return {}


def epochs_of(history: dict[str, Any]) -> list[Epoch]:
    """The epochs of what `read_history` gave; none if other code wrote them."""
    known = [field.name for field in fields(Epoch)]
    rows: Iterable[Any] = history.get("epochs", ())
    return [Epoch(**row) for row in rows if isinstance(row, dict) and list(row) == known]


def _some(dataset: Data, split: str, count: int) -> Data:
    return dataset.limited(split, min(count, dataset.count(split)))
