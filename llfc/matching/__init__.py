"""Act two: bring two networks into one basis by permuting the units of the second."""

from llfc.matching.many import match_many
from llfc.matching.matchers import MATCHERS, Matcher, match
from llfc.matching.permutation import Permutation, PermutationSpec
from llfc.matching.symmetry import permutation_spec

__all__ = [
    "MATCHERS",
    "Matcher",
    "Permutation",
    "PermutationSpec",
    "match",
    "match_many",
    "permutation_spec",
]
