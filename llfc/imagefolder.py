"""A folder of one's own images as arrays, decoded once into a cache."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

PREFIX = "imagefolder:"


def load_folder(name: str, cache: Path, *, progress: bool) -> Mapping[str, Any]:
    """The arrays of the image folder `name`."""
    raise NotImplementedError


def resolve_folder(name: str, cache: Path, *, progress: bool) -> str:
    """The name by content."""
    raise NotImplementedError
