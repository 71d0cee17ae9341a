"""One tensor in another basis."""

from collections.abc import Iterator, Mapping
from types import EllipsisType

from torch import Tensor

from llfc.matching.overlap.terms import PIECE
from llfc.symmetry.spec import PermutationSpec


def permuted_tensor(
    spec: PermutationSpec, index: Mapping[str, Tensor], name: str, tensor: Tensor
) -> Tensor:
    """The tensor `name` of a state dict with its units in the places that `index` gives them.

    As `spec.apply` of a whole state dict, which takes the memory of one.
    """
    folded = spec.fold(name, tensor)
    for dim, axis in enumerate(spec.axes[name]):
        folded = folded.index_select(dim, spec.index(index, axis).to(folded.device))
    return folded.reshape(tensor.shape)


def permuted_rows(
    spec: PermutationSpec, index: Mapping[str, Tensor], name: str, tensor: Tensor
) -> Iterator[tuple[slice | EllipsisType, Tensor]]:
    """As `permuted_tensor`, some rows after others, so that little is copied at a time.

    Yields:
        which rows, and the rows.
    """
    folded = spec.fold(name, tensor)
    if not folded.ndim:
        yield ..., folded
        return
    first, *rest = (spec.index(index, axis).to(folded.device) for axis in spec.axes[name])
    size = max(1, PIECE * len(folded) // max(1, folded.numel()))
    for start in range(0, len(folded), size):
        part = folded.index_select(0, first[start : start + size])
        for dim, order in enumerate(rest, start=1):
            part = part.index_select(dim, order)
        yield slice(start, start + size), part
