"""Which layers of a network are probed, and reading their features.

A probe is one call of one module; its feature is all that the module gives for an image, wherever
the images are in it. `choice` says which calls are probed, from what `calls` saw of each in a
forward pass and how `kinds` names it; `features` reads them.
"""

from llfc.connectivity.probes.choice import (
    Selection,
    choose_probes,
    confirmed,
    select_probes,
)
from llfc.connectivity.probes.features import features_of, tapped
from llfc.connectivity.probes.kinds import ACTIVATIONS, LINEAR_MODULES
from llfc.connectivity.probes.of_task import for_task
from llfc.connectivity.probes.probe import Probe
from llfc.connectivity.probes.products import products_between, products_of_ends

__all__ = [
    "ACTIVATIONS",
    "LINEAR_MODULES",
    "Probe",
    "Selection",
    "choose_probes",
    "confirmed",
    "features_of",
    "for_task",
    "products_between",
    "products_of_ends",
    "select_probes",
    "tapped",
]
