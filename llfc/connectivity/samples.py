"""Inputs and targets as a caller gives them, in batches that can be walked again and again."""

from collections.abc import Iterable, Iterator, Mapping, Sized
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from llfc.modules.inputs import Inputs, batched, check_dense, count_of, on_device, taken
from llfc.progress import Report
from llfc.tasks import CLASSIFICATION, Task

Samples = tuple[Inputs, Tensor] | Iterable[tuple[Inputs, Tensor]]
RULE = "must be (images, labels), two tensors, or an iterable of such batches"


@dataclass(frozen=True, eq=False)
class Batches:
    """Batches of inputs and targets, on the networks' device; refuses what is no such batch.

    Iterating twice gives the same twice, as far as `source` does.

    Attributes:
        split: `train` or `test`; names the samples in errors.
        source: inputs and targets [N, ...] in memory, or an iterable of such batches. Inputs are a
            tensor [N, ...], a tuple of what the models take, or a dictionary of it by name.
        batch_size: at most so many samples per batch, where `source` is in memory.
        device: where the networks are.
        order: in which samples in memory are taken, indices of shape [N]; as they lie if None.
        task: what the networks are compared at.
        report: is told which batch is being read.
        counts: how many samples there were, once all of `source` was seen.
        last: the iterator over `source` that was used last, if it has one of its own making.
    """

    split: str
    source: Samples
    batch_size: int
    device: torch.device
    order: Tensor | None = None
    task: Task = CLASSIFICATION
    report: Report = field(default=lambda _: None, repr=False)
    counts: list[int] = field(default_factory=list, init=False, repr=False)
    last: list[Iterator[Any]] = field(default_factory=list, init=False, repr=False)

    def __post_init__(self) -> None:
        if not isinstance(self.batch_size, int) or self.batch_size < 1:
            raise ValueError(f"batch_size must be a whole number >= 1, got {self.batch_size}")
        if isinstance(self.source, Iterator):
            raise ValueError(
                f"{self.split} must be iterable more than once, got a {type(self.source).__name__}"
            )
        if isinstance(self.source, Tensor) or not hasattr(self.source, "__iter__"):
            raise ValueError(f"{self.split} {RULE}, got a {type(self.source).__name__}")

    def __iter__(self) -> Iterator[tuple[Inputs, Tensor]]:
        count, of = 0, self._number()
        for number, batch in enumerate(self._begun(), 1):
            self.report(f"{self.split} batch {number}{of}")
            inputs, targets = self._checked(batch)
            self._check_count(inputs, targets)
            if len(targets):
                yield on_device(inputs, self.device), targets.to(self.device)
            count += len(targets)
        if not count:
            raise ValueError(f"{self.split} has no images")
        self.counts.append(count)
        if count != self.counts[0]:
            raise ValueError(
                f"{self.split} must have the same samples whenever it is iterated, got"
                f" {self.counts[0]} images, and another time {count}: give tensors, or a list"
            )

    def _begun(self) -> Iterator[Any]:
        """From the first batch on."""
        iterator = iter(self._batches())
        if any(iterator is one for one in self.last):
            raise ValueError(
                f"{self.split} must be iterable more than once, but its iterator goes on where it"
                f" was, a {type(iterator).__name__}: give tensors, or a list of batches"
            )
        # PyTorch's loaders with persistent workers begin anew with the same iterator.
        if not type(iterator).__module__.startswith("torch.utils.data"):
            self.last[:] = [iterator]
        return iterator

    def _check_count(self, inputs: Inputs, targets: Tensor) -> None:
        for tensor in batched(inputs):
            if len(tensor) != len(targets):
                raise ValueError(
                    f"{self.split} has {len(tensor)} images, but {len(targets)} labels"
                )

    def _checked(self, batch: Any) -> tuple[Inputs, Tensor]:
        """`batch`, if it is one."""
        if not isinstance(batch, tuple | list):
            raise ValueError(f"{self.split} {RULE}, got a batch that is a {type(batch).__name__}")
        if len(batch) != 2 or not (_is_inputs(batch[0]) and _is_samples(batch[1])):
            parts = ", ".join(
                f"tensor {tuple(part.shape)}" if isinstance(part, Tensor) else type(part).__name__
                for part in batch[:3]
            )
            raise ValueError(f"{self.split} {RULE}, got a batch of {len(batch)} parts: {parts}")
        inputs, targets = batch
        check_dense(self.split, (inputs, targets))
        return inputs, targets

    def first(self) -> Inputs:
        """The inputs of the first batch, [N, ...] each."""
        inputs, _ = next(iter(self))
        return inputs

    def example(self) -> Inputs:
        """The first two inputs, or one if the first batch has no more; [2, ...] each."""
        found: Inputs = taken(self.first(), slice(2))
        return found

    def shuffled(self, generator: torch.Generator) -> "Batches":
        """The same, samples in memory in a random order; other batches come as they come."""
        pair = _in_memory(self.source)
        if pair is None:
            return self
        _, targets = self._checked(pair)
        return replace(self, order=torch.randperm(len(targets), generator=generator))

    def _parts(self, targets: Tensor) -> int:
        return max(1, -(-len(targets) // self.batch_size))

    def _number(self) -> str:
        """Of how many batches, where that is known."""
        pair = _in_memory(self.source)
        if pair is None:
            return f"/{len(self.source)}" if isinstance(self.source, Sized) else ""
        return f"/{self._parts(pair[1])}" if _is_samples(pair[1]) else ""

    def _batches(self) -> Iterable[Any]:
        pair = _in_memory(self.source)
        if pair is None:
            return self.source
        inputs, targets = self._checked(pair)
        self._check_count(inputs, targets)
        # Of equal sizes, so that no batch is too small for the statistics of a batch norm.
        parts = self._parts(targets)
        rows: Iterable[slice | Tensor] = _slices(len(targets), parts)
        if self.order is not None:
            rows = self.order.tensor_split(parts)
        return ((taken(inputs, part), taken(targets, part)) for part in rows)


def _slices(count: int, parts: int) -> Iterator[slice]:
    """As `Tensor.tensor_split` cuts: the first are larger by one if it does not divide."""
    size, larger = divmod(count, parts)
    start = 0
    for part in range(parts):
        stop = start + size + (part < larger)
        yield slice(start, stop)
        start = stop


def _is_samples(part: Any) -> bool:
    return isinstance(part, Tensor) and part.ndim > 0


def _is_inputs(part: Any) -> bool:
    return _is_samples(part) or (
        isinstance(part, tuple | list | Mapping) and count_of(part) > 0 and len(part) > 0
    )


def _in_memory(source: Samples) -> tuple[Any, Any] | None:
    """`source` itself if it is a pair of inputs and targets, and not of batches of them."""
    if isinstance(source, tuple | list) and len(source) == 2:
        inputs, targets = source
        if not (isinstance(inputs, tuple | list) and isinstance(targets, tuple | list)):
            return inputs, targets
    return None
