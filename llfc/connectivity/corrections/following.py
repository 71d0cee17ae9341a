"""Following what a linear map gave to what reads it, number by number, through a forward pass."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

# What moves numbers and may copy them; what gives a view of its input does so anyway.
COPIES = frozenset("clone contiguous flatten reshape to type_as float double half bfloat16".split())


@dataclass(frozen=True, eq=False)
class Value:
    """What a linear map gave, moved about.

    Attributes:
        tensor: kept, so that its identity is its own.
        version: how often it had been written to.
        channel: the channel of each of its numbers, in its shape.
        call: the number of the linear map.
    """

    tensor: Tensor
    version: int
    channel: Tensor
    call: int

    def dim(self) -> int | None:
        """The dimension along which the channels lie one by one, counted from the last, if any."""
        count = int(self.channel.max()) + 1
        for dim in range(self.channel.ndim):
            rows = self.channel.movedim(dim, 0).flatten(1)
            alike = torch.equal(rows, rows[:, :1].expand_as(rows))
            if alike and len(rows) == count == len(torch.unique(rows[:, 0])):
                return dim - self.channel.ndim
        return None


class Following:
    """What is known of the tensors of a forward pass of `model`.

    Attributes:
        biases: by number of a linear map, the name of the tensor that is added to what it gave.
    """

    def __init__(self, model: nn.Module) -> None:
        named = (*model.named_parameters(), *model.named_buffers())
        self._names = {_place(tensor): name for name, tensor in named}
        self._constants = {id(tensor): tensor for _, tensor in named}
        self._values: dict[int, Value] = {}
        self.biases: dict[int, str] = {}

    def is_constant(self, tensor: Any) -> bool:
        """Whether it is made of the network's own tensors alone, so the same for all images."""
        return id(tensor) in self._constants

    def value(self, tensor: Any) -> Value | None:
        """What is known of a tensor that nothing has written to since."""
        value = self._values.get(id(tensor))
        return value if value is not None and value.version == value.tensor._version else None

    def begin(self, output: Tensor, dim: int, call: int) -> None:
        """Follow what linear map number `call` gave, whose dimension `dim` is its channels."""
        shape = [1] * output.ndim
        shape[dim] = -1
        channel = torch.arange(output.shape[dim], device=output.device).view(shape)
        self._note(output, channel.expand(output.shape), call)

    def follow(
        self,
        func: Callable[..., Any],
        function: str,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        output: Any,
    ) -> None:
        """Learn what there is to know of the output of a function, by its name, from its input."""
        given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        if given and all(map(self.is_constant, given)):
            made = [leaf for leaf in tree_leaves(output) if isinstance(leaf, Tensor)]
            self._constants |= {id(tensor): tensor for tensor in made}
        elif not isinstance(output, Tensor) or not args:
            return
        elif function in ("add", "add_") and len(args) == 2 and not kwargs:
            for x, added in (args, args[::-1]):
                self._add(x, added, output)
        elif (value := self.value(args[0])) is not None and output is not value.tensor:
            view = _memory(output) == _memory(value.tensor) and output._version == value.version
            if (view or function in COPIES) and output.numel() == value.tensor.numel():
                self._note(output, func(value.channel, *args[1:], **kwargs), value.call)

    def _add(self, x: Any, added: Any, output: Tensor) -> None:
        """Note the output if `x` is followed and what was added is one number a channel."""
        value = self._values.get(id(x))
        if value is None or not self.is_constant(added) or output.shape != value.channel.shape:
            return
        if value.version + int(x is output) != value.tensor._version:  # in place, it was written to
            return
        numbers, channel = added.expand(output.shape).flatten(), value.channel.flatten()
        one = numbers.new_zeros(int(channel.max()) + 1)
        one[channel] = numbers  # any of each channel, as they are equal or it is no bias
        if torch.equal(one[channel], numbers):
            self._note(output, value.channel, value.call)
            if _place(added) in self._names:
                self.biases[value.call] = self._names[_place(added)]

    def _note(self, tensor: Tensor, channel: Tensor, call: int) -> None:
        self._values[id(tensor)] = Value(tensor, tensor._version, channel, call)


def _place(tensor: Tensor) -> tuple[int, int]:
    """The same for a tensor and for a view of all of it."""
    return tensor.data_ptr(), tensor.numel()


def _memory(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()
