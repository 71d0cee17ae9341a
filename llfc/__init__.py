"""Linear mode connectivity and layerwise linear feature connectivity, measured together.

The package tells its story in `llfc.connection`: two networks (`llfc.networks`) are aligned
(`llfc.matching`) and evaluated along the line between them (`llfc.connectivity`). These are the
names that a notebook needs:

- `permutation_spec(model, *example_inputs)`: which units of a network can be permuted without
  changing its function;
- `match(name, model_a, model_b, spec)`: the permutation that brings b closest to a;
- `connect(model_a, model_b, test=...)`: loss, error and the LLFC error of every layer, along the
  line.
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
from llfc.symmetry.canonical import canonical
from llfc.symmetry.transform import Transform
from llfc.tasks import TASKS, Task

__all__ = [
    "MATCHERS",
    "TASKS",
    "Connection",
    "LayerProfile",
    "LeftOut",
    "Permutation",
    "PermutationSpec",
    "Task",
    "Transform",
    "canonical",
    "connect",
    "match",
    "match_many",
    "permutation_spec",
]
