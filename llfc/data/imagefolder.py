"""Data sets from folders of images, decoded once into a cache of uint8 arrays.

Its layout is that of `llfc.data.imagelayout`. It is named `imagefolder:PATH`, or
`imagefolder:PATH#N` to have every image N pixels high and wide rather than as large as the first; a
folder whose own name ends in `#N` is that folder. Images stand as their EXIF orientation says. Once
decoded its name follows its content, `imagefolder:FOLDER@DIGITS`, and the cache alone is enough to
load it, on another machine too. Decoded images are shuffled, as those of published data sets are: a
batch of one class would give norms, and controls that pair the images of a batch, what no random
batch has.
"""

import hashlib
import json
import os
import re
import zipfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from rich.console import Console
from rich.progress import track

from llfc.atomic import made_whole
from llfc.data.imagelayout import SPLIT_FOLDERS, ImageFile, Listing, list_images
from llfc.names import counted
from llfc.oneline import in_one_line
from llfc.seeds import stream

PREFIX = "imagefolder:"
RESOLVED = re.compile(r"[\w.-]+@[0-9a-f]{8}")
ARRAYS = ("train_images", "train_labels", "test_images", "test_labels")
DECODING = 3  # counts the changes of method, so that what an older one cached is decoded anew

# train_images uint8 [N, C, H, W], train_labels [N], the same of test, and num_classes.
Arrays = dict[str, Any]


def load_folder(name: str, cache: Path) -> Arrays:
    """The arrays that `resolve_folder` left in `cache` under `name`.

    Returns:
        `train_images` (uint8, [N, C, H, W]; C is 1 if all images are grey, otherwise 3),
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
            f"{name} is not in {cache}: give the image folder itself, as {PREFIX}PATH"
        ) from None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"{name}: {path} is damaged ({error}): remove it, and the folder is decoded again"
        ) from None
    return {**arrays, "num_classes": classes}


def resolve_folder(
    name: str,
    cache: Path,
    *,
    progress: bool = False,
    say: Callable[[str], None] | None = None,
) -> str:
    """The name of the image folder `name` by its content; decodes it if `cache` has it not.

    Args:
        name: `imagefolder:PATH`, or what this function made of it.
        cache: folder of decoded image folders.
        progress: whether to show a bar while it is decoded.
        say: takes the line that says, once it is decoded, what was scaled, dropped or not used.

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
        listing = list_images(folder)
        note = cache / f"listing-{_listing_digest(folder, size, listing.pictures)}.json"
    if (known := _noted(note, cache)) is not None:
        return known
    arrays, seen = _decode(listing.pictures, size, progress=progress)
    resolved = f"{PREFIX}{_safe(folder.name)}@{_content_digest(arrays, listing.classes)}"
    if say is not None:
        say(_summary(folder, listing, arrays, seen))
    with _one_line(cache):
        with made_whole(_cached(resolved, cache)) as beside, beside.open("wb") as file:
            np.savez(file, allow_pickle=False, num_classes=len(listing.classes), **arrays)
        with made_whole(note) as beside:
            beside.write_text(json.dumps(resolved))
    return resolved


def _cached(name: str, cache: Path) -> Path:
    return cache / f"{name.removeprefix(PREFIX).replace('/', '_')}.npz"


def _split_size(given: str) -> tuple[str, int | None]:
    text, mark, size = given.rpartition("#")
    if not (mark and size.isdecimal()) or Path(given).expanduser().is_dir():
        return given, None
    if int(size) < 1:
        raise ValueError(f"{PREFIX}{given}: the size after # must be at least 1, got {size}")
    return text, int(size)


@dataclass(frozen=True)
class _Seen:
    """The original height and width of a decoded image, and whether it had transparency."""

    size: tuple[int, int]
    alpha: bool


def _summary(folder: Path, listing: Listing, arrays: Arrays, seen: Sequence[_Seen]) -> str:
    """One line that counts the images read, rescaled, converted and skipped."""
    height, width = arrays["train_images"].shape[2:]
    sizes = {image.size for image in seen}
    said = [f"{counted(len(seen), 'image')} of {len(listing.classes)} classes"]
    if sizes != {(height, width)}:
        many = f"{len(sizes)} sizes" if len(sizes) > 1 else "one size"
        said.append(f"{many}, scaled to {height} x {width} (PATH#N for N x N)")
    if alpha := sum(image.alpha for image in seen):
        said.append(f"transparency dropped in {alpha}")
    if listing.passed_over:
        example = listing.passed_over[0].relative_to(folder)
        said.append(
            f"{counted(len(listing.passed_over), 'other file')} not used, such as {example}"
        )
    return f"image folder {folder}: {', '.join(said)}"


def _decode(
    pictures: Sequence[ImageFile], size: int | None, *, progress: bool
) -> tuple[Arrays, list[_Seen]]:
    """The arrays of `load_folder`, less `num_classes`; and what each image was like."""
    first, _ = _pixels(pictures[0].path, None)
    shape = (size, size) if size else first.shape[:2]
    _check_memory(len(pictures), shape)
    images = np.empty((len(pictures), *shape, 3), np.uint8)

    def decode(index: int) -> _Seen:
        images[index], seen = _pixels(pictures[index].path, shape)
        return seen

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        done = pool.map(decode, range(len(pictures)))
        bar = track(
            done, "decoding", len(pictures), console=Console(stderr=True), disable=not progress
        )
        try:
            seen = list(bar)
        except BaseException:
            # One bad image, or Ctrl-C, must not wait for all the others.
            pool.shutdown(cancel_futures=True)
            raise
    if (images == images[..., :1]).all():
        images = images[..., :1]
    arrays: Arrays = {}
    for split in SPLIT_FOLDERS:
        members = [i for i, picture in enumerate(pictures) if picture.split == split]
        shuffled = torch.randperm(len(members), generator=stream(0, f"folder/{split}"))
        chosen = [members[i] for i in shuffled]
        arrays[f"{split}_images"] = np.ascontiguousarray(images[chosen].transpose(0, 3, 1, 2))
        arrays[f"{split}_labels"] = np.array([pictures[i].label for i in chosen], np.int64)
    return arrays, seen


def _check_memory(count: int, shape: tuple[int, ...]) -> None:
    height, width = shape
    wanted = 3 * count * height * width
    if hasattr(os, "sysconf") and wanted > os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"):
        raise ValueError(
            f"{count} images of {height} x {width} pixels need {wanted / 2**30:.0f} GiB, more than"
            f" the available memory: give a smaller size N, as {PREFIX}PATH#N"
        )


def _pixels(path: Path, shape: tuple[int, int] | None) -> tuple[NDArray[np.uint8], _Seen]:
    """The image as RGB, [H, W, 3]; scaled, and cut at the longer side, to height and width."""
    try:
        with Image.open(path) as image:
            if image.mode in ("F", "I") or image.mode.startswith("I;"):
                raise ValueError(f"must have 8 bits per channel, has mode {image.mode}")
            alpha = image.has_transparency_data
            picture = ImageOps.exif_transpose(image).convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"image {path} cannot be read: {in_one_line(error)}") from None
    seen = _Seen((picture.height, picture.width), alpha)
    if shape is not None and picture.size != shape[::-1]:
        picture = ImageOps.fit(picture, shape[::-1], Image.Resampling.BILINEAR)
    return np.asarray(picture), seen


def _listing_digest(folder: Path, size: int | None, pictures: Sequence[ImageFile]) -> str:
    """A digest of what a folder looks like without reading its images."""
    known = f"{DECODING}\0{folder.resolve()}\0{size}"
    digest = hashlib.blake2b(known.encode(), digest_size=8)
    for picture in pictures:
        found = os.stat(picture.path)
        name = os.fsencode(picture.path)
        known = f"\0{picture.label}\0{found.st_size}\0{found.st_mtime_ns}\0"
        digest.update(name + known.encode())
    return digest.hexdigest()


def _content_digest(arrays: Arrays, classes: Sequence[str]) -> str:
    """Eight hex digits of a digest of images, labels and class names."""
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
    """`name` with characters replaced that are special to shells, file systems or tables."""
    return re.sub(r"[^A-Za-z0-9_.-]", "_", name).lstrip(".") or "folder"


@contextmanager
def _one_line(place: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ValueError(f"{error.filename or place}: {error.strerror or error}") from None
