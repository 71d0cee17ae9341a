"""One tensor in another basis."""

from collections.abc import Mapping

from torch import Tensor

from llfc.matching.permutation import PermutationSpec


def moved(spec: PermutationSpec, index: Mapping[str, Tensor], name: str, tensor: Tensor) -> Tensor:
    """The tensor `name` of a state dict with its units in the places that `index` gives them.

    As `spec.apply` of a whole state dict, which takes the memory of one.
    """
    folded = spec.fold(name, tensor)
    for dim, axis in enumerate(spec.axes[name]):
        folded = folded.index_select(dim, spec.index(index, axis).to(folded.device))
    return folded.reshape(tensor.shape)
