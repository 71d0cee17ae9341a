"""What the fields of all records share: how those that came later are marked, and their checks."""

import math
from collections.abc import Mapping

# The metadata of a field that its record did not have at first. At its default it is left out of
# the fingerprint, and records written without it are read: what was cached before is still found.
ADDED_LATER: Mapping[str, bool] = {"added_later": True}

# Of a name in such a field only what follows its @ counts, which says what is in a file.
BY_CONTENT: Mapping[str, bool] = {"by_content": True}


def at_least(name: str, value: int, least: int) -> None:
    """Check that the field `name` is not below `least`.

    Raises:
        ValueError: if it is.
    """
    if value < least:
        raise ValueError(f"{name} must be at least {least}, got {value}")


def positive_width(value: float) -> float:
    """`value`, if it can be the multiple of a width.

    Raises:
        ValueError: if it is not a positive number.
    """
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"width must be a positive number, got {value}")
    return float(value)
