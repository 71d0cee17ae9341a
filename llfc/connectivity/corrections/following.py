"""Following what a layer gives through the arithmetic that it does on it, number by number.

A chain is what a linear map or a norm gives, and what is made of it with the network's own tensors,
and of nothing else: moved about, shifted and scaled per channel, normalised by what is written out.
It ends where anything else reads it: an activation function, the sum with another layer's output,
the next layer.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from llfc.modules.sites import function_name

Function = Callable[..., Any]
Given = tuple[Sequence[Any], Mapping[str, Any]]  # arguments, and those by name

# What moves numbers and may copy them; what gives a view of its input does so anyway.
COPIES = frozenset("clone contiguous flatten reshape to type_as float double half bfloat16".split())
# A number a channel, or a statistic, changes what is followed channel by channel.
AFFINE = frozenset("add sub mul div true_divide add_ sub_ mul_ div_ __rsub__ neg".split())
# Makes statistics of it.
STATISTICS = frozenset(
    "mean sum var std var_mean std_mean pow square sqrt rsqrt reciprocal __rdiv__ norm vector_norm"
    " linalg_vector_norm __getitem__".split()
)


@dataclass(frozen=True, eq=False)
class Channels:
    """Which channel each number of a tensor is of.

    Attributes:
        of: the channel of each number, in the tensor's shape.
        count: how many channels there are.
        dim: the dimension along which they lie one by one, counted from the last; None if they do
            not, as in a map that was flattened.
    """

    of: Tensor
    count: int
    dim: int | None

    @staticmethod
    def along(dim: int, tensor: Tensor) -> "Channels":
        """Those of a tensor whose dimension `dim`, counted from the last, is its channels."""
        shape = [1] * tensor.ndim
        shape[dim] = -1
        channel = torch.arange(tensor.shape[dim], device=tensor.device).view(shape)
        return Channels(channel.expand(tensor.shape), tensor.shape[dim], dim)

    def moved(self, of: Tensor) -> "Channels":
        """These, where each number's channel was moved as the number was."""
        for dim, size in enumerate(of.shape):
            first = of.movedim(dim, -1).reshape(-1, size)[:1].reshape(-1)
            line = first.view([-1 if d == dim else 1 for d in range(of.ndim)])
            if size == self.count == len(torch.unique(first)) and bool((of == line).all()):
                return Channels(of, self.count, dim - of.ndim)
        return Channels(of, self.count, None)

    def has(self, constant: Tensor) -> bool:
        """Whether it is one number for all, or one for each channel, as it broadcasts."""
        sizes = {at - constant.ndim: size for at, size in enumerate(constant.shape)}
        return self.dim is not None and all(s == 1 for at, s in sizes.items() if at != self.dim)


@dataclass(eq=False)
class ChainValue:
    """A tensor of a chain.

    Attributes:
        tensor: kept, so that its identity is its own.
        version: how often it had been written to.
        channels: where they are in it; None of a statistic.
        chain: the number of the call that began the chain.
        made: the number of the call that made it.
        moved: whether that only moved numbers.
        read: the number of the last call that read it.
    """

    tensor: Tensor
    version: int
    channels: Channels | None
    chain: int
    made: int
    moved: bool
    read: int = -1

    @property
    def dim(self) -> int | None:
        """The dimension along which the channels lie one by one, counted from the last, if any."""
        return None if self.channels is None else self.channels.dim

    def sees(self, tensor: Tensor) -> bool:
        """Whether `tensor` is another view of this one's memory, which was not written to."""
        memory, own = (t.untyped_storage().data_ptr() for t in (tensor, self.tensor))
        unwritten = tensor._version == self.version
        return memory == own and tensor is not self.tensor and unwritten


class Following:
    """The chains of a forward pass of `model`.

    Attributes:
        chains: the tensors of each, as they were made, by the number of the call that began it.
        normed: the chains that a norm of PyTorch's reads, which begins another.
    """

    def __init__(self, model: nn.Module) -> None:
        own = (*model.parameters(), *model.buffers())
        self._constants = {id(tensor): tensor for tensor in own}
        self._values: dict[int, ChainValue] = {}
        self.chains: dict[int, list[ChainValue]] = {}
        self.normed: set[int] = set()

    def is_constant(self, tensor: Any) -> bool:
        """Whether it is made of the network's own tensors alone, so the same for all images."""
        return id(tensor) in self._constants

    def read(self, given: Sequence[Tensor], call: int) -> list[ChainValue]:
        """Those of the tensors `given` to call number `call` that are in chains, as they are."""
        found = []
        for tensor in given:
            value = self._values.get(id(tensor))
            if value is not None and value.version == tensor._version:
                value.read = call
                found.append(value)
        return found

    def begin(self, output: Tensor, channels: Channels, call: int) -> None:
        """Follow what call number `call`, of a linear map or a norm, gave."""
        self.chains[call] = []
        self._note(output, channels, call, call, moved=False)

    def norm(self, function: str, known: Sequence[ChainValue], output: Tensor, call: int) -> None:
        """Follow what a norm, call number `call`, gave; it was given the values `known`.

        A batch norm's channels are its own; those of another norm are the linear map's, which it
        must directly follow.
        """
        whole = [v for v in known if v.channels is not None and v.dim is not None]
        self.normed |= {value.chain for value in whole}
        if function == "batch_norm":
            self.begin(output, Channels.along(1 - output.ndim, output), call)
        elif whole and whole[0].channels is not None:
            self.begin(output, whole[0].channels, call)

    def go_on(
        self, func: Function, given: Given, known: Sequence[ChainValue], output: Any, call: int
    ) -> None:
        """Learn what call number `call` makes of the values `known` among what it is given."""
        made = [leaf for leaf in tree_leaves(output) if isinstance(leaf, Tensor)]
        tensors = [leaf for leaf in tree_leaves(given) if isinstance(leaf, Tensor)]
        others = [tensor for tensor in tensors if not self.is_constant(tensor)]
        if tensors and not others:
            self._constants |= {id(tensor): tensor for tensor in made}
        if not known or len(known) < len(others) or len({value.chain for value in known}) > 1:
            return
        function = function_name(func)
        channels, moved = self._channels(func, given, known, output)
        statistic = function in STATISTICS | AFFINE
        if channels or statistic or any(v.sees(tensor) for tensor in made for v in known):
            for tensor in made:
                self._note(tensor, channels, known[0].chain, call, moved=moved)

    def _channels(
        self, func: Function, given: Given, known: Sequence[ChainValue], output: Any
    ) -> tuple[Channels | None, bool]:
        """Where the channels are in an output, if it has them, and whether it was only moved."""
        whole = [value for value in known if value.channels is not None]
        if len(whole) != 1 or not isinstance(output, Tensor):
            return None, False
        (value,), function, (args, kwargs) = whole, function_name(func), given
        channels = value.channels
        assert channels is not None  # or it were not whole
        if function in AFFINE:
            fits = self._is_affine(function, [*args, *kwargs.values()], value, output)
            return (channels if fits else None), False
        if value.sees(output) or function in COPIES:
            if output.numel() == channels.of.numel() and args[0] is value.tensor:
                return channels.moved(func(channels.of, *args[1:], **kwargs)), True
        return None, False

    def _is_affine(
        self, function: str, given: Sequence[Any], value: ChainValue, output: Tensor
    ) -> bool:
        """Whether all else that is given is one number per channel, or a statistic of the chain."""
        divided = function in ("div", "div_", "true_divide")
        if output.shape != value.tensor.shape or (divided and given[0] is not value.tensor):
            return False
        assert value.channels is not None  # as it is whole
        others = [x for x in given if isinstance(x, Tensor) and x is not value.tensor]
        return all(
            value.channels.has(x) if self.is_constant(x) else x.numel() < output.numel()
            for x in others
        )

    def _note(
        self, tensor: Tensor, channels: Channels | None, chain: int, call: int, *, moved: bool
    ) -> None:
        value = ChainValue(tensor, tensor._version, channels, chain, call, moved)
        self._values[id(tensor)] = value
        self.chains[chain].append(value)


def last_of(chain: Sequence[ChainValue]) -> ChainValue:
    """The last of a chain, not only moved, through which all that comes after it goes."""
    return list(_cuts(chain))[-1]


def _cuts(chain: Sequence[ChainValue]) -> Iterator[ChainValue]:
    for value in chain:
        before = (other.read for other in chain if other.made < value.made)
        if max(before, default=-1) <= value.made and not value.moved and value.dim is not None:
            yield value
