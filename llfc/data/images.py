"""Labelled images, as uint8 tensors on the device, normalised batch by batch."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from llfc.data.batches import Scaling
from llfc.data.splits import Splits, window
from llfc.results import SPLITS
from llfc.seeds import stream


@dataclass(frozen=True, kw_only=True, eq=False)
class Dataset(Splits):
    """A labelled set of images, whole, on one device.

    Attributes:
        train_images: uint8, shape [N, C, H, W].
        train_labels: int64, shape [N], in [0, num_classes).
        test_images: uint8, shape [M, C, H, W].
        test_labels: int64, shape [M].
        mean: of each channel over all training images, scaled to [0, 1], shape [C].
        std: its standard deviation, shape [C].
    """

    parts: ClassVar[tuple[str, str]] = ("images", "labels")
    kind: ClassVar[str] = "images"
    task: ClassVar[str] = "classification"

    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor
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
    def scaling(self) -> Scaling:
        """To mean 0 and standard deviation 1 over training, of each channel."""
        return Scaling.of(self.mean, self.std)

    def normalised(self, images: Tensor) -> Tensor:
        """`images` (uint8, [n, C, H, W]) as float; over training, mean 0 and std 1."""
        return self.scaling(images)

    def ranked(self, split: str) -> Tensor:
        """Every class's first, in an order of its own."""
        labels, shuffled = self.split(split)[1].cpu(), self.shuffled(split)
        turn = torch.empty_like(labels)
        for label in range(self.num_classes):
            members = shuffled[labels[shuffled] == label]
            turn[members] = torch.arange(len(members))
        return torch.argsort(turn * self.num_classes + labels)

    def spread(self, generator: torch.Generator) -> Tensor:
        """The training images in a random order, any part of which has each class's share."""
        shuffled = torch.randperm(self.count("train"), generator=generator)
        labels = self.train_labels.cpu()[shuffled]
        place = torch.empty(len(labels), dtype=torch.float64)  # of each within its class, in (0, 1)
        for label in range(self.num_classes):
            (members,) = torch.where(labels == label)
            place[members] = (torch.arange(len(members), dtype=place.dtype) + 0.5) / len(members)
        return shuffled[torch.argsort(place, stable=True)]

    def _in_classes(self, share: float, seed: int) -> Tensor:
        """Of each as many as the smallest class has, so that every network sees equally many."""
        half = self.num_classes // 2
        if half < 1:
            raise ValueError(f"split_by classes needs two classes, and {self.name} has one")
        if abs(share * half - round(share * half)) > 1e-9:
            raise ValueError(
                f"shared_data must be a multiple of 1/{half}, as {half} are half of the classes of"
                f" {self.name}, got {share:g}"
            )
        labels = self.train_labels.cpu()
        counts = torch.bincount(labels, minlength=self.num_classes)
        if not (most := int(counts.min())):
            raise ValueError(
                f"split_by classes needs training images of every class, and {self.name} has none"
                f" of class {int(counts.argmin())}"
            )
        order = torch.randperm(self.num_classes, generator=stream(seed, "data/classes"))
        shuffled = torch.randperm(len(labels), generator=stream(seed, "data/samples"))
        chosen = [shuffled[labels[shuffled] == label][:most] for label in window(order, share)]
        return torch.cat(chosen).sort().values


def from_arrays(name: str, arrays: Mapping[str, Any]) -> Dataset:
    """The data set called `name` of these arrays, as `llfc.data.imagefolder.Arrays` has them."""
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
