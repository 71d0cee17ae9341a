"""One operation of a forward pass: its input, its output and its function."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor


@dataclass(eq=False)
class Operation:
    """One operation that ran.

    Attributes:
        layer: its name, unique among those of its kind in a forward pass.
        function: PyTorch's name of it.
        input: its input, as it was when the operation ran.
        output: its output, before anything overwrote it.
    """

    layer: str
    function: str
    input: Tensor
    output: Tensor


@dataclass(eq=False)
class Activation(Operation):
    """An elementwise function.

    Attributes:
        apply: the function.
    """

    apply: Callable[[Tensor], Tensor]


@dataclass(eq=False)
class LinearMap(Operation):
    """A product with a weight, or a convolution; its output is that of `apply`, and `bias`.

    Attributes:
        weight: as the operation takes it.
        bias: what is added for every image alike, in a shape that broadcasts; None for nothing.
        apply: from an input and a weight to the output without the bias.
        constant: whether the weight is the network's own, and not computed on the way.
        outputs: the weight's dimension that is dimension 1 of the output; None if none is.
    """

    weight: Tensor
    bias: Tensor | None
    apply: Callable[[Tensor, Tensor], Tensor]
    constant: bool
    outputs: int | None


@dataclass(eq=False)
class Norm(Operation):
    """A batch, layer, group, instance or RMS norm.

    Attributes:
        apply: the norm with this network's scale, shift and running statistics, if it has any.
        scale: its factor per channel (dimension 1), shape [C], if it is a batch norm with fixed
            statistics; None if the factor depends on the input.
    """

    apply: Callable[[Tensor], Tensor]
    scale: Tensor | None
