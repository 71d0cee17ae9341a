"""A control: as far from an end as the midpoint of the line is, in a direction drawn at random."""

import numpy as np
import torch
from torch import nn

from llfc.connectivity.evaluation import Score, evaluate
from llfc.connectivity.subject import Measured, Subject
from llfc.modules import copy_of
from llfc.modules.reals import norms
from llfc.seeds import stream


def random_direction(subject: Subject) -> Measured:
    """Loss and error half way from each end towards a random network.

    From each end, every parameter goes half as far as it is from A to B, in a Gaussian direction
    drawn for that seed and end alone; so no layer moves more, or less, than it does to the midpoint
    of the line. Buffers are corrected as those of the blends are. Where the loss is as low here as
    on the line, the low barrier says how flat the valley is, and nothing of the line.

    Costs two forward passes over the test data and two corrections of one position.
    """
    line = subject.line
    scores: list[Score] = []
    for name, start, other in (("a", line.a, line.b), ("b", line.b, line.a)):
        end = _moved(start, other, stream(subject.seed, f"random-direction/{name}"))
        scores.append(evaluate(subject.half_way(start, end), subject.test))
    loss = np.array([score.loss for score in scores])
    error = np.array([score.error for score in scores])
    return Measured(
        tables={"random_direction": {"start": ["a", "b"], "loss": loss, "error": error}},
        scalars={"random_loss_mid": float(loss.mean()), "random_error_mid": float(error.mean())},
    )


@torch.no_grad()
def _moved(start: nn.Module, other: nn.Module, generator: torch.Generator) -> nn.Module:
    """`start` with every parameter moved at random, as far as it is from `other`'s."""
    moved = copy_of(start)
    for here, there in zip(moved.parameters(), other.parameters(), strict=True):
        kind = torch.complex64 if here.is_complex() else torch.float32
        direction = torch.randn(here.shape, generator=generator, dtype=kind).to(here)
        size = norms(direction)
        if size > 0:
            here.add_(direction * (norms(there - here) / size))
    return moved
