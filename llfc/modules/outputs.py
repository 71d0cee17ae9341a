"""What a model gives: a tensor, or a container that holds the output of interest."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor


def output_at(where: str | int | None, returned: Any) -> Any:
    """The output in what a model returned; that itself if it is not there.

    Args:
        where: a name in a dictionary or a record, or the place in a tuple; if None, `logits`,
            unless a tensor was returned.
        returned: what the model returned.
    """
    if where is None:
        if isinstance(returned, Tensor):
            return returned
        where = "logits"
    if isinstance(where, int):
        items = list(returned.values()) if isinstance(returned, Mapping) else returned
        fits = isinstance(items, tuple | list) and -len(items) <= where < len(items)
        return items[where] if fits else returned
    if isinstance(returned, Mapping):
        return returned.get(where, returned)
    return getattr(returned, where, returned)


def described(returned: Any) -> str:
    """What a model returned in place of an output, and what to do about it."""
    kind = type(returned).__name__
    if isinstance(returned, Mapping):
        kind += f" of {', '.join(map(str, returned))}"
    elif isinstance(returned, tuple | list):
        kind += f" of {len(returned)}"
    return (
        f"{kind}: name what counts of it, llfc.Task(loss, error, output=...), or wrap it in a"
        " module whose forward returns the logits alone"
    )
