"""How image folders are laid out: which files belong to which split and class.

A folder holds `train/` and `test/` (or `val/`), each with one folder a class; a class's images may
lie in folders of their own inside it, as torchvision's ImageFolder takes them. Tiny-ImageNet's
official layout is known too: `train/<class>/images/*`, and `val/images/*`, whose classes stand in
`val/val_annotations.txt`. Its `test/images/`, which has no labels, is not used; nor are annotations
that were left behind when the images of `val/` were moved to class folders.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

SPLIT_FOLDERS: Mapping[str, tuple[str, ...]] = {"train": ("train",), "test": ("test", "val")}
ANNOTATIONS = "val/val_annotations.txt"  # an image's name, a tab, its class, and what follows
UNLABELLED = "images"  # Tiny-ImageNet's folder of images that are not in a class's folder


@dataclass(frozen=True)
class ImageFile:
    """A file of the listing; `label` is the index of its class."""

    path: Path
    split: str
    label: int


@dataclass(frozen=True)
class Listing:
    """The images of a folder, by split and class.

    Attributes:
        classes: their names, in order.
        pictures: every image of every split, in the order of their names.
        passed_over: files beside them that are no images, or of no class.
    """

    classes: Sequence[str]
    pictures: Sequence[ImageFile]
    passed_over: Sequence[Path]


def list_images(folder: Path) -> Listing:
    """The classes and the images of `folder`.

    Raises:
        ValueError: in one line, if it is not laid out as above, or a link leaves it.
        OSError: if it cannot be read.
    """
    if not folder.is_dir():
        raise ValueError(f"image folder {folder} does not exist or is not a folder")
    lists = _Lists(folder)
    train = lists.by_folder(_home(folder, "train"))
    annotated = (folder / ANNOTATIONS).is_file() and (folder / "val" / UNLABELLED).is_dir()
    test = lists.by_annotations() if annotated else lists.by_folder(_home(folder, "test"))
    if not train:
        raise ValueError(f"image folder {folder}: train/ has no class folders")
    if odd := sorted(train.keys() ^ test.keys()):
        raise ValueError(f"image folder {folder}: class {odd[0]!r} is in one split only")
    if len(train) < 2:
        (only,) = train
        raise ValueError(f"image folder {folder} must have at least 2 classes, has only {only!r}")
    classes = sorted(train)
    pictures = [
        ImageFile(path, split, label)
        for split, found in (("train", train), ("test", test))
        for label, name in enumerate(classes)
        for path in found[name]
    ]
    return Listing(classes, pictures, lists.passed_over)


def _home(folder: Path, split: str) -> Path:
    """The folder of `split`'s class folders; one of images without a class is the last resort."""
    homes = [folder / name for name in SPLIT_FOLDERS[split] if (folder / name).is_dir()]
    if not homes:
        wanted = " or ".join(f"{name}/" for name in SPLIT_FOLDERS[split])
        raise ValueError(f"image folder {folder} must contain a folder {wanted}")
    for home in homes:
        _stay_inside(folder, home)
    home = next((home for home in homes if not _is_unlabelled(home)), homes[-1])
    if split == "test" and _is_unlabelled(home) and not (folder / "train" / UNLABELLED).is_dir():
        place = home.relative_to(folder)
        raise ValueError(
            f"image folder {folder}: {place}/{UNLABELLED} is no class: {place}/ must have one"
            f" folder per class, or Tiny-ImageNet's {ANNOTATIONS} must be there"
        )
    return home


def _is_unlabelled(home: Path) -> bool:
    """Whether the only folder in `home` is UNLABELLED."""
    with os.scandir(home) as entries:
        found = [entry.name for entry in entries if entry.is_dir() and entry.name[0] != "."]
    return found == [UNLABELLED]


class _Lists:
    """Collects the images of one folder, split by split."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.known = Image.registered_extensions()
        self.passed_over: list[Path] = []

    def by_folder(self, home: Path) -> dict[str, list[Path]]:
        """The images of each folder of `home`, by the folder's name."""
        found = {}
        for entry in self._entries(home):
            if entry.is_dir():
                above = (self.root.resolve(), home.resolve(), entry.resolve())
                found[entry.name] = list(self._images(entry, above))
                if not found[entry.name]:
                    place = entry.relative_to(self.root)
                    raise ValueError(f"image folder {self.root}: {place} has no images")
            else:
                self.passed_over.append(entry)
        return found

    def by_annotations(self) -> dict[str, list[Path]]:
        """The images that ANNOTATIONS names, by their class."""
        found: dict[str, list[Path]] = {}
        seen: set[Path] = set()
        home = self.root / "val" / UNLABELLED
        _stay_inside(self.root, home)
        text = (self.root / ANNOTATIONS).read_text(errors="surrogateescape")
        for number, line in enumerate(text.splitlines(), 1):
            name, _, rest = line.partition("\t")
            label = rest.partition("\t")[0].strip()
            path = home / name
            if not label or os.sep in name or not path.is_file():
                raise ValueError(
                    f"image folder {self.root}: line {number} of {ANNOTATIONS} must be an image of"
                    f" val/images, a tab and its class, got {line[:60]!r}"
                )
            if path in seen:
                raise ValueError(
                    f"image folder {self.root}: line {number} of {ANNOTATIONS} names {name} again"
                )
            seen.add(path)
            found.setdefault(label, []).append(path)
        self.passed_over += [entry for entry in self._entries(home) if entry not in seen]
        return {label: sorted(paths) for label, paths in found.items()}

    def _images(self, folder: Path, inside: tuple[Path, ...]) -> Iterator[Path]:
        """Every image in `folder` and the folders in it; `inside`: those that it lies in."""
        for entry in self._entries(folder):
            if entry.is_dir():
                # A link to a folder above would lead in circles.
                if (target := entry.resolve()) not in inside:
                    yield from self._images(entry, (*inside, target))
            elif entry.suffix.lower() in self.known:
                yield entry
            else:
                self.passed_over.append(entry)

    def _entries(self, folder: Path) -> list[Path]:
        """What is in `folder`, sorted, but for names that begin with a dot."""
        found = []
        with os.scandir(folder) as entries:
            for entry in entries:
                if not entry.name.startswith("."):
                    entry.is_dir()  # raises where a link leads in circles
                    if entry.is_symlink():
                        _stay_inside(self.root, folder / entry.name)
                    found.append(folder / entry.name)
        return sorted(found)


def _stay_inside(root: Path, link: Path) -> None:
    if not link.resolve().is_relative_to(root.resolve()):
        raise ValueError(f"image folder {root}: {link.relative_to(root)} links outside of it")
