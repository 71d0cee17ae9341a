"""Why features are linear on the line: additive activations, layers and norms that commute.

`measure` pairs up what `operations` captures in each network, image by image as `imageaxis` finds
them, and `totals` has the sums: `additivity` and `commutativity`, in parts of a batch, as `sums`
cuts them, and `norms`, which are also folded into the layers before.
"""

from llfc.connectivity.measures.conditions.measure import conditions

__all__ = ["conditions"]
