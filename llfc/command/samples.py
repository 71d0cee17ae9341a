"""What `--data` names: samples to measure on, and to compute statistics on."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from llfc.connectivity.samples import Batches, Samples
from llfc.data.datasets import data_root_of, load_dataset, of_plugin
from llfc.modules.inputs import Inputs
from llfc.names import readable
from llfc.plugins import call, function_of, resolve, taken
from llfc.progress import Report
from llfc.tasks import Task, as_task

BATCH_SIZE = 250
HELP = (
    "Samples: fashion-mnist-small (embedded), king-james (embedded), mnist, fashion-mnist, cifar10,"
    " cifar100, imagefolder:PATH, text:PATH, or FILE.py:FUNCTION. The function returns arrays, as"
    " for a sweep, or {'train': ..., 'test': ...} of what llfc.connect takes: tensors or batches,"
    " as the model takes them."
)


@dataclass(frozen=True, eq=False)
class Data:
    """Samples of a task.

    Attributes:
        name: as given.
        test: to measure on.
        train: for statistics and for matchers that use features; None if there are none.
        task: what they are for.
        report: is told how far they are read.
    """

    name: str
    test: Samples
    train: Samples | None
    task: Task
    report: Report

    def batches(self, split: str, device: Any) -> Batches:
        """The samples of a split as the library walks them."""
        samples = self.test if split == "test" or self.train is None else self.train
        return Batches(split, samples, BATCH_SIZE, device, task=self.task, report=self.report)

    def inputs(self, device: Any) -> Inputs:
        """The inputs of the first test batch."""
        return self.batches("test", device).first()


def read_data(
    name: str, task: str | None, limits: tuple[int | None, int | None], report: Report
) -> Data:
    """The samples called `name`.

    Args:
        name: as HELP has it.
        task: one of llfc.tasks.TASKS or a plug-in's; what the data set is for if None.
        limits: how many training and test samples of a data set by name; all if None.
        report: is told how far batches are read.

    Raises:
        ValueError: in one line, if there are none.
    """
    own = _own_samples(name)
    if own is not None:
        if any(limits):
            raise ValueError(f"data {name} returns batches of its own: limits are for arrays")
        kind = as_task(task or "classification")
        return Data(name, own["test"], own.get("train"), kind, report)
    root = data_root_of(None)
    dataset = load_dataset(
        name, cache=root / "decoded", limit_train=limits[0], limit_test=limits[1], progress=True
    )
    test, train = (dataset.batches(split, BATCH_SIZE) for split in ("test", "train"))
    return Data(name, test, train, as_task(task or dataset.task), report)


def _own_samples(name: str) -> Mapping[str, Any] | None:
    """The samples that a function returns as the model takes them; None if it returns arrays."""
    if not of_plugin(name):
        return None
    code = resolve("dataset", name)
    what, function = f"data {readable(code)}", function_of("dataset", code, in_place=True)
    taken(what, function, ())
    found = call(what, function, {})
    if not isinstance(found, Mapping) or "test" not in found:
        return None
    for split in found:
        if split not in ("train", "test"):
            raise ValueError(f"{what} must return train and test, got {split!r} too")
    return found
