"""The parameters of two networks, and whether they can be matched."""

import math
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain

import torch
from torch import Tensor, nn

from llfc.modules import (
    check_network,
    check_same_function,
    check_same_settings,
    check_state,
    device_of,
    eval_copy,
)
from llfc.modules.inputs import Inputs, on_device, positional
from llfc.oneline import first_line
from llfc.symmetry.spec import PermutationSpec

HELD = 2.0**-30, 2.0**30  # where the largest number of a network's parameters is


def finite_parameters(model: nn.Module, called: str) -> dict[str, Tensor]:
    """A model's parameters by name; a ValueError names the first that is not finite."""
    parameters = {name: tensor.detach() for name, tensor in model.named_parameters()}
    for name, tensor in parameters.items():
        # A sum is finite only if all its terms are; as a check of each it takes no memory.
        if not tensor.sum().isfinite() and not tensor.isfinite().all():
            raise ValueError(f"{name} of model {called} must be finite, got nan or infinity")
    return parameters


def check_alike(a: nn.Module, b: nn.Module, spec: PermutationSpec) -> None:
    """Raise a ValueError that names the first tensor in which the models, or the spec, differ."""
    a_state, b_state = a.state_dict(), b.state_dict()
    for name in [*a_state, *(name for name in b_state if name not in a_state)]:
        a_shape, b_shape = (
            tuple(state[name].shape) if name in state else "missing" for state in (a_state, b_state)
        )
        if a_shape != b_shape:
            raise ValueError(
                f"the models must have the same architecture: {name} is {a_shape} in a, {b_shape}"
                " in b"
            )
        if name not in spec.axes:
            raise ValueError(f"the spec must contain every tensor of the models, {name} is missing")
        spec.fold(name, a_state[name])


def check_matchable(a: nn.Module, b: nn.Module, spec: PermutationSpec) -> None:
    """See that B can be matched with A.

    Raises:
        ValueError: with the first tensor in which the models, or the spec, differ, or which is no
            tensor that can be permuted; or the first parameter that is not finite.
    """
    check_spec(spec)
    check_state("model b", b)
    check_alike(a, b, spec)
    for called, model in (("a", a), ("b", b)):
        finite_parameters(model, called)


def check_spec(spec: object) -> None:
    """Raise a ValueError if this is no spec."""
    if not isinstance(spec, PermutationSpec):
        raise ValueError(f"spec must be a PermutationSpec, got a {type(spec).__name__}")


def check_one_function(
    models: Mapping[str, nn.Module], spec: PermutationSpec, batches: Iterable[Inputs] | None
) -> Iterable[Inputs] | None:
    """See that the models differ from the first in their parameters and buffers alone.

    Copies of them are run on the first batch. Without batches, all their settings must be equal.

    Args:
        models: by what the caller calls them, at least one.
        spec: the symmetry of all.
        batches: inputs as the models take them.

    Returns:
        `batches`, of which none is lost even if they can be iterated only once.

    Raises:
        ValueError: with the first difference; or if a model does not take the batch.
    """
    check_spec(spec)
    for called, model in models.items():
        check_network(f"model {called}", model)
        check_state(f"model {called}", model)
    first, *others = models.values()
    for other in others:
        check_alike(first, other, spec)
        if batches is None:
            check_same_settings(first, other)
    if batches is None:
        return None
    rest = iter(batches)
    batch = next(rest, None)
    if batch is None:
        return batches
    for other in others:
        a, b = eval_copy(first), eval_copy(other)
        try:
            there = positional(a, on_device(batch, device_of(a)))
            with torch.no_grad():
                a(*there)
        except (AttributeError, TypeError, RuntimeError) as error:
            reason = first_line(error)
            raise ValueError(f"batches must be inputs that the models accept: {reason}") from error
        check_same_function(a, b, there)
    return chain([batch], rest) if isinstance(batches, Iterator) else batches


def unit(parameters: Mapping[str, Tensor]) -> float:
    """A power of two near the largest number there; 1 if float32 holds products of such numbers."""
    sizes = [torch.linalg.vector_norm(x.detach(), torch.inf).double() for x in parameters.values()]
    largest = float(torch.stack(sizes).max()) if sizes else 0.0
    held = largest == 0 or HELD[0] <= largest <= HELD[1]
    return 1.0 if held else 2.0 ** math.frexp(largest)[1]
