"""The parameters of two networks, and whether they can be matched."""

from torch import Tensor, nn

from llfc.matching.permutation import PermutationSpec


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
                f"the models must have one architecture: {name} is {a_shape} in a, {b_shape} in b"
            )
        if name not in spec.axes:
            raise ValueError(f"the spec must name every tensor of the models, {name} is missing")
        spec.fold(name, a_state[name])
