"""Linear mode connectivity and layerwise linear feature connectivity, measured together.

The package tells its story in `llfc.connection`: two networks (`llfc.networks`) are aligned
(`llfc.matching`) and evaluated along the line between them (`llfc.connectivity`). These are the
names that a notebook needs:

- `permutation_spec(model, *example_inputs)`: which units of a network can be permuted without
  changing its function;
- `match(name, model_a, model_b, spec)`: the permutation that brings b closest to a;
- `connect(model_a, model_b, test=...)`: loss, error and the LLFC error of every layer, along the
  line;
- `merge(models, statistics=...)`: one network of several, aligned, blended and corrected.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llfc.connection import connect
    from llfc.matching import (
        MATCHERS,
        Permutation,
        PermutationSpec,
        match,
        match_many,
        permutation_spec,
    )
    from llfc.merging import Merged, blend, merge
    from llfc.results import Connection, LayerProfile, LeftOut
    from llfc.symmetry.canonical import canonical
    from llfc.symmetry.transform import Transform
    from llfc.tasks import TASKS, Task

__version__ = "0.2.0"

__all__ = [
    "MATCHERS",
    "TASKS",
    "Connection",
    "LayerProfile",
    "LeftOut",
    "Merged",
    "Permutation",
    "PermutationSpec",
    "Task",
    "Transform",
    "__version__",
    "blend",
    "canonical",
    "connect",
    "match",
    "match_many",
    "merge",
    "permutation_spec",
]

# PyTorch takes seconds to import, and the `llfc` command says things that need none of it; nor are
# NumPy and it loaded before a sweep listens to Ctrl-C.
_HOME = {
    "llfc.connection": ("connect",),
    "llfc.matching": (
        "MATCHERS",
        "Permutation",
        "PermutationSpec",
        "match",
        "match_many",
        "permutation_spec",
    ),
    "llfc.merging": ("Merged", "blend", "merge"),
    "llfc.results": ("Connection", "LayerProfile", "LeftOut"),
    "llfc.symmetry.canonical": ("canonical",),
    "llfc.symmetry.transform": ("Transform",),
    "llfc.tasks": ("TASKS", "Task"),
}
_PLACE = {name: module for module, names in _HOME.items() for name in names}


def __getattr__(name: str) -> Any:
    """A public name, imported when it is first asked for."""
    if name not in _PLACE:
        raise AttributeError(f"module 'llfc' has no attribute {name!r}")
    globals()[name] = getattr(importlib.import_module(_PLACE[name]), name)
    return globals()[name]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
