"""What data sets of images and of sequences share: a training and a test split, on one device."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from llfc.data.batches import CropFlip, Loader, Scaling
from llfc.names import lookup
from llfc.results import SPLITS
from llfc.seeds import stream
from llfc.specs import Network

# A text is divided between two networks in so many pieces, if it has them.
BLOCKS = 40


@dataclass(frozen=True, kw_only=True, eq=False)
class Splits:
    """Inputs and targets in the fields `{split}_{part}`, for both splits and both `parts`.

    Attributes:
        parts: what inputs and targets are called in the names of the fields.
        kind: what inputs are.
        task: what it is for; one of llfc.tasks.TASKS.
        name: what it is called; see `llfc.data.datasets.resolve_dataset`.
        num_classes: number of classes; of tokens, the size of the vocabulary.
    """

    parts: ClassVar[tuple[str, str]]
    kind: ClassVar[str]
    task: ClassVar[str]

    name: str
    num_classes: int

    def split(self, split: str) -> tuple[Tensor, Tensor]:
        """The inputs and the targets of `split`: `train` or `test`."""
        lookup("split", split, dict.fromkeys(SPLITS))
        inputs, targets = (getattr(self, f"{split}_{part}") for part in self.parts)
        return inputs, targets

    def count(self, split: str) -> int:
        """The number of inputs in `split`."""
        return len(self.split(split)[0])

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Channels, height and width of an image; the length of a sequence, or of a row."""
        return tuple(self.split("train")[0].shape[1:])

    @property
    def scaling(self) -> Scaling | None:
        """How inputs are normalised; token ids are not."""
        return None

    def example(self) -> Tensor:
        """Two inputs of a network, on the CPU: of the right shape and type, all zero."""
        dtype = torch.int64 if self.scaling is None else torch.float32
        return torch.zeros(2, *self.input_shape, dtype=dtype)

    def batches(
        self,
        split: str,
        batch_size: int,
        *,
        order: Tensor | None = None,
        crop_flip: CropFlip | None = None,
    ) -> Loader:
        """Batches of `split`, of inputs and targets; can be iterated again and again.

        Args:
            split: `train` or `test`.
            batch_size: inputs per batch; the last may be smaller.
            order: indices into the split, int64, shape [n]; all inputs, in order, if None.
            crop_flip: how each image of `order` is cropped and flipped; not at all if None.

        Raises:
            ValueError: if `crop_flip` is given and these are no images.
        """
        if crop_flip is not None and self.scaling is None:
            raise ValueError(f"augment crops and flips images, and {self.name} is of {self.kind}")
        return Loader(*self.split(split), batch_size, order, crop_flip, self.scaling)

    def shuffled(self, split: str) -> Tensor:
        """The indices of `split` in a random order, which is always the same."""
        return torch.randperm(self.count(split), generator=stream(0, f"subset/{split}"))

    def ranked(self, split: str) -> Tensor:
        """The indices of `split`, those first that a limit leaves."""
        return self.shuffled(split)

    def limited(self, split: str, limit: int) -> Self:
        """The same with `limit` inputs of `split`, the first that are `ranked`, in their order."""
        return self._only(split, self.ranked(split)[:limit].sort().values)

    def seen_by(self, *networks: Network) -> Self:
        """The same with the training inputs that any of `networks` is trained on, in their order.

        All of them, unless the networks have `shared_data`.

        Raises:
            ValueError: as `places`.
        """
        if any(network.shared_data is None for network in networks):
            return self
        seen = torch.zeros(self.count("train"), dtype=torch.bool)
        for network in networks:
            seen[self.places(network)] = True
        return self._only("train", seen.nonzero().squeeze(1))

    def inputs_of(self, network: Network) -> int:
        """The number of training inputs that `network` is trained on.

        Raises:
            ValueError: as `places`.
        """
        whole = network.shared_data is None
        return self.count("train") if whole else len(self.places(network))

    def places(self, network: Network) -> Tensor:
        """Indices of the training inputs that `network` is trained on, int64, ascending, [n].

        Of an order that is drawn with the network's seed, A has the first half. B has as many of
        those that follow each other, and begins so much later that it has its share with A.

        Raises:
            ValueError: if the data cannot be divided so.
        """
        if network.shared_data is None:
            return torch.arange(self.count("train"))
        if network.split_by == "classes":
            return self._in_classes(network.shared_data, network.seed)
        order = self.spread(stream(network.seed, "data/samples"))
        if len(order) < 2:
            raise ValueError(f"shared_data needs two training inputs, and {self.name} has one")
        return window(order, network.shared_data).sort().values

    def spread(self, generator: torch.Generator) -> Tensor:
        """The training inputs in a random order, any part of which is like the whole.

        Of a text, contiguous blocks in a random order: of two windows next to each other the one
        says much of the other.
        """
        blocks = torch.arange(self.count("train")).tensor_split(min(BLOCKS, self.count("train")))
        turns = torch.randperm(len(blocks), generator=generator).tolist()
        return torch.cat([blocks[turn] for turn in turns])

    def _in_classes(self, share: float, seed: int) -> Tensor:
        """The training inputs of half of the classes."""
        raise ValueError(f"split_by must be samples for {self.kind}, got classes for {self.name}")

    def _only(self, split: str, places: Tensor) -> Self:
        """The same with the inputs of `split` at `places` alone."""
        taken, parts = places.to(self.device), zip(self.parts, self.split(split), strict=True)
        chosen: dict[str, Any] = {f"{split}_{part}": values[taken] for part, values in parts}
        return replace(self, **chosen)

    @property
    def device(self) -> torch.device:
        """Where all tensors are."""
        return self.split("train")[0].device

    def to(self, device: torch.device | str) -> Self:
        """This data set on `device`."""
        moved: dict[str, Any] = {
            key: value.to(device) for key, value in vars(self).items() if isinstance(value, Tensor)
        }
        return replace(self, **moved)


def window(order: Tensor, share: float) -> Tensor:
    """As many of `order` as its first half has, `share` of them among those."""
    half = len(order) // 2
    first = half - round(share * half)
    return order[first : first + half]
