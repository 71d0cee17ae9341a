"""Where the units of each cluster are read, and reading them batch by batch."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from llfc.matching.axes import Axis
from llfc.matching.blocks import Cluster, blocks
from llfc.matching.permutation import PermutationSpec

Inputs = Tensor | tuple[Tensor, ...]
Listen = Callable[[Inputs], dict[Cluster, list[Tensor]]]


@dataclass(frozen=True)
class Tap:
    """A module whose output carries a cluster on dimension `dim`, which is laid out as `axis`."""

    module: str
    dim: int
    axis: Axis


def last_taps(spec: PermutationSpec) -> dict[Cluster, Tap]:
    """For each cluster, the last module in forward order whose output carries it.

    A block with two clusters is not read: the units of the one are in an unknown order
    while those of the other are matched.
    """
    taps: dict[Cluster, Tap] = {}
    for features in spec.features.values():
        for feature in features:
            for block in blocks(feature.axis):
                if len(block.clusters) == 1:
                    taps[block.clusters[0]] = Tap(feature.module, feature.dim, feature.axis)
    return taps


@contextmanager
def listening(model: nn.Module, taps: Mapping[Cluster, Tap]) -> Iterator[Listen]:
    """Within the context, a function from a batch to each cluster's features, [units, samples].

    A module that runs several times gives as many features. The model is in eval mode meanwhile;
    at the end every module's mode is as it was and all hooks are off. Features are copied inside
    the hook, as an in-place module that follows would overwrite them.
    """
    heard: dict[Cluster, list[Tensor]] = {}
    active = False  # a model that is compared with itself must not hear its other half

    def hook(cluster: Cluster, tap: Tap) -> Callable[[nn.Module, object, Tensor], None]:
        def hear(module: nn.Module, inputs: object, output: Tensor) -> None:
            del module, inputs
            if active:
                heard[cluster].extend(_units(output, tap, cluster))

        return hear

    def listen(batch: Inputs) -> dict[Cluster, list[Tensor]]:
        nonlocal active
        heard.update({cluster: [] for cluster in taps})
        inputs = (batch,) if isinstance(batch, Tensor) else batch
        active = True
        try:
            with torch.no_grad():
                model(*(tensor.to(device) for tensor in inputs))
        finally:
            active = False
        return dict(heard)

    device = next(model.parameters()).device
    modes = {module: module.training for module in model.modules()}
    handles = []
    try:
        for cluster, tap in taps.items():
            module = model.get_submodule(tap.module)
            handles.append(module.register_forward_hook(hook(cluster, tap)))
        model.eval()
        yield listen
    finally:
        for handle in handles:
            handle.remove()
        for module, training in modes.items():
            module.training = training


def _units(output: Tensor, tap: Tap, cluster: Cluster) -> Iterator[Tensor]:
    """Copies of the cluster's features in `output`, [units, samples]; one for each segment."""
    feature = output.detach().movedim(tap.dim, 0)
    for block in blocks(tap.axis):
        if block.clusters == (cluster,):
            units = block.of(feature, 0).reshape(len(block.positions), -1)
            yield units.clone(memory_format=torch.contiguous_format)
