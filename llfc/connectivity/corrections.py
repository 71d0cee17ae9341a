"""What is done to the statistics of each blend; the ends keep their own, so they stay A and B."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from llfc.connectivity.blend import Corrected, Line
from llfc.connectivity.layerwise import Moments
from llfc.connectivity.repair import repair, rescale
from llfc.connectivity.samples import Batches


class Correction(Protocol):
    """Finds what the network at each position of the line owes; nothing at the ends.

    `train` is training data, for corrections that look at features.
    """

    def __call__(self, line: Line, train: Batches | None) -> Sequence[Corrected]: ...


def no_correction(line: Line, train: Batches | None) -> Sequence[Corrected]:
    """Statistics stay as they were blended."""
    del train
    return [Corrected() for _ in line.alpha]


def reset(line: Line, train: Batches | None) -> Sequence[Corrected]:
    """Running statistics of every batch norm, computed anew for every blend on training data.

    One pass over the data, in which every batch norm normalises by its batch's own statistics, so
    that those of a layer come from inputs that the layers before it have already normalised. Its
    running mean and variance become the mean and the (unbiased) variance over all the data, each
    batch weighted by its size: no momentum, no dependence on the order of the batches. Only batch
    norms are in training mode; dropout stays off. They depend on what is in a batch as far as its
    statistics differ from those of all the data: batches of one class each give others than were
    trained with, and spoil the blend. A batch of a single image is left out. The ends keep the
    statistics they were trained with. Networks without batch norm are left as they are.

    Raises:
        ValueError: if there is a batch norm, but no training data.

    Reference:
        Jordan, Sedghi, Saukh, Entezari & Neyshabur, REPAIR, ICLR 2023, section 3.
        https://arxiv.org/abs/2211.08403
        Izmailov et al., Averaging Weights Leads to Wider Optima and Better Generalization, UAI
        2018, section 3.2, for the pass that recomputes them. https://arxiv.org/abs/1803.05407
    """
    norms = batch_norms(line.a)
    if not norms:
        return no_correction(line, train)
    if train is None:
        raise ValueError("correction 'reset' needs train images for the batch norms, got None")
    found: list[dict[str, Moments]] = [{} for _ in line.alpha]
    for images, _ in train:
        if len(images) > 1:
            for position in line.inner:
                _add_batch(line.at(position), norms, images, found[position])
    if not found[1]:
        raise ValueError("correction 'reset' needs train batches of at least 2 images")
    return [Corrected(buffers=_statistics(moments)) for moments in found]


CORRECTIONS: Mapping[str, Correction] = {
    "none": no_correction,
    "repair": repair,
    "rescale": rescale,
    "reset": reset,
}


def batch_norms(model: nn.Module) -> tuple[str, ...]:
    """Names of the batch norms of `model` that keep running statistics."""
    return tuple(
        name
        for name, module in model.named_modules()
        if isinstance(module, _BatchNorm) and module.running_mean is not None
    )


@torch.no_grad()
def _add_batch(
    model: nn.Module, norms: Sequence[str], images: Tensor, found: dict[str, Moments]
) -> None:
    def hook(name: str) -> Callable[[_BatchNorm, Any, Any], None]:
        def hear(module: _BatchNorm, inputs: tuple[Tensor], output: Any) -> None:
            del output
            batch = _batch_moments(module, inputs[0])
            found[name] = found[name].merged(batch) if name in found else batch

        return hear

    modules = {name: cast(_BatchNorm, model.get_submodule(name)) for name in norms}
    with _by_batch_statistics(list(modules.values())):
        handles = [norm.register_forward_hook(hook(name)) for name, norm in modules.items()]
        try:
            model(images)
        finally:
            for handle in handles:
                handle.remove()


def _batch_moments(module: _BatchNorm, inputs: Tensor) -> Moments:
    """What the norm has just seen: with momentum 1, its running statistics are its batch's."""
    assert module.running_mean is not None
    assert module.running_var is not None
    count = inputs.numel() // module.num_features
    squares = module.running_var.double() * (count - 1)  # running_var is unbiased
    # Copies, as the next batch is noted in the same buffers.
    return Moments(count, module.running_mean.to(torch.float64, copy=True), squares)


@contextmanager
def _by_batch_statistics(norms: Sequence[_BatchNorm]) -> Iterator[None]:
    momenta = [norm.momentum for norm in norms]
    try:
        for norm in norms:
            norm.training, norm.momentum = True, 1.0
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.training, norm.momentum = False, momentum


def _statistics(moments: Mapping[str, Moments]) -> dict[str, Tensor]:
    found = {}
    for name, seen in moments.items():
        prefix = f"{name}." if name else ""
        found[f"{prefix}running_mean"] = seen.mean
        found[f"{prefix}running_var"] = seen.squares / (seen.count - 1)
    return found
