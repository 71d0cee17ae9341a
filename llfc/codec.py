"""Frozen records as JSON, as plain values and as text, and back, by the types of their fields.

A record is a dataclass. Its fields are numbers, words, None, float64 arrays of one dimension,
records, and tuples, lists and mappings (by words) of these. Types are never guessed, and what has
another one is refused.
"""

import ast
import dataclasses
import functools
import json
import reprlib
import types
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np

T = TypeVar("T")
_UNIONS = (Union, types.UnionType)
# How a value that was written by `str` is read; what is read is then checked.
_READ: Mapping[type, Callable[[str], Any]] = {
    str: str,
    int: int,
    float: float,
    bool: lambda text: {"True": True, "False": False}[text],
    tuple: ast.literal_eval,
}


def to_json(record: Any) -> str:
    """`record` as JSON text; numbers survive exactly."""
    return json.dumps(record, default=_as_json)


def to_plain(record: Any) -> dict[str, Any]:
    """`record` as plain values (str, int, float, bool, None, list, dict)."""
    plain: dict[str, Any] = json.loads(to_json(record))
    return plain


def from_plain(kind: type[T], plain: object) -> T:
    """The record, or other value, of type `kind` that was written as `plain`.

    Raises:
        ValueError: if a value has another type, a field is missing, or there is a further one.
    """
    options = get_args(kind) if get_origin(kind) in _UNIONS else (kind,)
    *first, last = sorted(options, key=lambda option: option is not types.NoneType)
    for option in first:
        with suppress(ValueError):
            return _read(option, plain)  # type: ignore[no-any-return]
    return _read(last, plain)  # type: ignore[no-any-return]


def from_text(kind: Any, text: str) -> Any:
    """The value of type `kind` that `str` wrote as `text`.

    Raises:
        ValueError: if it is none.

    >>> from_text(int | None, "None"), from_text(float, "64"), from_text(tuple[str, ...], "('a',)")
    (None, 64.0, ('a',))
    """
    of, optional = kind_of(kind)
    if optional and text == "None":
        return None
    try:
        return from_plain(kind, _READ[of](text))
    except (ValueError, SyntaxError, KeyError, RecursionError, MemoryError) as error:
        raise ValueError(f"must be {of.__name__}, got {text!r}") from error


@functools.cache  # asked for at every record that is read
def fields_of(kind: type) -> Mapping[str, Any]:
    """The types of a record's fields by name."""
    return get_type_hints(kind)


def kind_of(hint: Any) -> tuple[type, bool]:
    """The one type behind a field's, and whether None is a value too.

    >>> kind_of(int | None), kind_of(tuple[float, ...])
    ((<class 'int'>, True), (<class 'tuple'>, False))
    """
    options = get_args(hint) if get_origin(hint) in _UNIONS else (hint,)
    (kind,) = [option for option in options if option is not types.NoneType]
    return get_origin(kind) or kind, types.NoneType in options


def _read(kind: Any, plain: Any) -> Any:
    """`from_plain` of a type that is no union."""
    of, parts = get_origin(kind) or kind, get_args(kind)
    if dataclasses.is_dataclass(of) and isinstance(plain, Mapping):
        return _record(of, plain)
    if of is np.ndarray and isinstance(plain, list):
        if not all(isinstance(value, int | float) for value in plain):
            raise ValueError(f"must be a list of numbers, got {reprlib.repr(plain)}")
        return np.asarray(plain, dtype=np.float64)
    if of in (tuple, list) and isinstance(plain, list | tuple):
        return of(from_plain(parts[0], value) for value in plain)
    if of is Mapping and isinstance(plain, Mapping):
        return {from_plain(str, key): from_plain(parts[1], value) for key, value in plain.items()}
    if of in (str, bool, int, types.NoneType) and isinstance(plain, of):
        return plain
    if of is float and isinstance(plain, int | float):
        with suppress(OverflowError):
            float(plain)  # a whole number stays one, and may be too large
            return plain
    raise ValueError(f"must be {of.__name__}, got {reprlib.repr(plain)}")


def _record(kind: Any, plain: Mapping[str, Any]) -> Any:
    hints, values = fields_of(kind), {}
    for name, value in plain.items():
        if name not in hints:
            raise ValueError(f"{kind.__name__} has no field {name!r}")
        try:
            values[name] = from_plain(hints[name], value)
        except ValueError as error:
            raise ValueError(f"{name} {error}") from None
    try:
        return kind(**values)
    except TypeError as error:
        raise ValueError(str(error)) from None


def _as_json(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, Mapping):
        return dict(value)
    if dataclasses.is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    raise TypeError(f"{type(value).__name__} cannot be part of a record")
