"""One call of one module, and where in what it gives the features of the images are."""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from llfc.modules.imageaxis import ImageAxis

HANDED = ":input"  # ends the name of a probe that reads what a module takes


@dataclass(frozen=True)
class Probe:
    """One call of one module in a forward pass: what it gives, or what it takes.

    Attributes:
        name: the module's name, with `:input` if what it takes is read, and with `#2` and so on
            from its second call.
        module: the module's name in the network.
        call: which call of the module, from 1.
        part: which leaf of the output is read, if that is a tuple, a dictionary or the like.
        axis: where the images are in it.
        kind: what the feature is; one of `llfc.results.LAYER_KINDS`.
        depth: the share of the network's linear maps that have run by then.
        logits: whether it is the network's own output.
        handed: whether what it takes is read, `output` below, its arguments.
        token: the dimension of the tokens in what `canonical` gives, where each is a sample; None
            where an image, or a whole sequence, is.
    """

    name: str
    module: str
    call: int
    part: int = 0
    axis: ImageAxis = field(default_factory=ImageAxis)
    kind: str = "other"
    depth: float = 1.0
    logits: bool = False
    handed: bool = False
    token: int | None = None

    def tensor(self, output: Any) -> Tensor:
        """What is read of the module's output.

        Raises:
            ValueError: if it is no tensor.
        """
        parts = pytree.tree_leaves(output)
        if self.part >= len(parts) or not isinstance(parts[self.part], Tensor):
            raise ValueError(f"probe {self.name!r} returns no tensor")
        found: Tensor = parts[self.part]
        return found

    def rows(self, output: Any, count: int) -> Tensor:
        """The feature of each of `count` images as one row, [count, D]; at least in float32.

        Where each token is a sample, [count * tokens, D].

        Numbers are in the order of their memory where that saves a copy: the same order in all
        networks that lie alike. A view of `output` where that can be.

        Raises:
            ValueError: if the output does not hold so many images.
        """
        try:
            if self.token is not None:
                whole = self.canonical(output, count).movedim(self.token, 1)
                feature = whole.reshape(count * whole.shape[1], -1)
            else:
                feature = self.axis.rows(self.tensor(output), count, in_memory_order=True)
        except ValueError as error:
            raise ValueError(
                f"feature of probe {self.name!r}: {error}; name another module in probes instead"
            ) from None
        # Half precision has too few digits for a sum of squares.
        return feature.float() if feature.element_size() < torch.float32.itemsize else feature

    def canonical(self, output: Any, count: int) -> Tensor:
        """What is read, with the images as dimension 0 and folds of it in dimensions of their own.

        Raises:
            ValueError: if the output does not hold so many images.
        """
        tensor = self.tensor(output)
        if not self.axis.holds(tensor, count):
            raise ValueError(f"it does not hold {count} images, given as many")
        unfolded = self.axis.unfold(tensor, count).movedim(self.axis.place, 0)
        return torch.view_as_real(unfolded) if unfolded.is_complex() else unfolded

    def replaced(self, output: Any, tensor: Tensor) -> Any:
        """`output` with `tensor` in place of what is read of it."""
        parts, structure = pytree.tree_flatten(output)
        parts[self.part] = tensor
        return pytree.tree_unflatten(parts, structure)
