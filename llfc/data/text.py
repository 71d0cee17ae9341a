"""Texts as token ids: the embedded one, or a file of one's own, in windows that do not overlap.

A file is named `text:PATH`, and after it has been read `text:FILE@DIGITS`, by its content; a copy
in the cache is then enough to load it, on another machine too.
"""

import hashlib
import lzma
import re
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import torch

from llfc.atomic import made_whole
from llfc.data.sequences import Sequences, read_options, split_options, with_options

PREFIX = "text:"
RESOLVED = re.compile(r"[\w.-]+@[0-9a-f]{8}")
LEVELS = ("byte", "character")
# Share of a text, its end, that is for testing.
TEST_SHARE = 0.1


def king_james(*, context: int = 64) -> Sequences:
    """The first 1.1 million characters of the King James Bible, in windows of `context`."""
    return windows("king-james", embedded_text(), context=context)


def embedded_text() -> bytes:
    """The text that comes with the package."""
    return lzma.decompress((files("llfc.data.assets") / "king_james.txt.xz").read_bytes())


def windows(name: str, raw: bytes, *, context: int = 64, level: str = "character") -> Sequences:
    """Windows of `context` tokens of a text in UTF-8; what is left over at a split's end is unused.

    At `level` `character` a token is a character, numbered in the order of their code points; at
    `byte` a byte, whatever the text.

    Raises:
        ValueError: if `text` is no UTF-8, or a split has no whole window.
    """
    if level not in LEVELS:
        raise ValueError(f"level of {name} must be one of {', '.join(LEVELS)}, got {level!r}")
    tokens: tuple[str, ...] = ()
    if level == "byte":
        ids = torch.from_numpy(np.frombuffer(raw, np.uint8).astype(np.int64))
    else:
        try:
            points = np.frombuffer(raw.decode().encode("utf-32-le"), dtype="<u4")
        except UnicodeDecodeError as error:
            raise ValueError(
                f"{name} must be UTF-8, or its name have #level=byte after it: {error}"
            ) from None
        known, inverse = np.unique(points, return_inverse=True)
        ids, tokens = torch.from_numpy(inverse), tuple(map(chr, known.tolist()))
    first = len(ids) - int(len(ids) * TEST_SHARE)
    if context < 2 or min(first, len(ids) - first) < context:
        raise ValueError(
            f"context must be at least 2 and leave a window in each split of {name},"
            f" got {context} for {len(ids)} tokens"
        )
    train, test = (
        part[: len(part) // context * context].view(-1, context)
        for part in (ids[:first], ids[first:])
    )
    return Sequences(
        name=name,
        train_ids=train,
        train_targets=train,
        test_ids=test,
        test_targets=test,
        num_classes=len(tokens) or 256,
        tokens=tokens,
    )


def resolve_text(name: str, cache: Path) -> str:
    """The name of the text `name` by its content, which is left in `cache`.

    Args:
        name: `text:PATH`, with `#context=N,level=byte` after it or not; or what this function made
            of it.
        cache: folder of copies.

    Raises:
        ValueError: in one line, if it cannot be read, or `cache` cannot be written.
    """
    given, options = _parsed(name)
    if RESOLVED.fullmatch(given) and _cached(given, cache).is_file():
        return with_options(PREFIX + given, options)
    if not given:
        raise ValueError(f"dataset must be {PREFIX}PATH, got no path after {PREFIX!r}")
    path = Path(given).expanduser()
    try:
        raw = path.read_bytes()
        resolved = f"{_safe(path.name)}@{_digest(raw)}"
        with made_whole(_cached(resolved, cache)) as beside:
            beside.write_bytes(raw)
    except OSError as error:
        raise ValueError(
            f"dataset {PREFIX}{given}: {error.filename or path}: {error.strerror or error}"
        ) from None
    return with_options(PREFIX + resolved, options)


def load_text(name: str, cache: Path) -> Sequences:
    """The windows of the text that `resolve_text` left in `cache` under `name`.

    Raises:
        ValueError: if `cache` does not hold it, or holds it damaged.
    """
    given, options = _parsed(name)
    path = _cached(given, cache)
    try:
        raw = path.read_bytes()
    except OSError:
        raise ValueError(
            f"{name} is not in {cache}: give the file itself, as {PREFIX}PATH"
        ) from None
    if _digest(raw) != given.rpartition("@")[2]:
        raise ValueError(f"{name}: {path} is damaged: remove it, and give {PREFIX}PATH again")
    return windows(name, raw, **options)


def _parsed(name: str) -> tuple[str, dict[str, Any]]:
    """What follows the prefix, and its options; a file whose own name has options is that file."""
    given = name.removeprefix(PREFIX)
    if Path(given).expanduser().is_file():
        return given, {}
    base, options = split_options(given)
    return base, read_options(PREFIX + base, windows, options)


def _cached(given: str, cache: Path) -> Path:
    return cache / f"{given.replace('/', '_')}.text"


def _digest(raw: bytes) -> str:
    return hashlib.blake2b(raw, digest_size=4).hexdigest()


def _safe(name: str) -> str:
    """`name` with nothing in it that a shell, a file system or a table could stumble over."""
    return re.sub(r"[^A-Za-z0-9_.-]", "_", name).lstrip(".") or "text"
