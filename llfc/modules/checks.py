"""Checks that a model is a usable network, and that it accepts its inputs."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from llfc.modules.copies import eval_copy, tensors
from llfc.modules.inputs import Inputs, check_dense, cloned, run, versions
from llfc.oneline import first_line
from llfc.seeds import drawn_alike

# Modules that run another one, by class name, and the attribute under which they hold it. The
# names of its tensors differ inside, and hooks on its parts do not run as they do in itself.
WRAPPERS: Mapping[str, str] = {
    "DataParallel": "module",
    "DistributedDataParallel": "module",
    "FullyShardedDataParallel": "module",
    "OptimizedModule": "_orig_mod",
}
HALVES = (torch.float16, torch.bfloat16)


def check_network(role: str, model: Any) -> None:
    """Refuse what is not a module, wraps another one, or has no Python code of its own.

    Args:
        role: the caller's name for `model`.
        model: the object given as a network.

    Raises:
        ValueError: if it is no `torch.nn.Module`; it or a part of it is a data-parallel or compiled
            one, scripted or traced; or a part of it has yet to see its first input, or has no
            numbers.
    """
    if not isinstance(model, nn.Module):
        raise ValueError(f"{role} must be a torch.nn.Module, got {type(model).__name__}")
    for name, module in model.named_modules():
        kind = type(module).__name__
        where = f" in {name!r}" if name else ""
        if kind in WRAPPERS:
            raise ValueError(
                f"{role} must be the network itself, got {kind}{where}: give its .{WRAPPERS[kind]}"
            )
        if isinstance(module, torch.jit.ScriptModule):
            raise ValueError(
                f"{role} must run in Python, got {kind}{where}:"
                " give the module that was scripted or traced"
            )
    for name, tensor in tensors(model).items():
        if torch.nn.parameter.is_lazy(tensor):
            raise ValueError(f"{role} must be initialised, but {name!r} is not: run it once")
        if tensor.is_meta:
            raise ValueError(
                f"{role} must hold numbers, but {name!r} is on the meta device:"
                " load a state dict with assign=True"
            )


def described_input(value: Any) -> str:
    """An input in a few words: its shape and type, or those of what is in it.

    >>> described_input({"x": torch.zeros(2, 3), "scale": 0.5})
    "{'x': (2, 3) torch.float32, 'scale': 0.5}"
    """
    if isinstance(value, Tensor):
        return f"{tuple(value.shape)} {value.dtype}"
    if isinstance(value, Mapping):
        return (
            f"{{{', '.join(f'{key!r}: {described_input(part)}' for key, part in value.items())}}}"
        )
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(described_input, value))}]"
    return repr(value) if isinstance(value, int | float | str | None) else type(value).__name__


def check_inputs(role: str, model: nn.Module, inputs: Inputs) -> None:
    """Refuse inputs with which a copy of `model` does not run in eval mode.

    Args:
        role: what the caller calls `inputs`.
        model: the network; it is not run itself.
        inputs: a batch; a list is of positional arguments, whatever the model takes.

    Raises:
        ValueError: with the inputs' types and shapes, and the reason in one line; or if one is
            sparse or nested.
    """
    check_dense(role, inputs)
    copied = eval_copy(model)
    try:
        with torch.no_grad(), drawn_alike(0):
            run(copied, cloned(inputs))
    except Exception as error:  # whatever a model's own code raises
        listed = inputs if isinstance(inputs, tuple | list) else [inputs]
        shown = ", ".join(map(described_input, listed)) or "none"
        reason = first_line(error)
        half = any(tensor.dtype in HALVES for tensor in tensors(model).values())
        hint = "; or give the model in float32: model.float()" if half else ""
        raise ValueError(f"{role} must fit the model, got {shown}: {reason}{hint}") from error


def spare_inputs(models: Sequence[nn.Module], inputs: Inputs) -> None:
    """Have networks run on copies of what they are given, where they write into it.

    As with an activation function that works in place on the input itself. Otherwise the caller's
    data would be changed, and every pass after the first be on others.

    Args:
        models: copies of networks, in eval mode, of one architecture; the first is run.
        inputs: a batch, which stays as it is; a list of positional arguments will do.
    """
    given = cloned(inputs)
    before = versions(given)
    with torch.no_grad(), drawn_alike(0):
        run(models[0], given)
    if versions(given) != before:
        for model in models:
            model.register_forward_pre_hook(_on_copies, with_kwargs=True)


def _on_copies(model: nn.Module, args: Any, kwargs: Any) -> Any:
    del model
    return cloned(args), cloned(kwargs)


def check_state(role: str, model: nn.Module) -> None:
    """Refuse a model whose state dict holds what no permutation can move.

    Raises:
        ValueError: with the first entry that is no tensor (extra state, packed weights), or is a
            quantised one.
    """
    for name, entry in model.state_dict().items():
        if not isinstance(entry, Tensor) or entry.is_quantized:
            raise ValueError(
                f"{role} must hold only tensors in its state dict, got {name!r}, a"
                f" {type(entry).__name__}: give the network as it was before it was quantised, or"
                " without extra state"
            )
