"""Sequences of token ids, and how a data set of them is named with its options.

The inputs of a next-token task are the sequences, and so are its targets: the task shifts them.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from llfc.data.batches import CropFlip, Loader
from llfc.data.splits import Splits
from llfc.names import lookup
from llfc.seeds import stream


@dataclass(frozen=True, kw_only=True, eq=False)
class Sequences(Splits):
    """Token ids with the targets of a next-token task, whole, on one device.

    Attributes:
        name: what it is called; see `llfc.data.datasets.resolve_dataset`.
        train_ids: int64, [N, T], in [0, num_classes).
        train_targets: int64, [N, T]; IGNORED where a token does not count.
        test_ids: int64, [M, T].
        test_targets: int64, [M, T].
        num_classes: size of the vocabulary.
        tokens: what each id stands for, if that can be said.
    """

    parts: ClassVar[tuple[str, str]] = ("ids", "targets")
    kind: ClassVar[str] = "tokens"
    task: ClassVar[str] = "next-token"

    name: str
    train_ids: Tensor
    train_targets: Tensor
    test_ids: Tensor
    test_targets: Tensor
    num_classes: int
    tokens: tuple[str, ...] = ()

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The length of a sequence."""
        return (self.train_ids.shape[1],)

    def example(self) -> Tensor:
        """Two inputs of a network, on the CPU: of the right shape and type, all zero."""
        return torch.zeros(2, *self.input_shape, dtype=torch.int64)

    def batches(
        self,
        split: str,
        batch_size: int,
        *,
        order: Tensor | None = None,
        crop_flip: CropFlip | None = None,
    ) -> Loader:
        """Batches of `split`, of ids and targets; can be iterated again and again.

        Args:
            split: `train` or `test`.
            batch_size: sequences per batch; the last may be smaller.
            order: indices into the split, int64, shape [n]; all sequences, in order, if None.
            crop_flip: of images alone.

        Raises:
            ValueError: if `crop_flip` is given.
        """
        if crop_flip is not None:
            raise ValueError(f"augment crops and flips images, and {self.name} is of tokens")
        return Loader(*self.split(split), batch_size, order)

    def limited(self, split: str, limit: int) -> "Sequences":
        """The same with `limit` sequences of `split`, drawn at random, those of a smaller first."""
        ids, targets = self.split(split)
        shuffled = torch.randperm(len(ids), generator=stream(0, f"subset/{split}"))
        taken = shuffled[:limit].sort().values.to(ids.device)
        chosen: dict[str, Any] = {f"{split}_ids": ids[taken], f"{split}_targets": targets[taken]}
        return replace(self, **chosen)


Source = Callable[..., Sequences]


def split_options(name: str) -> tuple[str, dict[str, str]]:
    """`BASE#OPTION=VALUE,...` as BASE and its options; none where nothing of that form follows.

    >>> split_options("king-james#context=32")
    ('king-james', {'context': '32'})
    """
    base, mark, text = name.rpartition("#")
    pairs = [part.partition("=") for part in text.split(",")]
    if not (mark and all(key and equals for key, equals, _ in pairs)):
        return name, {}
    return base, {key: value for key, _, value in pairs}


def read_options(name: str, source: Source, given: Mapping[str, str]) -> dict[str, Any]:
    """The options `given` to `source`, typed as their defaults are, without those at them.

    Raises:
        ValueError: if `source` has no such option, or its value is of another type.
    """
    defaults = {
        key: parameter.default
        for key, parameter in inspect.signature(source).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY
    }
    found = {}
    for key, text in given.items():
        default = lookup(f"option of {name}", key, defaults)
        kind = type(default)
        try:
            found[key] = kind(text)
        except ValueError:
            raise ValueError(
                f"option {key} of {name} must be of the type of {default!r}, got {text!r}"
            ) from None
    return {key: value for key, value in sorted(found.items()) if value != defaults[key]}


def with_options(base: str, options: Mapping[str, Any]) -> str:
    """The name that `split_options` reads back."""
    text = ",".join(f"{key}={value}" for key, value in options.items())
    return f"{base}#{text}" if text else base
