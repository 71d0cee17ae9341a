"""Act two: bring two networks into one basis by permuting or mixing the units of the second."""

from llfc.matching.many import match_many
from llfc.matching.matchers import MATCHERS, Matcher, match
from llfc.symmetry import permutation_spec
from llfc.symmetry.spec import Permutation, PermutationSpec

__all__ = [
    "MATCHERS",
    "Matcher",
    "Permutation",
    "PermutationSpec",
    "match",
    "match_many",
    "permutation_spec",
]
