"""Inner products of two networks' features of a layer with those of a network between them."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from llfc.modules.reals import are_held, lost

CACHED = 2**18  # numbers; a megabyte in float32


def products_between(
    feature: Tensor, a: Tensor, b: Tensor, alpha: float, *, careful: bool = True
) -> Tensor:
    """||f||², <f, a>, <f, b>, ||f - (1 - alpha) a - alpha b||²: [4, N], in float64, image by image.

    Args:
        feature: f, shape [N, D].
        a: A's feature of the same images.
        b: B's.
        alpha: where f is on the line.
        careful: whether what the features' type does not hold is taken again in float64.
    """

    def of_part(f: Tensor, a: Tensor, b: Tensor) -> list[Tensor]:
        gap = torch.lerp(a, b, alpha)
        torch.sub(f, gap, out=gap)
        return [torch.linalg.vecdot(*pair) for pair in ((f, f), (f, a), (f, b), (gap, gap))]

    return _products(of_part, feature, a, b, careful=careful)


def products_of_ends(of_a: Sequence[Tensor], of_b: Sequence[Tensor]) -> Tensor:
    """||a||², ||b||², <a, b> and ||a - b||² of each layer and image, shape [4, L, N], in float64.

    Args:
        of_a: A's features of each layer, shape [N, D].
        of_b: B's.
    """

    def of_part(a: Tensor, b: Tensor) -> list[Tensor]:
        gap = a - b
        return [torch.linalg.vecdot(*pair) for pair in ((a, a), (b, b), (a, b), (gap, gap))]

    layers = zip(of_a, of_b, strict=True)
    return torch.stack([_products(of_part, a, b, careful=True) for a, b in layers], 1)


def _products(of_part: Callable[..., list[Tensor]], *features: Tensor, careful: bool) -> Tensor:
    """The products of features [N, D], the last of which is a gap's: [4, N], in float64."""
    products = _in_parts(of_part, *features)
    found = products.double()
    if not careful or features[0].dtype == torch.float64 or are_held(products):
        return found
    wrong = lost(found)
    # A gap that vanishes beside its feature is rounding; where the feature does as well, it is not.
    wrong[3] &= wrong[0] | ~found[3].isfinite()
    images = wrong.any(0).nonzero()[:, 0]
    if len(images):
        exact = _in_parts(
            lambda *part: of_part(*(feature.double() for feature in part)),
            *(feature[images] for feature in features),
        )
        found[:, images] = torch.where(wrong[:, images], exact, found[:, images])
    return found


def _in_parts(of_part: Callable[..., list[Tensor]], *features: Tensor) -> Tensor:
    """The products of features [N, D], each [N], stacked.

    On a CPU a few images at a time, so that the features are still in its cache from one product to
    the next: two to three times faster on features of 16 000 numbers and more.
    """
    first = features[0]
    rows = max(1, CACHED // first.shape[1]) if first.device.type == "cpu" else len(first)
    parts = zip(*(torch.split(feature, rows) for feature in features), strict=True)
    return torch.cat([torch.stack(of_part(*part)) for part in parts], 1)
