"""Commutativity: how close W_A H_A + W_B H_B is to W_A H_B + W_B H_A at each linear map."""

from dataclasses import dataclass

from torch import Tensor

from llfc.connectivity.measures.conditions.operation import LinearMap
from llfc.connectivity.measures.conditions.sums import (
    PART,
    Four,
    Sums,
    at_least_float32,
    distance,
    dot,
    image_parts,
    square,
)
from llfc.modules.reals import as_reals


@dataclass(frozen=True)
class Commutativity(Sums):
    """Sums over images for a layer: x = W_A H_A + W_B H_B and y = W_A H_B + W_B H_A, no biases.

    Attributes:
        gap: ||x - y||², which is ||(W_A - W_B) (H_A - H_B)||².
        x: ||x||².
        y: ||y||².
        inputs: ||H_A - H_B||².
        a: ||H_A||².
        b: ||H_B||².
    """

    gap: float
    x: float
    y: float
    inputs: float
    a: float
    b: float

    def values(self, weights: float) -> tuple[float, float, float]:
        """Distances: of x and y; of the weights, which is `weights`; of H_A and H_B."""
        of_inputs = distance(self.inputs, self.a, self.b)
        return distance(self.gap, self.x, self.y), weights, of_inputs


@dataclass(frozen=True, eq=False)
class Weights:
    """The weights of one layer in two networks.

    Attributes:
        gap: W_A - W_B.
        bias: the sum of the two biases; None if there are none.
        distance: ||W_A - W_B||² / (||W_A|| ||W_B||).
    """

    gap: Tensor
    bias: Tensor | None
    distance: float

    @staticmethod
    def of(a: LinearMap, b: LinearMap) -> "Weights":
        """The weights of a layer of A and of the same layer of B."""
        w_a, w_b = at_least_float32(a.weight), at_least_float32(b.weight)
        gap = w_a - w_b
        norms = (float(as_reals(w).double().square().sum()) for w in (gap, w_a, w_b))
        bias = (
            None
            if a.bias is None or b.bias is None
            else at_least_float32(a.bias) + at_least_float32(b.bias)
        )
        return Weights(gap.to(a.weight.dtype), bias, distance(*norms))


def commutativity(
    features: Four, layer: LinearMap, weights: Weights, dim: int | None
) -> Commutativity:
    """The sums of a batch.

    That x - y is one product of two differences costs one operation instead of two, and keeps the
    digits that would cancel between x and y.

    Args:
        features: H_A and H_B, as `layer` takes them; W_A H_A and W_B H_B, and their biases.
        layer: the layer, as it ran in either network.
        weights: of both.
        dim: the dimension that holds the images, to take a few at a time; None for all at once.
    """
    gap_sum = x_sum = y_sum = inputs_sum = a_sum = b_sum = 0.0
    alike = _are_one(*features[:2])  # as of the first layer, whose inputs are the images
    # A convolution packs its weights anew at each call, so these must not outweigh the features.
    most = max(2 * PART, 4 * weights.gap.numel())
    for h_a, h_b, f_a, f_b in image_parts(features, dim, most):
        a_part = square(at_least_float32(h_a))
        a_sum += a_part
        x = at_least_float32(f_a) + at_least_float32(f_b)
        if weights.bias is not None:
            x -= weights.bias
        x_part = square(x)
        x_sum += x_part
        if alike:
            b_sum, y_sum = b_sum + a_part, y_sum + x_part
            continue
        step = at_least_float32(h_a) - at_least_float32(h_b)
        gap = at_least_float32(layer.apply(step.to(h_a.dtype), weights.gap))
        b_sum += square(at_least_float32(h_b))
        inputs_sum += square(step)
        gap_part = square(gap)
        gap_sum += gap_part
        y_sum += x_part - 2 * dot(x, gap) + gap_part
    return Commutativity(gap_sum, x_sum, y_sum, inputs_sum, a_sum, b_sum)


def _are_one(x: Tensor, y: Tensor) -> bool:
    return x.data_ptr() == y.data_ptr() and x.shape == y.shape and x.stride() == y.stride()
