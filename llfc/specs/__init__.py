"""What is run: recipes, networks, pairs and trials; and how each is named.

Plain frozen records, validated when made. A record's name is its fingerprint, computed from all
its fields, so neither a changed default nor a changed learning rate can pass for an old run.
"""

from llfc.specs.fingerprints import fingerprint, permutation_name
from llfc.specs.network import ACTIVATIONS, NORMS, OPTIONS, POSITIONS, SPLITTINGS, Network
from llfc.specs.pair import Pair
from llfc.specs.recipe import OPTIMIZERS, PRECISIONS, SCHEDULES, UNKNOWN, Recipe
from llfc.specs.trial import ALL, DEFAULT_MEASURES, FORMS, Trial

__all__ = [
    "ACTIVATIONS",
    "ALL",
    "DEFAULT_MEASURES",
    "FORMS",
    "NORMS",
    "OPTIMIZERS",
    "OPTIONS",
    "POSITIONS",
    "PRECISIONS",
    "SCHEDULES",
    "SPLITTINGS",
    "UNKNOWN",
    "Network",
    "Pair",
    "Recipe",
    "Trial",
    "fingerprint",
    "permutation_name",
]
