"""Sequences of token ids, and how a data set of them is named with its options.

The inputs of a next-token task are the sequences, and so are its targets: the task shifts them.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from llfc.data.splits import Splits
from llfc.names import lookup


@dataclass(frozen=True, kw_only=True, eq=False)
class Sequences(Splits):
    """Token ids with the targets of a next-token task, whole, on one device.

    Attributes:
        train_ids: int64, [N, T], in [0, num_classes).
        train_targets: int64, [N, T]; IGNORED where a token does not count.
        test_ids: int64, [M, T].
        test_targets: int64, [M, T].
        tokens: what each id stands for, if that can be said.
    """

    parts: ClassVar[tuple[str, str]] = ("ids", "targets")
    kind: ClassVar[str] = "tokens"
    task: ClassVar[str] = "next-token"

    train_ids: Tensor
    train_targets: Tensor
    test_ids: Tensor
    test_targets: Tensor
    tokens: tuple[str, ...] = ()


Source = Callable[..., Sequences]


def split_options(name: str) -> tuple[str, dict[str, str]]:
    """`BASE#OPTION=VALUE,...` as BASE and its options; none where nothing of that form follows.

    >>> split_options("king-james#context=32")
    ('king-james', {'context': '32'})
    """
    base, mark, text = name.rpartition("#")
    pairs = [part.partition("=") for part in text.split(",")]
    if not (mark and all(key and equals for key, equals, _ in pairs)):
        return name, {}
    return base, {key: value for key, _, value in pairs}


def read_options(name: str, source: Source, given: Mapping[str, str]) -> dict[str, Any]:
    """The options `given` to `source`, typed as their defaults are, without those at them.

    Raises:
        ValueError: if `source` has no such option, or its value is of another type.
    """
    defaults = {
        key: parameter.default
        for key, parameter in inspect.signature(source).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY
    }
    found = {}
    for key, text in given.items():
        default = lookup(f"option of {name}", key, defaults)
        kind = type(default)
        try:
            found[key] = kind(text)
        except ValueError:
            raise ValueError(
                f"option {key} of {name} must be of the type of {default!r}, got {text!r}"
            ) from None
    return {key: value for key, value in sorted(found.items()) if value != defaults[key]}


def with_options(base: str, options: Mapping[str, Any]) -> str:
    """The name that `split_options` reads back."""
    text = ",".join(f"{key}={value}" for key, value in options.items())
    return f"{base}#{text}" if text else base
