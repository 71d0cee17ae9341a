"""Corrections of one's own: a function of a blend that returns it corrected."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from llfc.connectivity.blend import Corrected, Corrections, Line
from llfc.connectivity.samples import Batches
from llfc.modules import copy_of, tensors
from llfc.modules.inputs import Inputs
from llfc.plugins import call, own_function
from llfc.seeds import drawn_alike

OFFERED = ("model", "a", "b", "alpha", "batches")


@dataclass(frozen=True)
class OwnCorrection:
    """A plug-in under the signature of `llfc.connectivity.blend.Correction`.

    It is called once per position, the ends' included, and returns the network that it was given,
    or another of the same architecture: its parameters and buffers are what counts. Those that it
    changes are held for every position.

    Attributes:
        what: it is, at the beginning of errors.
        function: takes any of OFFERED, by name.
    """

    what: str
    function: Callable[..., Any]

    @staticmethod
    def named(name: str) -> "OwnCorrection":
        """That of the plug-in called `name`.

        Raises:
            ValueError: if there is none, or it takes other arguments.
        """
        return OwnCorrection(*own_function("correction", name, OFFERED))

    def __call__(
        self, line: Line, train: Batches | None, example: Inputs, at: Iterable[int]
    ) -> Corrections:
        """What the plug-in changes in the network at each position.

        Raises:
            ValueError: if it raises, or returns anything but a network of the same architecture.
        """
        del example
        ends = {"a": copy_of(line.a), "b": copy_of(line.b), "batches": train}
        corrected = {}
        for position in at:
            given = copy_of(line.at(position))
            before = {name: tensor.clone() for name, tensor in tensors(given).items()}
            offered = {"model": given, **ends, "alpha": float(line.alpha[position])}
            with drawn_alike(0):
                found = call(self.what, self.function, offered)
            corrected[position] = Corrected(buffers=self._changed(before, found))
        layers = (len({_module(n) for n in each.buffers}) for each in corrected.values())
        return Corrections(corrected, layers=max(layers, default=0))

    def _changed(self, before: Mapping[str, Tensor], found: Any) -> dict[str, Tensor]:
        """The tensors of `found` that are not as they were before."""
        if not isinstance(found, nn.Module):
            raise ValueError(
                f"{self.what} must return a torch.nn.Module, got a {type(found).__name__}"
            )
        after = tensors(found)
        for name in [*before, *(name for name in after if name not in before)]:
            shapes = [tuple(s[name].shape) if name in s else "none" for s in (before, after)]
            if shapes[0] != shapes[1]:
                raise ValueError(
                    f"{self.what} must return a network of the same architecture, but {name} is of"
                    f" shape {shapes[1]}, not {shapes[0]}"
                )
        return {
            name: tensor.detach().clone()
            for name, tensor in after.items()
            if not torch.equal(tensor.to(before[name]), before[name])
        }


def _module(tensor: str) -> str:
    """The module that a tensor is of."""
    return tensor.rpartition(".")[0]
