"""Linear mode connectivity and layerwise linear feature connectivity, measured together.

The package tells its story in `llfc.connection`: two networks (`llfc.networks`) are brought into
one basis (`llfc.matching`) and the line between them is walked (`llfc.connectivity`). Here are the
names that a notebook wants:

- `permutation_spec(model, *example_inputs)`: which units of a network may change places;
- `match(name, model_a, model_b, spec)`: the permutation that brings b closest to a;
- `connect(model_a, model_b, test=...)`: loss, error and every layer's features on the line.
"""

from llfc.connection import connect
from llfc.matching import (
    MATCHERS,
    Permutation,
    PermutationSpec,
    match,
    match_many,
    permutation_spec,
)
from llfc.results import Connection, LayerProfile, LeftOut

__all__ = [
    "MATCHERS",
    "Connection",
    "LayerProfile",
    "LeftOut",
    "Permutation",
    "PermutationSpec",
    "connect",
    "match",
    "match_many",
    "permutation_spec",
]
