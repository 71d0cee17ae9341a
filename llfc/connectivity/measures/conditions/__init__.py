"""Why features are linear on the line: additive activation functions, and layers that commute.

`measure` pairs up what `operations` hears in each network, image by image as `imageaxis` finds
them; `additivity` and `commutativity` are summed in parts of a batch, as `sums` cuts them.
"""

from llfc.connectivity.measures.conditions.measure import conditions

__all__ = ["conditions"]
