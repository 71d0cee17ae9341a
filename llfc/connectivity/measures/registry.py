"""Every measure by name.

Each is an option with a cost, said in its docstring in forward passes over the test data; the walk
itself takes as many as there are positions on the line, and two more where a correction changes the
ends. A trial's own are the field `measures` of `llfc.specs.Trial`.
"""

from collections.abc import Mapping

from llfc.connectivity.measures.conditions import conditions
from llfc.connectivity.measures.layer_barriers import layer_barriers
from llfc.connectivity.measures.per_image import samples
from llfc.connectivity.measures.random_direction import random_direction
from llfc.connectivity.measures.similarity import similarity
from llfc.connectivity.measures.stitching import stitching
from llfc.connectivity.subject import Measure

MEASURES: Mapping[str, Measure] = {
    "conditions": conditions,
    "layer-barriers": layer_barriers,
    "random-direction": random_direction,
    "samples": samples,
    "similarity": similarity,
    "stitching": stitching,
}
