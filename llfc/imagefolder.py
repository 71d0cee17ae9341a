"""A folder of one's own images as arrays, decoded once into a cache.

The folder holds `train/` and `test/` (or `val/`), each with one folder a class; both splits have
the same classes. It is named `imagefolder:PATH`, or `imagefolder:PATH#N` to have every image N
pixels high and wide rather than as large as the first. Once decoded its name follows its content,
`imagefolder:FOLDER@DIGITS`, and the cache alone is enough to load it, on another machine too.
Decoded images are mixed, as those of published data sets are: a batch of one class would give
norms, and controls that pair the images of a batch, what no random batch has.
"""

import hashlib
import json
import os
import re
import uuid
import zipfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from tqdm import tqdm

from llfc.seeds import stream

PREFIX = "imagefolder:"
SPLITS: Mapping[str, tuple[str, ...]] = {"train": ("train",), "test": ("test", "val")}
RESOLVED = re.compile(r"[\w.-]+@[0-9a-f]{8}")
ARRAYS = ("train_images", "train_labels", "test_images", "test_labels")
DECODING = 2  # counts the changes of method, so that what an older one cached is decoded anew

Arrays = dict[str, Any]


@dataclass(frozen=True)
class _Picture:
    """A file of the listing; `label` is the index of its class."""

    path: Path
    split: str
    label: int


def load_folder(name: str, cache: Path) -> Arrays:
    """The arrays that `resolve_folder` left in `cache` under `name`.

    Returns:
        `train_images` (uint8, [N, C, H, W]; C is 1 if all images are grey, else 3),
        `train_labels` (int64, [N]), the same for test, and `num_classes`.

    Raises:
        ValueError: if `cache` does not hold it, or holds it damaged.
    """
    path = _cached(name, cache)
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as saved:
            arrays = {key: saved[key] for key in ARRAYS}
            classes = int(saved["num_classes"])
    except FileNotFoundError:
        raise ValueError(
            f"{name} is not in {cache}: give the folder itself, as {PREFIX}PATH"
        ) from None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"{name}: {path} is damaged ({error}): remove it, and decode anew"
        ) from None
    return {**arrays, "num_classes": classes}


def resolve_folder(name: str, cache: Path, *, progress: bool = False) -> str:
    """The name of the image folder `name` by its content; decodes it if `cache` has it not.

    Raises:
        ValueError: in one line, if the folder is not laid out as above, an image cannot be read,
            a link leaves the folder, or `cache` cannot be written.
    """
    given = name.removeprefix(PREFIX)
    if RESOLVED.fullmatch(given) and _cached(name, cache).is_file():
        return name
    text, size = _split_size(given)
    if not text:
        raise ValueError(f"dataset must be {PREFIX}PATH, got no path after {PREFIX!r}")
    folder = Path(text).expanduser().absolute()
    with _one_line(folder):
        classes, pictures = _listing(folder)
        note = cache / f"listing-{_listing_digest(folder, size, pictures)}.json"
    if (known := _noted(note, cache)) is not None:
        return known
    arrays = _decode(pictures, size, progress=progress)
    resolved = f"{PREFIX}{_safe(folder.name)}@{_content_digest(arrays, classes)}"
    with _one_line(cache):
        with _written(_cached(resolved, cache)) as beside, beside.open("wb") as file:
            np.savez(file, allow_pickle=False, num_classes=len(classes), **arrays)
        with _written(note) as beside:
            beside.write_text(json.dumps(resolved))
    return resolved


def _cached(name: str, cache: Path) -> Path:
    return cache / f"{name.removeprefix(PREFIX).replace('/', '_')}.npz"


def _split_size(given: str) -> tuple[str, int | None]:
    text, mark, size = given.rpartition("#")
    if not (mark and size.isdecimal()):
        return given, None
    if int(size) < 1:
        raise ValueError(f"{PREFIX}{given}: the size after # must be at least 1, got {size}")
    return text, int(size)


def _listing(folder: Path) -> tuple[list[str], list[_Picture]]:
    """The names of the classes, and every image of every split, in the order of their names."""
    if not folder.is_dir():
        raise ValueError(f"image folder {folder} does not exist or is not a folder")
    homes = {split: _home(folder, split) for split in SPLITS}
    classes = {split: _visible(home, folder, folders=True) for split, home in homes.items()}
    names = [entry.name for entry in classes["train"]]
    if [entry.name for entry in classes["test"]] != names:
        odd = sorted({entry.name for entry in classes["test"]} ^ set(names))
        raise ValueError(f"image folder {folder}: class {odd[0]!r} is in one split only")
    if not names:
        raise ValueError(f"image folder {folder}: {homes['train'].name}/ has no class folders")
    pictures = []
    for split, entries in classes.items():
        for label, entry in enumerate(entries):
            files = _visible(entry, folder, folders=False)
            if not files:
                raise ValueError(
                    f"image folder {folder}: {entry.relative_to(folder)} has no images"
                )
            pictures += [_Picture(path, split, label) for path in files]
    return names, pictures


def _home(folder: Path, split: str) -> Path:
    for name in SPLITS[split]:
        if (folder / name).is_dir():
            _stay_inside(folder, folder / name)
            return folder / name
    wanted = " or ".join(f"{name}/" for name in SPLITS[split])
    raise ValueError(f"image folder {folder} must hold a folder {wanted}, has none")


def _visible(folder: Path, root: Path, *, folders: bool) -> list[Path]:
    """Folders, or files that PIL knows by their suffix, whose names begin with no dot; sorted."""
    known = Image.registered_extensions()
    found = []
    with os.scandir(folder) as entries:
        for entry in entries:
            suffix = os.path.splitext(entry.name)[1].lower()
            if entry.name.startswith(".") or not (folders or suffix in known):
                continue
            if entry.is_dir() == folders:
                found.append(entry.name)
                if entry.is_symlink():
                    _stay_inside(root, folder / entry.name)
    return [folder / name for name in sorted(found)]


def _stay_inside(root: Path, link: Path) -> None:
    if not link.resolve().is_relative_to(root.resolve()):
        raise ValueError(f"image folder {root}: {link.relative_to(root)} is a link out of it")


def _decode(pictures: list[_Picture], size: int | None, *, progress: bool) -> Arrays:
    """The arrays of `load_folder`, less `num_classes`."""
    first = _pixels(pictures[0].path, None)
    shape = (size, size) if size else first.shape[:2]
    _check_memory(len(pictures), shape)
    images = np.empty((len(pictures), *shape, 3), np.uint8)

    def decode(index: int) -> None:
        images[index] = _pixels(pictures[index].path, shape)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        done = pool.map(decode, range(len(pictures)))
        bar = tqdm(done, "decoding", len(pictures), unit="image", disable=not progress)
        try:
            for _ in bar:
                pass
        except BaseException:
            # One bad image, or Ctrl-C, must not wait for all the others.
            pool.shutdown(cancel_futures=True)
            raise
    if (images == images[..., :1]).all():
        images = images[..., :1]
    arrays: Arrays = {}
    for split in SPLITS:
        members = [i for i, picture in enumerate(pictures) if picture.split == split]
        mixed = torch.randperm(len(members), generator=stream(0, f"folder/{split}"))
        chosen = [members[i] for i in mixed]
        arrays[f"{split}_images"] = np.ascontiguousarray(images[chosen].transpose(0, 3, 1, 2))
        arrays[f"{split}_labels"] = np.array([pictures[i].label for i in chosen], np.int64)
    return arrays


def _check_memory(count: int, shape: tuple[int, ...]) -> None:
    height, width = shape
    wanted = 3 * count * height * width
    if hasattr(os, "sysconf") and wanted > os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"):
        raise ValueError(
            f"{count} images of {height} x {width} pixels are {wanted / 2**30:.0f} GiB, more than"
            f" there is of memory: give a smaller size N, as {PREFIX}PATH#N"
        )


def _pixels(path: Path, shape: tuple[int, int] | None) -> NDArray[np.uint8]:
    """The image as RGB, [H, W, 3]; scaled, and cut at the longer side, to height and width."""
    try:
        with Image.open(path) as image:
            if image.mode in ("F", "I") or image.mode.startswith("I;"):
                raise ValueError(f"must have 8 bits a channel, has mode {image.mode}")
            picture = image.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"image {path} cannot be read: {' '.join(str(error).split())}") from None
    if shape is not None and picture.size != shape[::-1]:
        picture = ImageOps.fit(picture, shape[::-1], Image.Resampling.BILINEAR)
    return np.asarray(picture)


def _listing_digest(folder: Path, size: int | None, pictures: list[_Picture]) -> str:
    """A digest of what a folder looks like without reading its files."""
    known = f"{DECODING}\0{folder.resolve()}\0{size}"
    digest = hashlib.blake2b(known.encode(), digest_size=8)
    for picture in pictures:
        found = os.stat(picture.path)
        name = os.fsencode(picture.path)
        digest.update(name + f"\0{found.st_size}\0{found.st_mtime_ns}\0".encode())
    return digest.hexdigest()


def _content_digest(arrays: Arrays, classes: list[str]) -> str:
    """Eight hex digits of all that the data set is."""
    digest = hashlib.blake2b("\0".join(classes).encode(errors="surrogateescape"), digest_size=4)
    for key in ARRAYS:
        digest.update(f"\0{key}{arrays[key].shape}".encode())
        digest.update(arrays[key].data)
    return digest.hexdigest()


def _noted(note: Path, cache: Path) -> str | None:
    """The name that an earlier decoding noted, if the cache still holds it."""
    try:
        name = json.loads(note.read_text())
    except (OSError, ValueError):
        return None
    known = isinstance(name, str) and zipfile.is_zipfile(_cached(name, cache))
    return name if known else None


def _safe(name: str) -> str:
    """`name` with nothing in it that a shell, a file system or a table could stumble over."""
    return re.sub(r"[^A-Za-z0-9_.-]", "_", name).lstrip(".") or "folder"


@contextmanager
def _written(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that becomes `path` if all goes well, else nothing."""
    beside = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield beside
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


@contextmanager
def _one_line(place: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ValueError(f"{error.filename or place}: {error.strerror or error}") from None
