"""What a symmetry is, as data, and what is done with it: no graph is needed here."""

from llfc.symmetry.spec.axes import Axis, Factor, Feature, Segment
from llfc.symmetry.spec.permutation import Permutation
from llfc.symmetry.spec.spec import PermutationSpec

__all__ = ["Axis", "Factor", "Feature", "Permutation", "PermutationSpec", "Segment"]
