"""What is made in steps is whole, or not there: it is made beside its place, and then renamed.

For whatever takes more than one write, a library's as well as ours: a database, a download, an
archive that is unpacked, a cache. Whoever is killed in between leaves nothing under the final name.
"""

import os
import re
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

ABANDONED = 24 * 3600  # seconds after which what lies beside is a killed process's
TEMPORARY = re.compile(r"\.tmp(-\w+)?$")


@contextmanager
def made_whole(path: Path, *, alone: bool = False) -> Iterator[Path]:
    """A path beside `path`, for a file or a folder, that becomes `path` if all goes well.

    A file replaces a file that is there; where a folder is to be, nothing may be.

    Args:
        path: the final place; its folder is made if it is not there.
        alone: whether a lock says that no other process makes it now: what lies beside is then a
            killed one's, and is removed at once rather than after ABANDONED seconds.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(path, alone)
    beside = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        yield beside
        _sync(beside)
        beside.replace(path)
    finally:
        _remove(beside)


def _sync(path: Path) -> None:
    """Have the content of a file, or of all files of a folder, on the disk."""
    for file in path.rglob("*") if path.is_dir() else [path]:
        if file.is_file():
            with file.open("rb") as opened:
                os.fsync(opened.fileno())


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def remove_unfinished(path: Path) -> None:
    """Remove what was to become `path`; to a process that is making it now, that is an OSError."""
    if path.parent.is_dir():
        _remove_abandoned(path, alone=True)


def _remove_abandoned(path: Path, alone: bool) -> None:
    with os.scandir(path.parent) as entries:
        # The last with what a library puts beside its own files, such as a database's journal.
        beside = [e for e in entries if e.name.startswith(".") and TEMPORARY.search(e.name)]
    for entry in beside:
        with suppress(OSError):  # its maker has renamed it meanwhile
            own = alone and entry.name.startswith(f".{path.name}.")
            if own or time.time() - entry.stat().st_mtime > ABANDONED:
                _remove(Path(entry.path))
