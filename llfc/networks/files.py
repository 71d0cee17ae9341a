"""The store's files: in a local folder, or at a URI known to fsspec, such as a bucket.

Both write atomically: whatever is read was written completely. Paths are relative to the root and
have forward slashes.
"""

import contextlib
import stat
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

from llfc.atomic import made_whole, remove_unfinished


class Files(Protocol):
    """Files that are read and written atomically; methods raise OSError if the backend fails."""

    @property
    def root(self) -> Path | str:
        """The folder or the URI under which they are."""

    def check_writable(self) -> None:
        """Write a small file and remove it again."""

    def read(self, path: str) -> bytes | None:
        """The content of a file; None if there is none.

        Raises:
            ValueError: if the place does not answer, which says nothing about the file.
        """

    def write(self, path: str, content: bytes) -> None:
        """Make or replace a file, whole or not at all."""

    def mark(self, path: str) -> Any:
        """A version mark that changes whenever the file does; None if there is none."""

    def exists(self, path: str) -> bool:
        """Whether a file or a folder is there."""

    def is_folder(self, path: str) -> bool:
        """Whether a folder is there."""

    def move(self, path: str, to: str) -> None:
        """Give a file or folder another path.

        Raises:
            FileNotFoundError: if it is not there, or no more.
        """

    def remove(self, path: str) -> None:
        """Remove a file if it exists."""

    def remove_unfinished(self, path: str) -> None:
        """Remove what processes that were killed while they wrote a file have left of it."""

    def names(self, folder: str) -> list[str]:
        """Names of what is in a folder; none if there is no folder."""


def files_at(root: Path | str) -> Files:
    """The files under `root`: a folder, or a URI with a scheme that fsspec knows.

    Raises:
        ValueError: if the URI's scheme is unknown, or needs a library that is not there.
    """
    if "://" not in str(root) or str(root).startswith("file://"):
        return LocalFiles(Path(str(root).removeprefix("file://")))
    return RemoteFiles(str(root))


class LocalFiles:
    """Files in a folder, which may be on a file system that several machines mount."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def check_writable(self) -> None:
        self.root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=self.root):
            pass

    def read(self, path: str) -> bytes | None:
        try:
            place = self.root / path
            if not stat.S_ISREG(place.stat().st_mode):
                raise OSError("it is not a regular file")  # a pipe, say, would be read for ever
            return place.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def write(self, path: str, content: bytes) -> None:
        with made_whole(self.root / path) as beside:
            beside.write_bytes(content)

    def mark(self, path: str) -> Any:
        try:
            found = (self.root / path).stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size

    def exists(self, path: str) -> bool:
        return (self.root / path).exists()

    def is_folder(self, path: str) -> bool:
        return (self.root / path).is_dir()

    def move(self, path: str, to: str) -> None:
        (self.root / path).rename(self.root / to)

    def remove(self, path: str) -> None:
        (self.root / path).unlink(missing_ok=True)

    def remove_unfinished(self, path: str) -> None:
        remove_unfinished(self.root / path)

    def names(self, folder: str) -> list[str]:
        place = self.root / folder
        return [path.name for path in place.iterdir()] if place.is_dir() else []


class RemoteFiles:
    """Files of an object store: a write there is one request, so it is whole or not there."""

    def __init__(self, root: str) -> None:
        import fsspec  # seconds faster without it for all who keep things in a folder

        self.root = root.rstrip("/")
        try:
            self.system, self.base = fsspec.url_to_fs(self.root)
        except (ImportError, ValueError) as error:
            raise ValueError(f"storage {root} cannot be used: {error}") from None

    def check_writable(self) -> None:
        bucket = self.base.partition("/")[0]
        with _as_os_error():
            # Some of fsspec's libraries make a bucket when something is written into it; a typing
            # error must not make one.
            if bucket and not self.system.exists(bucket):
                raise FileNotFoundError(f"there is no {bucket}")
        path = f".writable-{uuid.uuid4().hex}"
        self.write(path, b"")
        with _as_os_error():
            self.system.rm_file(self._at(path))

    def read(self, path: str) -> bytes | None:
        # What lists and dates of files were seen before may be old: others write here too.
        self.system.invalidate_cache()
        try:
            with _as_os_error():
                return bytes(self.system.cat_file(self._at(path)))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise ValueError(f"storage {self.root}/{path} cannot be read: {error}") from None

    def write(self, path: str, content: bytes) -> None:
        with _as_os_error():
            self.system.makedirs(self._at(path).rpartition("/")[0], exist_ok=True)
            self.system.pipe_file(self._at(path), content)

    def mark(self, path: str) -> Any:
        self.system.invalidate_cache()
        try:
            with _as_os_error():
                found = self.system.info(self._at(path))
        except OSError:
            return None
        known = (found.get(name) for name in ("ETag", "LastModified", "mtime", "created"))
        changes = tuple(str(value) for value in known if value is not None)
        return (changes, found.get("size")) if changes else None

    def exists(self, path: str) -> bool:
        self.system.invalidate_cache()
        with _as_os_error():
            return bool(self.system.exists(self._at(path)))

    def is_folder(self, path: str) -> bool:
        with _as_os_error():
            return bool(self.system.isdir(self._at(path)))

    def move(self, path: str, to: str) -> None:
        with _as_os_error():
            self.system.mv(self._at(path), self._at(to), recursive=self.is_folder(path))

    def remove(self, path: str) -> None:
        with contextlib.suppress(FileNotFoundError), _as_os_error():
            self.system.rm_file(self._at(path))

    def remove_unfinished(self, path: str) -> None:
        """Nothing: a write is one request."""

    def names(self, folder: str) -> list[str]:
        self.system.invalidate_cache()
        try:
            with _as_os_error():
                found = self.system.ls(self._at(folder), detail=False)
        except FileNotFoundError:
            return []
        return [str(path).rstrip("/").rpartition("/")[2] for path in found]

    def _at(self, path: str) -> str:
        return f"{self.base}/{path}"


@contextlib.contextmanager
def _as_os_error() -> Iterator[None]:
    """Convert whatever the backend's library raises to an OSError with a one-line message."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        raise OSError(f"{type(error).__name__}: {error}") from error
