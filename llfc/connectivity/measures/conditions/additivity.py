"""Weak additivity: how close an activation function is to linear between two networks."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from llfc.connectivity.layerwise import cosine
from llfc.connectivity.measures.conditions.sums import (
    Four,
    Sums,
    as_they_lie,
    at_least_float32,
    distance,
    image_parts,
)
from llfc.modules.imageaxis import ImageAxis
from llfc.modules.reals import norms


@dataclass(frozen=True)
class Linearity(Sums):
    """Sums over images that compare u = (f(h_A) + f(h_B)) / 2 with v = f((h_A + h_B) / 2).

    The two are equal if the function f is affine.

    Attributes:
        images: their number.
        cos: the sum over images of cos(u, v).
        coef: the sum over images of <v, u> / ||u||².
        gap: ||u - v||², over all images.
        u: ||u||².
        v: ||v||².
    """

    images: float
    cos: float
    coef: float
    gap: float
    u: float
    v: float

    def values(self) -> tuple[float, ...]:
        """Distance, mean cosine and mean coefficient."""
        return distance(self.gap, self.u, self.v), self.cos / self.images, self.coef / self.images


@dataclass(frozen=True)
class Additivity(Linearity):
    r"""Sums over images for an activation function on pre-activations :math:`h_A, h_B`.

    With :math:`u = (\sigma(h_A) + \sigma(h_B)) / 2` and :math:`v = \sigma((h_A + h_B) / 2)`; for a
    ReLU, the halves make no difference to what follows.

    Attributes:
        numbers: the number of entries of h_A.
        differ: the number of entries that are positive in exactly one of h_A and h_B.
    """

    numbers: float
    differ: float

    def values(self) -> tuple[float, ...]:
        """Distance, mean cosine, mean coefficient and share of equal signs."""
        return *super().values(), 1 - self.differ / self.numbers


def additivity(features: Four, apply: Callable[[Tensor], Tensor]) -> Additivity:
    """The sums of a batch; cosine and coefficient are 1 if both features are zero, 0 if one is.

    Args:
        features: pre-activations of A and of B, and the function's outputs for each; one row per
            image, [N, D].
        apply: the function.
    """
    found: list[Tensor] = []
    differ = 0.0
    for h_a, h_b, f_a, f_b in image_parts(features):
        h_a, h_b = at_least_float32(h_a), at_least_float32(h_b)
        v = apply(torch.lerp(h_a, h_b, 0.5))
        both = at_least_float32(f_a) + at_least_float32(f_b)  # 2 u
        gap = torch.sub(v, both, alpha=0.5)
        found.append(_norms(both, v, gap))
        # As numbers, since comparisons that give truth values are four times slower.
        of_a = torch.gt(h_a, 0, out=gap)
        differ += float(of_a.ne_(torch.gt(h_b, 0, out=both)).sum())
    of_images = _of_images(torch.cat(found, 1))
    return Additivity(*(*of_images, features[0].numel(), differ))


def sums_of(v: Tensor, both: Tensor) -> Linearity:
    """The sums of a batch, from v and 2 u, one row per image, [N, D]."""
    gap = torch.sub(v, both, alpha=0.5)
    return Linearity(*_of_images(_norms(both, v, gap)))


def rows_of(features: Sequence[Tensor], axis: ImageAxis | None, count: int) -> list[Tensor]:
    """One row per image, [count, D], or a single row if there is no image axis."""
    if axis is None:
        return [x.reshape(1, -1) for x in features]
    return [axis.rows(x, count) for x in (features if axis.dim else as_they_lie(*features))]


def _norms(both: Tensor, v: Tensor, gap: Tensor) -> Tensor:
    """The norms of 2 u, v and u - v for each image, [3, N], in float64."""
    return torch.stack([norms(x, dim=1).double() for x in (both, v, gap)])


def _of_images(norms_3N: Tensor) -> list[float]:
    """The sums of `Linearity` from the norms of 2 u, v and u - v of each image, [3, N]."""
    uu, vv, gaps = norms_3N.square()
    uu = uu / 4
    # The square of the difference was summed itself: that of the products would lose its digits.
    uv = (uu + vv - gaps) / 2
    cos = cosine(uv, uu, vv)
    coef = torch.where(uu == 0, (vv == 0).double(), uv / uu)
    found: list[float] = (
        torch.stack([torch.ones_like(cos), cos, coef, gaps, uu, vv]).sum(1).tolist()
    )
    return found
