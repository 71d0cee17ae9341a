"""Weak additivity: how close an activation function is to linear between two networks."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from llfc.connectivity.layerwise import cosine
from llfc.connectivity.measures.conditions.sums import Four, Sums, distance, parts, wide


@dataclass(frozen=True)
class Additivity(Sums):
    r"""What is summed of an activation function on pre-activations :math:`h_A, h_B`.

    With :math:`u = (\sigma(h_A) + \sigma(h_B)) / 2` and :math:`v = \sigma((h_A + h_B) / 2)`; for a
    ReLU, the halves make no difference to what follows.

    Attributes:
        images: their number.
        cos: the sum over images of cos(u, v).
        coef: the sum over images of <v, u> / ||u||².
        gap: ||u - v||², over all images.
        u: ||u||².
        v: ||v||².
        numbers: how many numbers h_A has.
        differ: how many of these are positive where those of h_B are not, or the other way round.
    """

    images: float
    cos: float
    coef: float
    gap: float
    u: float
    v: float
    numbers: float
    differ: float

    def values(self) -> tuple[float, float, float, float]:
        """Distance, mean cosine, mean coefficient and share of equal signs."""
        return (
            distance(self.gap, self.u, self.v),
            self.cos / self.images,
            self.coef / self.images,
            1 - self.differ / self.numbers,
        )


def additivity(features: Four, apply: Callable[[Tensor], Tensor]) -> Additivity:
    """The sums of a batch; of two zero features, cosine and coefficient are 1, of a single one 0.

    Args:
        features: pre-activations of A and of B, and what the function makes of them; each with a
            row an image, [N, D].
        apply: the function.
    """
    found: list[Tensor] = []
    differ = 0.0
    for h_a, h_b, f_a, f_b in parts(features):
        h_a, h_b = wide(h_a), wide(h_b)
        v = apply(torch.lerp(h_a, h_b, 0.5))
        both = wide(f_a) + wide(f_b)  # 2 u
        gap = torch.sub(v, both, alpha=0.5)
        found.append(torch.stack([torch.linalg.vector_norm(x, dim=1) for x in (both, v, gap)]))
        # As numbers, since comparisons that give truth values are four times slower.
        of_a = torch.gt(h_a, 0, out=gap)
        differ += float(of_a.ne_(torch.gt(h_b, 0, out=both)).sum())
    uu, vv, gaps = torch.cat(found, 1).double().square()
    uu = uu / 4
    # The square of the difference was summed itself: that of the products would lose its digits.
    uv = (uu + vv - gaps) / 2
    cos = cosine(uv, uu, vv)
    coef = torch.where(uu == 0, (vv == 0).double(), uv / uu)
    of_images = torch.stack([torch.ones_like(cos), cos, coef, gaps, uu, vv]).sum(1).tolist()
    return Additivity(*(*of_images, features[0].numel(), differ))
