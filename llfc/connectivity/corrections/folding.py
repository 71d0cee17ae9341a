"""A correction as part of a network: its affine maps folded into the layers that they follow."""

from collections import Counter
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from llfc.connectivity.blend import Affine, Corrected, Corrections
from llfc.connectivity.corrections.preactivations import LINEAR_FUNCTIONS
from llfc.modules import tensors
from llfc.modules.sites import NORM_FUNCTIONS

FOLDED = (NORM_FUNCTIONS | LINEAR_FUNCTIONS.keys()) - {"bilinear", "rms_norm"}


@torch.no_grad()
def fold(model: nn.Module, corrections: Corrections, position: int) -> None:
    """Change `model` into the network at `position`, so that its tensors alone say what it is.

    A map of a layer's channels, scale and shift, becomes part of the layer's weight and bias.

    Args:
        model: the blend at `position`, not corrected.
        corrections: of a line.
        position: one of `corrections.at`.

    Raises:
        ValueError: in one line, if a layer cannot take its map: it has no bias, or the same tensors
            are used by several calls.
    """
    corrected: Corrected = corrections.at[position]
    own = tensors(model)
    for name, value in corrected.buffers.items():
        own[name].copy_(value)
    sites = corrections.sites
    used = Counter(name for given in sites.given.values() for name in given)
    for place, site in sites.at.items() if corrected.affines else ():
        given = sites.given[place]
        if place[0] not in FOLDED or any(used[name] > 1 for name in given):
            raise ValueError(f"{_CANNOT} {site.name!r}, whose output is of no layer of its own")
        _fold_into(own, given, place[0], corrected.affines[site.name], site.name)


_CANNOT = "the correction cannot become part of the weights of"


def _fold_into(
    own: Mapping[str, Tensor], given: tuple[str, ...], function: str, affine: Affine, layer: str
) -> None:
    """Scale the rows of a weight and a bias, and shift the bias."""
    statistics = 2 if function in ("batch_norm", "instance_norm") else 0
    weights = given[statistics:]
    if len(weights) not in (1, 2) or (len(weights) == 1 and bool(affine.shift.any())):
        raise ValueError(
            f"{_CANNOT} {layer!r}, which has no bias: choose 'reset', 'rescale' or 'none'"
        )
    for name in weights:
        tensor, dim = own[name], 1 if "transpose" in function and own[name].ndim > 1 else 0
        if tensor.shape[dim] != len(affine.scale):
            raise ValueError(f"{_CANNOT} {layer!r}, whose channels are not those of {name}")
        shape = [1] * tensor.ndim
        shape[dim] = -1
        tensor.mul_(affine.scale.to(tensor.dtype).view(shape))
    if len(weights) == 2:
        own[weights[1]].add_(affine.shift.to(own[weights[1]].dtype))
