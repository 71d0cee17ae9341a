"""Data sets of one's own: a function that returns arrays, read once and then cached by content.

It is named `FILE.py:FUNCTION` or `MODULE:FUNCTION`, and once it has been called
`STEM:FUNCTION@DIGITS-DIGITS`, of its code and of what it returned; the cache alone is then enough
to load it, on another machine too. It may read files: what is in them counts by what comes of it.
"""

import functools
import hashlib
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from llfc.atomic import made_whole
from llfc.data.images import Dataset, from_arrays
from llfc.data.rows import Rows
from llfc.data.sequences import Sequences
from llfc.names import readable
from llfc.plugins import call, function_of, resolve, taken
from llfc.results import SPLITS
from llfc.tasks import IGNORED

IMAGES = ("train_images", "train_labels", "test_images", "test_labels")
TOKENS = ("train_ids", "test_ids", "train_targets", "test_targets")
ROWS = ("train_inputs", "train_targets", "test_inputs", "test_targets")
RULE = (
    f"must return a mapping with {', '.join(IMAGES)}; {', '.join(TOKENS[:2])}; or {', '.join(ROWS)}"
)

Arrays = dict[str, Any]


def own_kind(name: str) -> str:
    """`images`, `tokens` or `rows`; the function is called, once per process.

    Raises:
        ValueError: if there is none, or what it returns is no data set.
    """
    return _kind(_called(resolve("dataset", name)))


def _kind(arrays: Mapping[str, Any]) -> str:
    """What a data set of these arrays is of."""
    named = {"ids": "tokens", "inputs": "rows"}
    found = (named.get(str(key).partition("_")[2]) for key in arrays)
    return next((kind for kind in found if kind), "images")


def resolve_own(name: str, cache: Path) -> str:
    """The name by code and content of the data set `name`, which is left in `cache`.

    Args:
        name: `FILE.py:FUNCTION`, `MODULE:FUNCTION`, or what this function made of it.
        cache: folder of copies.

    Raises:
        ValueError: in one line, if there is none, what it returns is no data set, it returns
            another one when it is called again, or `cache` cannot be written.
    """
    if _has_content(name):
        return name
    code = resolve("dataset", name)
    arrays = _called(code)
    resolved = f"{code}-{_digest(arrays)}"
    if zipfile.is_zipfile(_cached(resolved, cache)):
        return resolved
    if _digest(_arrays_of(code)) != _digest(arrays):
        raise ValueError(
            f"dataset {readable(code)} must return the same every time: draw from a generator with"
            " a seed of its own"
        )
    try:
        with made_whole(_cached(resolved, cache)) as beside, beside.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)
    except OSError as error:
        raise ValueError(f"{error.filename or cache}: {error.strerror or error}") from None
    return resolved


def load_own(name: str, cache: Path) -> Arrays:
    """The arrays that `resolve_own` left in `cache` under `name`.

    Returns:
        IMAGES as uint8 [N, C, H, W] and int64 [N], TOKENS as int64 [N, T], or ROWS as float32
        [N, F] and [N, K]; and `num_classes`.

    Raises:
        ValueError: if `cache` does not hold it, or holds it damaged.
    """
    path = _cached(name, cache)
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as saved:
            arrays = {key: saved[key] for key in saved.files}
        arrays["num_classes"] = int(arrays["num_classes"])
        if f"-{_digest(arrays)}" == name[-9:]:
            return arrays
        reason = "its content is another"
    except FileNotFoundError:
        raise ValueError(f"dataset {name} is not in {cache}: name its file again") from None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        reason = str(error)
    raise ValueError(f"dataset {name}: {path} is damaged ({reason}): remove it, and run it again")


def own_data(name: str, arrays: Arrays) -> Dataset | Sequences | Rows:
    """What `load_own` gave as the data set called `name`."""
    if (kind := _kind(arrays)) == "images":
        return from_arrays(name, arrays)
    made, keys = (Sequences, TOKENS) if kind == "tokens" else (Rows, ROWS)
    tensors: dict[str, Any] = {key: torch.from_numpy(arrays[key]) for key in keys}
    return made(name=name, num_classes=arrays["num_classes"], **tensors)


def _has_content(name: str) -> bool:
    return name.partition("@")[2][16:17] == "-"


def _cached(name: str, cache: Path) -> Path:
    return cache / f"{name.replace(':', '.')}.npz"


@functools.lru_cache(maxsize=2)
def _called(code: str) -> Arrays:
    """What the function returns, called once for the kind, the name and the content."""
    return _arrays_of(code)


def _arrays_of(code: str) -> Arrays:
    what, function = f"dataset {readable(code)}", function_of("dataset", code, in_place=True)
    taken(what, function, ())
    found = call(what, function, {})
    try:
        if not isinstance(found, Mapping):
            raise ValueError(f"{RULE}, got a {type(found).__name__}")
        return {"images": _images, "tokens": _tokens, "rows": _rows}[_kind(found)](found)
    except ValueError as error:
        raise ValueError(f"{what} {error}") from None


def _images(found: Mapping[str, Any]) -> Arrays:
    """Images and labels, if they are such."""
    _check_keys(found, IMAGES, ())
    arrays: Arrays = {}
    for split in SPLITS:
        images = np.asarray(found[f"{split}_images"])
        if images.ndim == 3:
            images = images[:, None]
        if images.dtype != np.uint8 or images.ndim != 4 or not images.size:
            raise ValueError(
                f"must give {split}_images as uint8 of shape [N, C, H, W] or [N, H, W],"
                f" got {_shown(images)}"
            )
        arrays[f"{split}_images"] = np.ascontiguousarray(images)
        labels = _whole(found[f"{split}_labels"], f"{split}_labels", 1)
        if len(labels) != len(images):
            raise ValueError(
                f"gives {len(images)} {split}_images, but {len(labels)} {split}_labels"
            )
        arrays[f"{split}_labels"] = labels
    shapes = [arrays[f"{split}_images"].shape[1:] for split in SPLITS]
    if shapes[0] != shapes[1]:
        raise ValueError(f"gives training images of shape {shapes[0]}, but test images {shapes[1]}")
    every = [arrays[f"{split}_labels"] for split in SPLITS]
    return {**arrays, "num_classes": _classes(found, every, "labels")}


def _tokens(found: Mapping[str, Any]) -> Arrays:
    """Token ids and targets, if they are such; targets are the ids where none are given."""
    _check_keys(found, TOKENS[:2], TOKENS[2:])
    arrays: Arrays = {}
    for split in SPLITS:
        ids = _whole(found[f"{split}_ids"], f"{split}_ids", 2)
        targets = _whole(found.get(f"{split}_targets", ids), f"{split}_targets", 2)
        if targets.shape != ids.shape or not ids.size:
            raise ValueError(
                f"gives {split}_ids of shape {ids.shape}, but {split}_targets {targets.shape}"
            )
        arrays |= {f"{split}_ids": ids, f"{split}_targets": targets}
    if arrays["train_ids"].shape[1] != arrays["test_ids"].shape[1]:
        raise ValueError("must give train_ids and test_ids of one length")
    counted = [values[values != IGNORED] for name, values in arrays.items() if "targets" in name]
    known = [values for name, values in arrays.items() if "ids" in name]
    return {**arrays, "num_classes": _classes(found, [*known, *counted], "ids and targets")}


def _rows(found: Mapping[str, Any]) -> Arrays:
    """Rows and targets, if they are such; rows are normalised as images are, targets are not."""
    _check_keys(found, ROWS, ())
    arrays: Arrays = {}
    for split in SPLITS:
        inputs = _numbers(found[f"{split}_inputs"], f"{split}_inputs", "[N, F]")
        targets = _numbers(found[f"{split}_targets"], f"{split}_targets", "[N] or [N, K]", (1, 2))
        targets = targets.reshape(len(targets), -1)
        if len(targets) != len(inputs):
            raise ValueError(
                f"gives {len(inputs)} {split}_inputs, but {len(targets)} {split}_targets"
            )
        arrays |= {f"{split}_inputs": inputs, f"{split}_targets": targets}
    for part in ("inputs", "targets"):
        one, other = (arrays[f"{split}_{part}"].shape[1] for split in SPLITS)
        if one != other:
            raise ValueError(f"gives {one} columns of train_{part}, but {other} of test_{part}")
    with np.errstate(over="ignore", invalid="ignore"):  # what is too large is refused below
        rows = arrays["train_inputs"]
        constant = (rows == rows[0]).all(0)  # their mean and deviation are off by rounding
        mean = np.where(constant, rows[0], rows.mean(0))
        std = np.where(constant, 1, rows.std(0))
        _as_float32(std, "train_inputs")
        for split in SPLITS:
            name = f"{split}_inputs"
            arrays[name] = _as_float32((arrays[name] - mean) / std, name)
            arrays[f"{split}_targets"] = _as_float32(arrays[f"{split}_targets"], f"{split}_targets")
    targets = arrays["train_targets"].shape[1]
    said = found.get("num_classes", targets)
    if isinstance(said, bool) or said != targets:
        raise ValueError(
            f"must leave num_classes out, or give the number of targets, {targets}, got {said!r}"
        )
    return {**arrays, "num_classes": targets}


def _as_float32(values: NDArray[np.float64], name: str) -> NDArray[np.float32]:
    """`values`, if it can hold them.

    Raises:
        ValueError: if a number is too large.
    """
    found = np.ascontiguousarray(values, np.float32)
    if not np.isfinite(found).all():
        raise ValueError(f"must give {name} that float32 can hold, and some are too large")
    return found


def _numbers(
    given: Any, name: str, shape: str, dims: tuple[int, ...] = (2,)
) -> NDArray[np.float64]:
    """`given` as float64, if it is of finite numbers and has one of `dims` many dimensions."""
    try:
        values = np.asarray(given)
    except ValueError as error:  # rows of several lengths
        raise ValueError(f"must give {name} as numbers of shape {shape}: {error}") from None
    if values.dtype.kind not in "fiub" or values.ndim not in dims or not values.size:
        raise ValueError(f"must give {name} as numbers of shape {shape}, got {_shown(values)}")
    if not np.isfinite(values).all():
        raise ValueError(f"must give finite {name}, got {values[~np.isfinite(values)][0]}")
    return values.astype(np.float64)


def _check_keys(found: Mapping[str, Any], needed: tuple[str, ...], also: tuple[str, ...]) -> None:
    for key in needed:
        if key not in found:
            raise ValueError(f"{RULE}; {key} is missing")
    for key in found:
        if key not in (*needed, *also, "num_classes"):
            raise ValueError(f"{RULE}; {key!r} is none of these, nor num_classes")


def _whole(given: Any, name: str, dims: int) -> NDArray[np.int64]:
    """`given` as int64, if it is of whole numbers and so many dimensions."""
    values = np.asarray(given)
    if values.dtype.kind not in "iu" or values.ndim != dims:
        shape = "[N]" if dims == 1 else "[N, T]"
        raise ValueError(
            f"must give {name} as whole numbers of shape {shape}, got {_shown(values)}"
        )
    return np.ascontiguousarray(values, np.int64)


def _classes(found: Mapping[str, Any], values: list[NDArray[np.int64]], what: str) -> int:
    """How many classes there are, which `values` are among."""
    low = min(int(each.min(initial=0)) for each in values)
    high = max(int(each.max(initial=0)) for each in values)
    classes = found.get("num_classes", high + 1)
    if isinstance(classes, bool) or not isinstance(classes, int | np.integer):
        raise ValueError(f"must give num_classes as a whole number, got {classes!r}")
    if low < 0 or high >= classes:
        wrong = low if low < 0 else high
        raise ValueError(f"must give {what} in [0, {classes}), got {wrong}")
    return int(classes)


def _shown(values: NDArray[Any]) -> str:
    return f"{values.dtype} of shape {values.shape}"


def _digest(arrays: Arrays) -> str:
    """Eight hex digits of all that the data set is."""
    digest = hashlib.blake2b(json.dumps(arrays["num_classes"]).encode(), digest_size=4)
    for name in sorted(arrays.keys() - {"num_classes"}):
        digest.update(f"\0{name}\0{_shown(arrays[name])}\0".encode())
        digest.update(arrays[name].data)
    return digest.hexdigest()
