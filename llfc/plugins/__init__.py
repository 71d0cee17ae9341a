"""One's own networks, data sets, matchers, corrections and tasks, named where built-in ones are.

A plug-in is a function, named as `FILE.py:FUNCTION` or `MODULE:FUNCTION`, or by the name of an
entry point in the group of its kind (GROUPS). `resolve` makes of it the name that says what it is,
`STEM:FUNCTION@DIGITS`, where the digits are of the code (see `llfc.plugins.sources`). Records carry
that name, so that what changed code makes is never taken for what was made before.
"""

from llfc.plugins.calling import call, taken
from llfc.plugins.registry import (
    GROUPS,
    choices,
    code_of,
    function_of,
    is_own,
    is_plugin,
    is_resolved,
    learn,
    made,
    own_function,
    resolve,
)

__all__ = [
    "GROUPS",
    "call",
    "choices",
    "code_of",
    "function_of",
    "is_own",
    "is_plugin",
    "is_resolved",
    "learn",
    "made",
    "own_function",
    "resolve",
    "taken",
]
