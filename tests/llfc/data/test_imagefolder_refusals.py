"""A bad image folder or cache is refused in one line, and nothing is left behind."""

import shutil

import numpy as np
import pytest
from PIL import Image

from llfc.data.datasets import load_dataset, resolve_dataset
from tests.helpers.picture_folders import picture_folder


def _one_class(folder):
    for split in ("train", "test"):
        shutil.rmtree(folder / split / "dog")


def _no_folder(folder):
    shutil.rmtree(folder)


def _no_test(folder):
    shutil.rmtree(folder / "test")


def _no_classes(folder):
    for split in ("train", "test"):
        shutil.rmtree(folder / split)
        (folder / split).mkdir()


def _odd_class(folder):
    (folder / "test" / "dog").rename(folder / "test" / "dgo")


def _empty_class(folder):
    for path in (folder / "train" / "cat").iterdir():
        path.unlink()


def _not_an_image(folder):
    (folder / "train" / "cat" / "0.png").write_text("nothing of the kind")


def _cut_short(folder):
    path = folder / "test" / "dog" / "1.png"
    path.write_bytes(path.read_bytes()[:60])


def _deep(folder):
    Image.fromarray(np.zeros((8, 6), np.uint16)).save(folder / "train" / "cat" / "0.png")


def _link_out(folder):
    outside = folder.parent / "outside.png"
    Image.new("L", (6, 8)).save(outside)
    (folder / "train" / "cat" / "link.png").symlink_to(outside)


def _split_link_out(folder):
    (folder / "test").rename(folder.parent / "outside")
    (folder / "test").symlink_to(folder.parent / "outside")


def _annotated_link_out(folder):
    (folder / "test").rename(folder.parent / "images")
    (folder / "val").mkdir()
    (folder / "val" / "images").symlink_to(folder.parent / "images")
    (folder / "val" / "val_annotations.txt").write_text("0.png\tcat\n")


def _dangling(folder):
    (folder / "train" / "cat" / "link.png").symlink_to(folder / "train" / "gone.png")


@pytest.mark.parametrize(
    ("harm", "line"),
    [
        (_no_folder, "pets does not exist or is not a folder"),
        (_no_test, "must contain a folder test/ or val/"),
        (_no_classes, "train/ has no class folders"),
        (_one_class, "must have at least 2 classes, has only 'cat'"),
        (_odd_class, "class 'dgo' is in one split only"),
        (_empty_class, "train/cat has no images"),
        (_not_an_image, "train/cat/0.png cannot be read: cannot identify image file"),
        (_cut_short, "test/dog/1.png cannot be read: "),
        (_deep, "train/cat/0.png cannot be read: must have 8 bits per channel, has mode I"),
        (_link_out, "train/cat/link.png links outside of it"),
        (_split_link_out, "test links outside of it"),
        (_annotated_link_out, "val/images links outside of it"),
        (_dangling, "train/cat/link.png: No such file"),
    ],
)
def test_a_bad_folder_is_one_line_and_leaves_nothing(tmp_path, harm, line):
    folder = picture_folder(tmp_path / "pets")
    harm(folder)
    with pytest.raises(ValueError, match=r".*") as caught:
        resolve_dataset(f"imagefolder:{folder}", tmp_path / "cache")
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.glob("cache/*"))


def test_a_cache_that_cannot_be_written_is_one_line(tmp_path):
    folder = picture_folder(tmp_path / "pets")
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"file.*(Not a directory|File exists)"):
        resolve_dataset(f"imagefolder:{folder}", tmp_path / "file")


def test_a_folder_without_a_name_is_not_the_current_one(tmp_path):
    with pytest.raises(ValueError, match=r"^dataset must be imagefolder:PATH, got no path"):
        resolve_dataset("imagefolder:", tmp_path)


def test_an_unknown_resolved_name_is_one_line(tmp_path):
    with pytest.raises(ValueError, match=r"pets@01234567 does not exist"):
        load_dataset("imagefolder:pets@01234567", cache=tmp_path)
