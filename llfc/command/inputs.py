"""Inputs of a network where no data are given: random ones, of a shape."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from llfc.seeds import stream

SHAPE = re.compile(r"(\d+(?:,\d+)*)(?::(\d+))?")
HELP = (
    "Shape of random inputs, samples first, such as 2,3,32,32; 2,64:50257 is whole numbers below"
    " 50257. Once for each input of the model."
)


@dataclass(frozen=True)
class Drawn:
    """A random tensor.

    Attributes:
        shape: samples first.
        below: whole numbers from 0 to below this; standard normal numbers if None.
    """

    shape: tuple[int, ...]
    below: int | None = None

    @staticmethod
    def parsed(text: str) -> "Drawn":
        """From `SIZES` or `SIZES:BELOW`.

        Raises:
            ValueError: if it is of another form.

        >>> Drawn.parsed("2,64:50257")
        Drawn(shape=(2, 64), below=50257)
        """
        found = SHAPE.fullmatch(text)
        shape = tuple(map(int, found[1].split(","))) if found else ()
        if found is None or not all(shape) or found[2] == "0":
            raise ValueError(
                f"input must be sizes such as 2,3,32,32, or 2,64:50257 for whole numbers below"
                f" 50257, got {text!r}"
            )
        return Drawn(shape, int(found[2]) if found[2] else None)

    def draw(self, number: int, seed: int) -> Tensor:
        """The tensor; of each seed and number of an input another one."""
        generator = stream(seed, f"command/input/{number}")
        if self.below is None:
            return torch.randn(self.shape, generator=generator)
        return torch.randint(self.below, self.shape, generator=generator)

    def __str__(self) -> str:
        kind = "" if self.below is None else f":{self.below}"
        return ",".join(map(str, self.shape)) + kind


def drawn(wanted: Sequence[Drawn], seed: int) -> tuple[Tensor, ...]:
    """Random inputs of all these shapes.

    Raises:
        ValueError: if there are none.
    """
    if not wanted:
        raise ValueError(
            "the model's inputs are not known: say their shape, such as --input 2,3,32,32, or give"
            " --data"
        )
    return tuple(each.draw(number, seed) for number, each in enumerate(wanted))
