"""Data sets by name: images as uint8 tensors on the device, normalised batch by batch; token ids.

A data set is named as on the command line:
`fashion-mnist-small` (embedded), `mnist`, `fashion-mnist`, `cifar10`, `cifar100`, or
`imagefolder:PATH` for a folder of one's own (see llfc.data.imagefolder); of tokens `king-james`
(embedded), `modular-addition`, or `text:PATH` for a text of one's own (see llfc.data.text), with
options after the name, as in `king-james#context=32`. A function of one's own gives either kind
(see llfc.data.plugged).
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from llfc.data.batches import CropFlip, Loader, Scaling
from llfc.data.downloads import Published
from llfc.data.imagefolder import PREFIX, Arrays, load_folder, resolve_folder
from llfc.data.plugged import load_own, own_kind, own_sequences, resolve_own
from llfc.data.sequences import Sequences
from llfc.data.splits import Splits
from llfc.data.tokens import SEQUENCES, load_sequences, of_tokens, resolve_sequences
from llfc.names import lookup
from llfc.plugins import choices, is_plugin
from llfc.results import SPLITS
from llfc.seeds import stream


@dataclass(frozen=True, kw_only=True, eq=False)
class Dataset(Splits):
    """A labelled set of images, whole, on one device.

    Attributes:
        name: what it is called; see `resolve_dataset`.
        train_images: uint8, shape [N, C, H, W].
        train_labels: int64, shape [N], in [0, num_classes).
        test_images: uint8, shape [M, C, H, W].
        test_labels: int64, shape [M].
        num_classes: number of classes.
        mean: of each channel over all training images, scaled to [0, 1], shape [C].
        std: its standard deviation, shape [C].
    """

    parts: ClassVar[tuple[str, str]] = ("images", "labels")
    kind: ClassVar[str] = "images"
    task: ClassVar[str] = "classification"

    name: str
    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor
    num_classes: int
    mean: Tensor
    std: Tensor

    def __post_init__(self) -> None:
        for split in SPLITS:
            images, labels = self.split(split)
            if not len(images):
                raise ValueError(f"data set {self.name}: the {split} set has no images")
            if len(images) != len(labels):
                raise ValueError(
                    f"data set {self.name}: {len(images)} {split} images, {len(labels)} labels"
                )
            low, high = int(labels.min()), int(labels.max())
            if low < 0 or high >= self.num_classes:
                wrong = low if low < 0 else high
                raise ValueError(
                    f"data set {self.name}: {split} labels must be in [0, {self.num_classes}),"
                    f" got {wrong}"
                )

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Channels, height and width of an image."""
        return tuple(self.train_images.shape[1:])

    def example(self) -> Tensor:
        """Two inputs of a network, on the CPU: of the right shape and type, all zero."""
        return torch.zeros(2, *self.input_shape)

    def normalised(self, images: Tensor) -> Tensor:
        """`images` (uint8, [n, C, H, W]) as float; over training, mean 0 and std 1."""
        return Scaling.of(self.mean, self.std)(images)

    def batches(
        self,
        split: str,
        batch_size: int,
        *,
        order: Tensor | None = None,
        crop_flip: CropFlip | None = None,
    ) -> Loader:
        """Batches of `split`, of normalised images and labels; can be iterated again and again.

        Args:
            split: `train` or `test`.
            batch_size: images per batch; the last may be smaller.
            order: indices into the split, int64, shape [n]; all images, in order, if None.
            crop_flip: how each image of `order` is cropped and flipped; not at all if None.
        """
        images, labels = self.split(split)
        scaling = Scaling.of(self.mean, self.std)
        return Loader(images, labels, batch_size, order, crop_flip, scaling)

    def limited(self, split: str, limit: int) -> "Dataset":
        """The same with `limit` images of `split`: every class's first, in an order of its own."""
        images, labels = self.split(split)
        labels = labels.cpu()
        shuffled = torch.randperm(len(labels), generator=stream(0, f"subset/{split}"))
        turn = torch.empty_like(labels)
        for label in range(self.num_classes):
            members = shuffled[labels[shuffled] == label]
            turn[members] = torch.arange(len(members))
        taken = torch.argsort(turn * self.num_classes + labels)[:limit].sort().values
        chosen: dict[str, Any] = {
            f"{split}_images": images[taken.to(images.device)],
            f"{split}_labels": labels[taken].to(images.device),
        }
        return replace(self, **chosen)


Data = Dataset | Sequences


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
        full = _dataset(name, load_folder(name, cache))
    elif of_plugin(name):
        arrays = load_own(name, cache)
        full = own_sequences(name, arrays) if "train_ids" in arrays else _dataset(name, arrays)
    else:
        full = _dataset(name, DATASETS[name](_data_root(data_root)))
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
    """What the data set called `name` is of, `images` or `tokens`; only a plug-in's is loaded.

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
    return {each.kind: each.task for each in (Dataset, Sequences)}[kind_of(name)]


def of_plugin(name: str) -> bool:
    """Whether `name` is that of a data set of one's own, which a function returns."""
    built_in = name in DATASETS or name.startswith(PREFIX) or of_tokens(name)
    return not built_in and is_plugin("dataset", name)


def _dataset(name: str, arrays: Arrays) -> Dataset:
    tensors = {
        f"{split}_{kind}": torch.as_tensor(arrays[f"{split}_{kind}"]).to(dtype)
        for split in SPLITS
        for kind, dtype in (("images", torch.uint8), ("labels", torch.int64))
    }
    mean, std = _moments(tensors["train_images"])
    return Dataset(name=name, num_classes=int(arrays["num_classes"]), mean=mean, std=std, **tensors)


def _moments(images: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each channel, of values scaled to [0, 1]; exact counts."""
    values = torch.arange(256, dtype=torch.float64) / 255
    counts = torch.stack(
        [torch.bincount(channel.flatten(), minlength=256) for channel in images.unbind(1)]
    )
    shares = counts.double() / counts.sum(1, keepdim=True)
    mean = shares @ values
    std = (shares * (values - mean[:, None]).square()).sum(1).sqrt()
    # A channel that never changes carries nothing; it must not become infinite.
    return mean.float(), torch.where(std > 0, std, 1.0).float()


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
    source, root = DATASETS.get(name), _data_root(data_root)
    if isinstance(source, Published) and not source.is_in(root):
        raise ValueError(
            f"{name} is not in {root}, and a dry run downloads nothing: set --data-root or"
            " LLFC_DATA to the folder that has it"
        )


def _data_root(given: Path | None) -> Path:
    """Without `..`, which would create a needless folder on the way."""
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
