"""What may stand for a network: a module itself, and inputs that it takes."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

# Modules that run another one, by class name, and the attribute under which they hold it. The
# names of its tensors differ inside, and hooks on its parts do not run as they do in itself.
WRAPPERS: Mapping[str, str] = {
    "DataParallel": "module",
    "DistributedDataParallel": "module",
    "OptimizedModule": "_orig_mod",
}


def check_network(role: str, model: Any) -> None:
    """Refuse what is no module, or runs another one inside.

    Args:
        role: what the caller calls `model`.
        model: whatever was given for a network.

    Raises:
        ValueError: if it is no `torch.nn.Module`, or a data-parallel or compiled one.
    """
    kind = type(model).__name__
    if not isinstance(model, nn.Module):
        raise ValueError(f"{role} must be a torch.nn.Module, got {kind}")
    if kind in WRAPPERS:
        raise ValueError(
            f"{role} must be the network itself, got {kind}: give its .{WRAPPERS[kind]}"
        )


def check_inputs(role: str, model: nn.Module, inputs: Sequence[Tensor]) -> None:
    """Refuse inputs with which `model` does not run in eval mode; it is left as it was.

    Raises:
        ValueError: with the inputs' types and shapes, and the reason in one line.
    """
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            model(*inputs)
    except Exception as error:  # whatever a model's own code raises
        shown = ", ".join(f"{tuple(x.shape)} {x.dtype}" for x in inputs)
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise ValueError(f"{role} must fit the model, got {shown}: {reason}") from error
    finally:
        for module, training in modes:
            module.training = training
