"""The norms of a network that are modules: which they are, and what takes their place."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn

from llfc.symmetry.canonical.reading import Unsafe
from llfc.symmetry.rules.operators import module_path, operator_name

CASTS = ("to", "_to_copy", "alias", "_assert_tensor_metadata")
ALIKE = 1e-5  # how far a module may be from a norm, of its largest output
USUAL = (1e-5, 1e-6, 1e-12)  # what is added to a variance where the module keeps no such number


@dataclass(frozen=True, eq=False)
class Norm:
    """A norm over the last dimension.

    Attributes:
        path: of its module.
        centred: whether it subtracts the mean.
        gain: float64 [units], or None.
        shift: float64 [units], or None.
        eps: added to the mean of squares.
    """

    path: str
    centred: bool
    gain: Tensor | None
    shift: Tensor | None
    eps: float | None

    def plain(self, units: int) -> nn.RMSNorm:
        """The RMS norm without parameters that does the same on a centred stream."""
        return nn.RMSNorm(units, eps=self.eps, elementwise_affine=False)


def norms_of(model: nn.Module) -> Iterator[tuple[Norm, int]]:
    """The norms that are modules, each with its number of units."""
    for path, module in model.named_modules():
        if (norm := norm_of(path, module)) is not None:
            yield norm


def norm_of(path: str, module: nn.Module) -> tuple[Norm, int] | None:
    """A module as a norm with its number of units; None if it is none.

    Besides PyTorch's own, whatever computes the same of a weight [units], and a bias, on random
    numbers: a class derived from these, as timm has, or one's own.
    """
    if type(module) is nn.LayerNorm or type(module) is nn.RMSNorm:
        shape = module.normalized_shape
        if len(shape) != 1:
            return None
        given = (module.weight, module.bias if isinstance(module, nn.LayerNorm) else None)
        gain, shift = (None if x is None else x.detach().double() for x in given)
        return Norm(path, type(module) is nn.LayerNorm, gain, shift, module.eps), shape[0]
    tensors = {name: x.detach().double() for name, x in module.named_parameters()}
    if not {"weight"} <= tensors.keys() <= {"weight", "bias"} or [*module.children()]:
        return None
    weight, shift = tensors["weight"], tensors.get("bias")
    if weight.dim() != 1 or (shift is not None and shift.shape != weight.shape):
        return None
    own = [x for x in vars(module).values() if isinstance(x, float) and 0 <= x < 1e-2]
    for eps in dict.fromkeys([*own, *USUAL]):
        for gain in (weight, 1 + weight):
            for centred in (True, False):
                norm = Norm(path, centred, gain, shift, eps)
                if computes(module, norm):
                    return norm, len(weight)
    return None


def computes(module: nn.Module, norm: Norm) -> bool:
    """Whether a module with a weight computes this norm, on random numbers."""
    assert norm.gain is not None
    assert norm.eps is not None
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(4, len(norm.gain), generator=generator).to(norm.gain.device)
    x *= x.new_tensor([[1e-3], [0.1], [1.0], [30.0]])  # so that eps is seen
    x = torch.cat([x, x + 0.5])  # and centring
    y = x.double() - x.double().mean(-1, keepdim=True) if norm.centred else x.double()
    wanted = norm.gain * y * torch.rsqrt(y.pow(2).mean(-1, keepdim=True) + norm.eps)
    wanted = wanted if norm.shift is None else wanted + norm.shift
    try:
        with torch.no_grad():
            found = module(x.to(next(module.parameters()).dtype))
    except Exception:  # of a module that takes something else
        return False
    alike = isinstance(found, Tensor) and found.shape == wanted.shape
    return alike and bool((found - wanted).abs().max() <= ALIKE * wanted.abs().max())


def ends_of(graph: fx.Graph, path: str) -> tuple[fx.Node, fx.Node] | None:
    """The value that a module reads and the one that it makes; None if it is not called.

    Raises:
        Unsafe: it is called more than once.
    """
    inside: list[fx.Node] = []
    for node in graph.nodes:
        here = node.op == "call_function" and module_path(node) == path
        # A cast of what is read to its own type is that value itself, which others may read too.
        if here and not (operator_name(node) in CASTS and inside_none(node, inside)):
            inside.append(node)
    if not inside:
        return None
    read = {
        source
        for node in inside
        for source in node.all_input_nodes
        if source not in inside and (source.op != "placeholder" or is_input(source))
    }
    made = [node for node in inside if any(user not in inside for user in node.users)]
    if len(read) != 1 or len(made) != 1 or len({*map(call_of, inside)}) != 1:
        raise Unsafe("it is called more than once")
    return next(iter(read)), made[0]


def call_of(node: fx.Node) -> str:
    """Which call of the innermost module a node was made in."""
    return str([*(node.meta.get("nn_module_stack") or {})][-1])


def inside_none(node: fx.Node, inside: Sequence[fx.Node]) -> bool:
    """Whether a call reads nothing that these calls make."""
    return not any(source in inside for source in node.all_input_nodes)


def is_input(node: fx.Node) -> bool:
    """Whether a placeholder is an input of the network, and no tensor of its own."""
    return not node.name.startswith(("p_", "b_", "c_"))
