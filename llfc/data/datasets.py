"""Data sets by name.

A data set is named as on the command line:
`fashion-mnist-small` (embedded), `mnist`, `fashion-mnist`, `cifar10`, `cifar100`, or
`imagefolder:PATH` for a folder of one's own (see llfc.data.imagefolder); of tokens `king-james`
(embedded), `modular-addition`, or `text:PATH` for a text of one's own (see llfc.data.text), with
options after the name, as in `king-james#context=32`. A function of one's own gives either kind, or
rows of a table (see llfc.data.plugged).
"""

import os
from collections.abc import Callable, Mapping
from importlib.resources import files
from pathlib import Path

import numpy as np

from llfc.data.downloads import Published
from llfc.data.imagefolder import PREFIX, Arrays, load_folder, resolve_folder
from llfc.data.images import Dataset, from_arrays
from llfc.data.plugged import load_own, own_data, own_kind, resolve_own
from llfc.data.rows import Rows
from llfc.data.sequences import Sequences
from llfc.data.tokens import SEQUENCES, load_sequences, of_tokens, resolve_sequences
from llfc.names import lookup
from llfc.plugins import choices, is_plugin
from llfc.results import SPLITS

Data = Dataset | Sequences | Rows


def load_dataset(
    name: str,
    *,
    cache: Path,
    data_root: Path | None = None,
    limit_train: int | None = None,
    limit_test: int | None = None,
    progress: bool = False,
) -> Data:
    """The data set called `name`, on the CPU.

    Args:
        name: a name in DATASETS or SEQUENCES, `imagefolder:PATH`, `text:PATH`, or what
            `resolve_dataset` made of it.
        cache: folder of decoded image folders and copies of texts.
        data_root: folder of torchvision's data sets; by default LLFC_DATA, or ~/.cache/llfc without
            it.
        limit_train: number of training images, the same number of each class where the set
            allows, or of sequences; those of a smaller limit are among a larger one's. None for
            all.
        limit_test: the same for testing.
        progress: whether to show a bar while an image folder is decoded.

    Raises:
        ValueError: if the name is unknown, the data are not there, or a limit is too large.
    """
    name = resolve_dataset(name, cache, progress=progress)
    full: Data
    if of_tokens(name):
        full = load_sequences(name, cache)
    elif name.startswith(PREFIX):
        full = from_arrays(name, load_folder(name, cache))
    elif of_plugin(name):
        full = own_data(name, load_own(name, cache))
    else:
        full = from_arrays(name, DATASETS[name](data_root_of(data_root)))
    for split, limit in (("train", limit_train), ("test", limit_test)):
        full = limited(full, split, limit)
    return full


def resolve_dataset(
    name: str,
    cache: Path,
    *,
    progress: bool = False,
    say: Callable[[str], None] | None = None,
) -> str:
    """The name that says what is in the data set, wherever it lies; networks are named after it.

    `imagefolder:PATH` becomes `imagefolder:FOLDER@DIGITS`, of the folder's own name and a digest
    of its content, and from then on is loaded from `cache` alone; so do `text:PATH` and a
    plug-in's name. Options at their defaults are left out of a name.
    `progress` and `say` are `llfc.data.imagefolder.resolve_folder`'s.

    Raises:
        ValueError: if the name is unknown, or the folder does not hold images as it should.
    """
    if name.startswith(PREFIX):
        return resolve_folder(name, cache, progress=progress, say=say)
    if of_plugin(name):
        return resolve_own(name, cache)
    kind_of(name)
    return resolve_sequences(name, cache) if of_tokens(name) else name


def kind_of(name: str) -> str:
    """What the data set called `name` is of: images, tokens or rows; only a plug-in's is loaded.

    Raises:
        ValueError: if there is none.
    """
    if of_tokens(name):
        return Sequences.kind
    if of_plugin(name):
        return own_kind(name)
    if not name.startswith(PREFIX):
        lookup("dataset", name, dict.fromkeys([*DATASETS, *SEQUENCES, *choices("dataset")]))
    return Dataset.kind


def task_of(name: str) -> str:
    """The task that the data set called `name` is for, one of llfc.tasks.TASKS, without loading it.

    Raises:
        ValueError: if there is none of that name.
    """
    return {each.kind: each.task for each in (Dataset, Sequences, Rows)}[kind_of(name)]


def of_plugin(name: str) -> bool:
    """Whether `name` is that of a data set of one's own, which a function returns."""
    built_in = name in DATASETS or name.startswith(PREFIX) or of_tokens(name)
    return not built_in and is_plugin("dataset", name)


def limited(dataset: Data, split: str, limit: int | None, name: str = "") -> Data:
    """`dataset` with `limit` inputs of `split`, chosen as its own `limited` says; all if None.

    An error calls the limit `name`, by default limit_<split>.

    Raises:
        ValueError: if there are not so many.
    """
    if limit is None:
        return dataset
    count = dataset.count(split)
    if not 1 <= limit <= count:
        raise ValueError(
            f"{name or f'limit_{split}'} must be in [1, {count}], the size of {dataset.name},"
            f" got {limit}"
        )
    return dataset.limited(split, limit)


def check_stored(name: str, data_root: Path | None) -> None:
    """See that loading the data set called `name` would download nothing.

    Raises:
        ValueError: if it would.
    """
    source, root = DATASETS.get(name), data_root_of(data_root)
    if isinstance(source, Published) and not source.is_in(root):
        raise ValueError(
            f"{name} is not in {root}, and a dry run downloads nothing: set --data-root or"
            " LLFC_DATA to the folder that has it"
        )


def data_root_of(given: Path | None) -> Path:
    """The folder of data sets: the given one, or LLFC_DATA, or ~/.cache/llfc.

    Without `..`, which would create a needless folder on the way.
    """
    root = given or Path(os.environ.get("LLFC_DATA") or Path.home() / ".cache" / "llfc")
    return root.resolve() if ".." in root.parts else root


def _embedded(root: Path) -> Arrays:
    """The balanced subset of Fashion-MNIST that comes with the package; needs no `root`."""
    del root
    with (
        (files("llfc.data.assets") / "fashion_mnist_small.npz").open("rb") as file,
        np.load(file, allow_pickle=False) as saved,
    ):
        arrays = {key: saved[key] for key in saved.files}
    images = {f"{split}_images": arrays[f"{split}_images"][:, None] for split in SPLITS}
    return {**arrays, **images, "num_classes": 10}


DATASETS: Mapping[str, Callable[[Path], Arrays]] = {
    "fashion-mnist-small": _embedded,
    "mnist": Published("MNIST", 10),
    "fashion-mnist": Published("FashionMNIST", 10),
    "cifar10": Published("CIFAR10", 10),
    "cifar100": Published("CIFAR100", 100),
}
