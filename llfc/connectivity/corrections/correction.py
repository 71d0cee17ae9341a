"""What a correction is, and the one that does nothing."""

from collections.abc import Iterable
from typing import Protocol

from torch import Tensor

from llfc.connectivity.blend import Corrected, Corrections, Line
from llfc.connectivity.samples import Batches


class Correction(Protocol):
    """Finds what the networks at some positions of the line owe.

    Args:
        line: the networks.
        train: training data, for corrections that look at features; None if there are none.
        example: one or two images, on which is found what the networks run.
        at: positions; the ends are corrected as the networks between them are.
    """

    def __call__(
        self, line: Line, train: Batches | None, example: Tensor, at: Iterable[int]
    ) -> Corrections: ...


def no_correction(
    line: Line, train: Batches | None, example: Tensor, at: Iterable[int]
) -> Corrections:
    """Statistics stay as they were blended."""
    del line, train, example
    return Corrections(dict.fromkeys(at, Corrected()))
