"""Layer-wise barriers: one layer, or one block, at the midpoint of A and B, the rest A's or B's."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from llfc.connectivity.evaluation import Score, evaluate
from llfc.connectivity.probes import Probe
from llfc.connectivity.subject import Measured, Subject
from llfc.modules import copy_of, tensors


def layer_barriers(subject: Subject) -> Measured:
    """Loss and error of A, and of B, with one part replaced by its mean over A and B.

    `rest` says whose all other parts are. `loss_excess` and `error_excess` are above the loss and
    error of that whole network; they may be negative. See `layer_parts` for what a part is.
    Statistics of the blend and of that whole network are corrected as those of the blends of A and
    B are, so a part that A and B share leaves no excess.

    The scalars are the largest and the mean excess of the loss.

    Costs, for each part, two forward passes over the test data, two corrections of one position and
    eight copies of the network; and a forward pass of A and B.

    Reference:
        Adilova, Andriushchenko, Kamp, Fischer & Jaggi, Layer-wise Linear Mode Connectivity, ICLR
        2024. https://arxiv.org/abs/2307.06966. Its published code takes the same midpoints, the
        rest A's or B's, with the tensors of one module as a layer. It measures either above the
        mean of A's and B's losses, we above that of the rest: where A and B differ, that difference
        is then in no layer's barrier. The mean of a part's two rows is the same.
    """
    line, rows = subject.line, []
    ends = ("a", line.a, line.b, line.ends[0]), ("b", line.b, line.a, line.ends[1])
    for rest, network, other, corrected in ends:
        whole = evaluate(corrected, subject.test)
        for part, names in layer_parts(line.a, subject.probes).items():
            score = _half(network, other, names, subject)
            excess = score.loss - whole.loss, score.error - whole.error
            rows.append((part, rest, score.loss, score.error, *excess))
    layer, rests, *numbers = zip(*rows, strict=True)
    loss, error, loss_excess, error_excess = (np.array(column) for column in numbers)
    return Measured(
        tables={
            "layer_barriers": {
                "layer": list(layer),
                "rest": list(rests),
                "loss": loss,
                "error": error,
                "loss_excess": loss_excess,
                "error_excess": error_excess,
            }
        },
        scalars={
            "layer_barrier_max": float(loss_excess.max()),
            "layer_barrier_mean": float(loss_excess.mean()),
        },
    )


def layer_parts(model: nn.Module, probes: Sequence[Probe]) -> dict[str, list[str]]:
    """The float tensors of `model`, each in one part: names of tensors by the part's name.

    A probed module that has children, a block, is one part with everything inside it; the outermost
    if there is one in another. The network itself is no block, be it probed. Every other module
    that owns a float parameter or buffer is a part. A tensor that modules share is in the part of
    the first. In the order of the modules.
    """
    named = {probe.module for probe in probes} - {""}
    blocks = {name for name in named if list(model.get_submodule(name).children())}
    found: dict[str, list[str]] = {name: [] for name, _ in model.named_modules()}
    for name, tensor in tensors(model).items():
        if tensor.is_floating_point() or tensor.is_complex():
            owner = name.rpartition(".")[0]
            steps = owner.split(".")
            around = (".".join(steps[:depth]) for depth in range(len(steps) + 1))
            found[next((module for module in around if module in blocks), owner)].append(name)
    return {module or "model": names for module, names in found.items() if names}


def _half(network: nn.Module, other: nn.Module, names: Sequence[str], subject: Subject) -> Score:
    """`network` with its tensors `names` half way to those of `other`."""
    replaced = copy_of(network)
    into, values = tensors(replaced), tensors(other)
    with torch.no_grad():
        for name in names:
            into[name].copy_(values[name])
    return evaluate(subject.half_way(network, replaced), subject.test)
