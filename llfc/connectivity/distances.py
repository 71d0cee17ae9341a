"""How far two networks are apart in weight space."""

from torch import Tensor, nn

from llfc.connectivity.blend import Line
from llfc.modules.reals import as_reals


def weight_distance(a: nn.Module, b: nn.Module) -> tuple[float, float]:
    """L2 distance and cosine of all parameters of two networks, each shared parameter once.

    Buffers, such as the running statistics of norms, are no weights. The cosine is NaN if all
    parameters of one of them are zero; of complex parameters it is the real part of the Hermitian
    one.
    """
    squares = dot = of_a = of_b = 0.0
    for x, y in zip(a.parameters(), b.parameters(), strict=True):
        p, q = (as_reals(tensor.detach()).double() for tensor in (x, y))
        squares += _dot(p - q, p - q)
        dot, of_a, of_b = dot + _dot(p, q), of_a + _dot(p, p), of_b + _dot(q, q)
    norms = (of_a * of_b) ** 0.5
    return squares**0.5, dot / norms if norms else float("nan")


def weight_distances(line: Line, unmatched: nn.Module | None) -> dict[str, float]:
    """Of the ends of `line` as trained, and of A and B before it was permuted, by name.

    Args:
        line: A and B.
        unmatched: B before; None if nothing was permuted.
    """
    distance, cosine = weight_distance(line.a, line.b)
    before = weight_distance(line.a, line.b if unmatched is None else unmatched)
    return {
        "weight_distance": distance,
        "weight_distance_before": before[0],
        "weight_cos": cosine,
        "weight_cos_before": before[1],
    }


def _dot(p: Tensor, q: Tensor) -> float:
    return float((p * q).sum())
