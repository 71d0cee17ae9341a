"""Networks in train or eval mode for a while, and examples that train mode takes."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree


@contextlib.contextmanager
def in_mode(model: nn.Module, training: bool) -> Iterator[None]:
    """The model in train or eval mode, and each module's own mode back again afterwards.

    It is put in train mode before and after, where modules drop what they keep for eval mode (an
    attention bias that was looked up once), which would be that of another state.
    """
    before = [(module, module.training) for module in model.modules()]
    try:
        model.train(True)
        model.train(training)
        yield
    finally:
        model.train(True)
        model.train(before[0][1])
        for module, was_training in before:
            module.training = was_training


def twice(inputs: Sequence[Any]) -> Sequence[Any]:
    """Each example two times over, where there is one: a norm in train mode has to have more."""

    def doubled(x: Tensor) -> Tensor:
        return torch.cat([x, 1.5 * x if x.is_floating_point() else x]) if x.dim() else x

    sizes = {len(x) for x in pytree.tree_leaves(inputs) if isinstance(x, Tensor) and x.dim()}
    return pytree.tree_map_only(Tensor, doubled, inputs) if sizes == {1} else inputs


def use_batch_statistics(model: nn.Module) -> None:
    """Let norms with running statistics use those of the batch; every other mode stays."""
    for module in model.modules():
        if any(name.startswith("running_") for name, _ in module.named_buffers(recurse=False)):
            module.training = True  # the norm's own switch
