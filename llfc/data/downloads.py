"""Data sets of torchvision, read from a folder or downloaded into it, atomically."""

import contextlib
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from filelock import FileLock

from llfc.atomic import made_whole
from llfc.oneline import in_one_line
from llfc.plugins.extras import of_extra
from llfc.results import SPLITS

DOWNLOAD_TIMEOUT = 20  # seconds without an answer; offline must not look like a hang


@dataclass(frozen=True)
class Published:
    """A loader of torchvision's data set `kind`, which is downloaded if it is not in the root.

    CIFAR's published files are pickles; torchvision reads them only if their MD5 is the known one.
    """

    kind: str
    num_classes: int

    def __call__(self, root: Path) -> dict[str, Any]:
        """Its arrays, from the files in `root`."""
        with of_extra("vision"):
            from torchvision import datasets
        source = getattr(datasets, self.kind)
        try:
            arrays = _read(source, root)
        except Exception:  # not there, or damaged: whatever lies in the files
            with _filling(self.kind, root):
                _fetch(source, root)
                arrays = _read(source, root)
        return {**arrays, "num_classes": self.num_classes}

    def is_in(self, root: Path) -> bool:
        """Whether `root` has it whole."""
        with of_extra("vision"):
            from torchvision import datasets
        with contextlib.suppress(Exception):  # as above
            _read(getattr(datasets, self.kind), root)
            return True
        return False


def _read(source: Any, root: Path, *, download: bool = False) -> dict[str, Any]:
    """The arrays of the torchvision class `source` from the files in `root`."""
    arrays: dict[str, Any] = {}
    for split in SPLITS:
        found = source(str(root), train=split == "train", download=download)
        images = torch.as_tensor(found.data)
        channels_first = images[:, None] if images.ndim == 3 else images.permute(0, 3, 1, 2)
        arrays[f"{split}_images"] = channels_first.contiguous()
        arrays[f"{split}_labels"] = torch.as_tensor(found.targets)
    return arrays


def _fetch(source: Any, root: Path) -> None:
    """Download and unpack a data set to a temporary folder, then move it into `root`.

    torchvision takes an unpacked file that is there for a whole one. Archives that lie in `root`
    are used, and what cannot be read there is renamed, not removed: somebody may have put it there.
    """
    with contextlib.suppress(Exception):  # another process has fetched it meanwhile
        _read(source, root)
        return
    name = getattr(source, "base_folder", source.__name__)
    with TemporaryDirectory(dir=root, prefix=f".{name}.", suffix=".tmp") as folder:
        for archive in [*root.glob("*.gz"), *root.glob(f"{name}/raw/*.gz")]:
            copy = Path(folder) / archive.relative_to(root)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(archive, copy)
        _read(source, Path(folder), download=True)
        with made_whole(root / name) as beside:
            _quarantine(root / name)
            (Path(folder) / name).rename(beside)


def _quarantine(path: Path) -> None:
    number = 1
    while (aside := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    with contextlib.suppress(FileNotFoundError):
        path.rename(aside)


@contextmanager
def _filling(kind: str, root: Path) -> Iterator[None]:
    """One process at a time may fill `root`; what goes wrong is said in one line."""
    timeout = socket.getdefaulttimeout()
    try:
        root.mkdir(parents=True, exist_ok=True)
        with FileLock(root / f".{kind}.lock"):
            socket.setdefaulttimeout(DOWNLOAD_TIMEOUT)
            yield
    except Exception as error:  # of the network, of archives, of whatever lies in the files
        reason = in_one_line(error)
        raise ValueError(
            f"{kind} is missing or damaged in {root}, and could not be downloaded ({reason}):"
            " set --data-root or LLFC_DATA to the folder that has it, or go online"
        ) from error
    finally:
        socket.setdefaulttimeout(timeout)
