"""Image folders made to do harm: loops of links, bombs, more than the memory; one line each."""

import struct
import zlib

import pytest
from PIL import Image

from llfc.data.datasets import resolve_dataset


@pytest.fixture
def folder(tmp_path):
    for split in ("train", "test"):
        for name in ("cat", "dog"):
            (tmp_path / f"pets/{split}/{name}").mkdir(parents=True)
            Image.new("L", (6, 8)).save(tmp_path / f"pets/{split}/{name}/0.png")
    return tmp_path / "pets"


def resolved(folder, size=""):
    return resolve_dataset(f"imagefolder:{folder}{size}", folder.parent / "cache")


@pytest.mark.parametrize(
    ("link", "to", "line"),
    [
        ("train/loop", "loop", "train/loop: Too many levels of symbolic links"),
        ("train/loop", ".", "class 'loop' is in one split only"),
        ("train/cat/1.png", "1.png", "train/cat/1.png: Too many levels of symbolic links"),
    ],
)
def test_a_loop_of_links_in_an_image_folder_is_one_line(folder, link, to, line):
    (folder / link).symlink_to(to)
    with pytest.raises(ValueError, match=line) as said:
        resolved(folder)
    assert "\n" not in str(said.value)


def test_a_link_to_the_folder_above_is_passed_over(folder):
    name = resolved(folder)
    (folder / "train/cat/loop").symlink_to("..")
    assert resolved(folder) == name


def png(width, height, pixels=b""):
    """A PNG that says that it is that large."""

    def chunk(kind, content):
        digest = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + digest

    about = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    compressed = zlib.compress(pixels)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        [chunk(b"IHDR", about), chunk(b"IDAT", compressed), chunk(b"IEND", b"")]
    )


@pytest.mark.parametrize("size", ["", "#8"])
def test_an_image_that_unpacks_to_gigabytes_is_one_line(folder, size):
    (folder / "train/cat/0.png").write_bytes(png(60_000, 60_000))
    with pytest.raises(
        ValueError, match=r"cat/0\.png cannot be read: .*decompression bomb"
    ) as said:
        resolved(folder, size)
    assert "\n" not in str(said.value)


def test_images_that_do_not_fit_the_memory_are_one_line(folder, monkeypatch):
    pages = {"SC_PAGE_SIZE": 1, "SC_PHYS_PAGES": 3 * 4 * 8 * 6}
    monkeypatch.setattr("llfc.data.imagefolder.os.sysconf", pages.get)
    resolved(folder)  # just so
    pages["SC_PHYS_PAGES"] -= 1
    (folder / "train/cat/0.png").touch()
    with pytest.raises(ValueError, match=r"4 images of 8 x 6 pixels need 0 GiB, more than"):
        resolved(folder)
    assert resolved(folder, "#4")
