"""Reading the features of probes through hooks that always come off."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from llfc.connectivity.probes.probe import Probe
from llfc.modules.hooks import hooked
from llfc.modules.inputs import Inputs, alike, count_of, each_of, run
from llfc.modules.sites import uncounted


@contextmanager
def tapped(
    model: nn.Module, probes: Sequence[Probe], receive: Callable[[int, Tensor], None]
) -> Iterator[None]:
    """Within the context, every forward pass of `model` hands each probe's feature to `receive`.

    Args:
        model: the network; called with images along dimension 0 as its first argument.
        probes: what to read.
        receive: takes a probe's index and its feature, one row per image, [N, D], as `Probe.rows`
            has it; called at once, so before a module that works in place can overwrite the
            feature.
    """

    def read(index: int, output: Any, images: int) -> None:
        with uncounted():
            receive(index, probes[index].rows(output, images))

    with _captured(model, probes, read):
        yield


@contextmanager
def _captured(
    model: nn.Module, probes: Sequence[Probe], read: Callable[[int, Any, int], None]
) -> Iterator[None]:
    """As `tapped`; `read` is given the index, the output as it is, and the number of images."""
    wanted = {(p.module, p.call, p.handed): index for index, p in enumerate(probes)}
    counts: Counter[tuple[str, bool]] = Counter()
    images = 0

    def begin(module: nn.Module, inputs: Any, named: Any) -> None:
        nonlocal images
        del module
        images = count_of((inputs, named))
        counts.clear()

    def meet(name: str, value: Any, *, handed: bool) -> None:
        counts[name, handed] += 1
        index = wanted.get((name, counts[name, handed], handed))
        if index is not None:
            read(index, value, images)

    def gives(name: str) -> Callable[[nn.Module, Any, Any], None]:
        return lambda module, inputs, output: meet(name, output, handed=False)

    def takes(name: str) -> Callable[[nn.Module, Any, Any], None]:
        return lambda module, inputs, named: meet(name, (inputs, named), handed=True)

    def handles() -> Iterator[RemovableHandle]:
        yield model.register_forward_pre_hook(begin, with_kwargs=True)
        for name, handed in {(probe.module, probe.handed) for probe in probes}:
            module = model.get_submodule(name)
            if handed:
                yield module.register_forward_pre_hook(takes(name), with_kwargs=True)
            else:
                yield module.register_forward_hook(gives(name))

    with hooked(handles()):
        yield


@torch.no_grad()
def features_of(
    model: nn.Module, probes: Sequence[Probe], images: Inputs, counted: Tensor | None = None
) -> list[Tensor]:
    """Each probe's feature of each image, one row per image, [N, D]; at least in float32.

    Where tokens are samples, one row per token that is `counted`, [N, T].

    Raises:
        ValueError: if a probe gives no tensor that holds the images.
    """
    found: list[Tensor] = []
    rows = slice(None) if counted is None else counted.reshape(-1)
    with tapped(model, probes, lambda index, feature: found.append(feature[rows].clone())):
        run(model, images)
    return found


@torch.no_grad()
def unread_probes(model: nn.Module, probes: Sequence[Probe], images: Inputs) -> dict[str, str]:
    """The names of probes that are not read on these images, and why.

    Such are those of modules that are given a part of the images, as experts are.
    """
    found = {probe.name: "it does not run on every batch" for probe in probes}

    def read(index: int, output: Any, count: int) -> None:
        probe = probes[index]
        if probe.axis.holds(tensor := probe.tensor(output), count):
            del found[probe.name]
        else:
            shape = list(tensor.shape)
            found[probe.name] = f"its output {shape} does not hold {count} images, given as many"

    with _captured(model, probes, read):
        run(model, images)
    return found


@torch.no_grad()
def token_dims(
    model: nn.Module, probes: Sequence[Probe], example: Inputs, tokens: int
) -> dict[str, int]:
    """The dimension of the tokens in `Probe.canonical`, of each probe that has one, by its name.

    It is the one that is shorter by one where the inputs are; where the model takes no shorter
    ones, the first that has as many numbers as there are tokens.
    """
    whole = _shapes(model, probes, example)
    cut = each_of(example, lambda x: x[:, :-1] if x.ndim > 1 and x.shape[1] == tokens > 1 else x)
    try:
        less = _shapes(model, probes, cut) if not alike(cut, example) else {}
    except Exception:  # whatever a model's own code raises
        less = {}
    found = {}
    for name, shape in whole.items():
        dims = [d for d, size in enumerate(shape) if d and size == tokens]
        if less:
            other = less.get(name, ())
            dims = [d for d in dims if len(other) == len(shape) and other[d] == tokens - 1]
        if dims:
            found[name] = dims[0]
    return found


def _shapes(model: nn.Module, probes: Sequence[Probe], images: Inputs) -> dict[str, torch.Size]:
    found: dict[str, torch.Size] = {}

    def read(index: int, output: Any, count: int) -> None:
        found[probes[index].name] = probes[index].canonical(output, count).shape

    with _captured(model, probes, read):
        run(model, images)
    return found
