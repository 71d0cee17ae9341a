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
Key = tuple[Cluster, str]  # a cluster, and whether it is read "first" or "last"
Listen = Callable[[Inputs], dict[Key, list[Tensor]]]


@dataclass(frozen=True)
class Tap:
    """A module whose output carries a cluster on dimension `dim`, which is laid out as `axis`."""

    module: str
    dim: int
    axis: Axis


def taps(spec: PermutationSpec) -> dict[Key, Tap]:
    """For each cluster, the last and the first module in forward order whose output carries it.

    A block with two clusters is not read: the units of the one are in an unknown order while those
    of the other are matched.
    """
    found: dict[Key, Tap] = {}
    for features in spec.features.values():
        for end, ordered in (("last", features), ("first", features[::-1])):
            for feature in ordered:
                for block in blocks(feature.axis):
                    if len(block.clusters) == 1:
                        key = block.clusters[0], end
                        found[key] = Tap(feature.module, feature.dim, feature.axis)
    return found


@contextmanager
def listening(model: nn.Module, where: Mapping[Key, Tap]) -> Iterator[Listen]:
    """Within the context, a function from a batch to each key's features, [units, samples].

    A module that runs several times gives as many features. The model is in eval mode meanwhile;
    at the end every module's mode is as it was and all hooks are off. Features are copied inside
    the hook, as an in-place module that follows would overwrite them.
    """
    heard: dict[Key, list[Tensor]] = {}
    active = False  # a model that is compared with itself must not hear its other half

    def hook(key: Key, tap: Tap) -> Callable[[nn.Module, object, Tensor], None]:
        def hear(module: nn.Module, inputs: object, output: Tensor) -> None:
            del module, inputs
            if active:
                heard[key].extend(_units(output, tap, key[0]))

        return hear

    def listen(batch: Inputs) -> dict[Key, list[Tensor]]:
        nonlocal active
        heard.update({key: [] for key in where})
        inputs = (batch,) if isinstance(batch, Tensor) else batch
        active = True
        try:
            with torch.no_grad():
                model(*(tensor.to(device) for tensor in inputs))
        except (TypeError, RuntimeError) as error:
            reason = str(error).strip().partition("\n")[0]
            raise ValueError(f"batches must be inputs as the models take them: {reason}") from error
        finally:
            active = False
        return dict(heard)

    device = next(model.parameters()).device
    modes = {module: module.training for module in model.modules()}
    handles = []
    try:
        for key, tap in where.items():
            module = model.get_submodule(tap.module)
            handles.append(module.register_forward_hook(hook(key, tap)))
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
