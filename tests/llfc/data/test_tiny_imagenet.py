"""Tiny-ImageNet is read as its archive has it, test labels from its annotations."""

import pytest
from PIL import Image

from llfc.data.datasets import load_dataset, resolve_dataset
from tests.helpers.picture_folders import picture_folder


def _tiny_imagenet(folder):
    """As the official archive is laid out; each image is one grey that names it."""
    words = ("n01443537", "n01629819", "n01641577")
    lines, grey = [], 0
    for word in words:
        (folder / "train" / word / "images").mkdir(parents=True)
        (folder / "train" / word / f"{word}_boxes.txt").write_text("x\t0\t0\t1\t1\n")
        for number in range(3):
            path = folder / "train" / word / "images" / f"{word}_{number}.JPEG"
            Image.new("RGB", (8, 8), (grey := grey + 7,) * 3).save(path, quality=100)
    for split in ("val", "test"):
        (folder / split / "images").mkdir(parents=True)
        for number in range(6):
            path = folder / split / "images" / f"{split}_{number}.JPEG"
            Image.new("RGB", (8, 8), (100 + 10 * number,) * 3).save(path, quality=100)
    for number in range(6):
        lines.append(f"val_{number}.JPEG\t{words[(5 * number + 1) % 3]}\t0\t0\t62\t57\n")
    (folder / "val" / "val_annotations.txt").write_text("".join(lines))
    (folder / "wnids.txt").write_text("\n".join(words))
    return folder


def test_tiny_imagenet_is_read_as_its_archive_has_it(tmp_path):
    folder = _tiny_imagenet(tmp_path / "tiny-imagenet-200")
    found = load_dataset(f"imagefolder:{folder}", cache=tmp_path / "cache")
    assert found.num_classes == 3
    greys = found.train_images[:, 0, 0, 0]
    assert sorted(zip(found.train_labels.tolist(), greys.tolist(), strict=True)) == [
        (word, 7 * (3 * word + number + 1)) for word in range(3) for number in range(3)
    ]
    greys = found.test_images[:, 0, 0, 0]
    assert sorted(zip(greys.tolist(), found.test_labels.tolist(), strict=True)) == [
        (100 + 10 * number, (5 * number + 1) % 3) for number in range(6)
    ]


def test_an_image_that_is_annotated_as_another_class_is_decoded_so(tmp_path):
    folder = _tiny_imagenet(tmp_path / "tiny")
    annotations, labels = folder / "val" / "val_annotations.txt", []
    # Image 3, the first class's last or the second one's first: the same order of images.
    words = ("n01443537", "n01629819", "n01641577")
    for classes in ((0, 0, 0, 0, 1, 2), (0, 0, 0, 1, 1, 2)):
        lines = (f"val_{n}.JPEG\t{words[c]}\t0\n" for n, c in enumerate(classes))
        annotations.write_text("".join(lines))
        found = load_dataset(f"imagefolder:{folder}", cache=tmp_path / "cache")
        labels.append(sorted(found.test_labels.tolist()))
    assert labels == [[0, 0, 0, 0, 1, 2], [0, 0, 0, 1, 1, 2]]


@pytest.mark.parametrize("line", ["val_9.JPEG\tn01443537\t0", "val_1.JPEG", "../val_1.JPEG\tn"])
def test_a_wrong_line_of_annotations_is_named(tmp_path, line):
    folder = _tiny_imagenet(tmp_path / "tiny")
    with (folder / "val" / "val_annotations.txt").open("a") as file:
        file.write(line + "\n")
    with pytest.raises(ValueError, match=r"line 7 of val/val_annotations\.txt must be an image of"):
        resolve_dataset(f"imagefolder:{folder}", tmp_path / "cache")


def test_what_became_of_the_images_is_said(tmp_path):
    folder = picture_folder(tmp_path / "pets")
    said = []
    resolve_dataset(f"imagefolder:{folder}", tmp_path / "cache", say=said.append)
    assert said == [f"image folder {folder}: 8 images of 2 classes"]
    resolve_dataset(f"imagefolder:{folder}", tmp_path / "cache", say=said.append)
    assert len(said) == 1
    Image.new("RGBA", (30, 20), (9, 99, 199, 0)).save(folder / "train" / "dog" / "big.png")
    Image.new("LA", (6, 8)).save(folder / "train" / "dog" / "clear.png")
    (folder / "train" / "loose.png").write_bytes(b"")
    resolve_dataset(f"imagefolder:{folder}", tmp_path / "cache", say=said.append)
    assert said[1:] == [
        f"image folder {folder}: 10 images of 2 classes, 2 sizes, scaled to 8 x 6 (PATH#N for N x"
        " N), transparency dropped in 2, 1 other file not used, such as train/loose.png"
    ]


def test_an_image_that_is_annotated_twice_is_named(tmp_path):
    folder = _tiny_imagenet(tmp_path / "tiny")
    with (folder / "val" / "val_annotations.txt").open("a") as file:
        file.write("val_1.JPEG\tn01443537\t0\n")
    with pytest.raises(ValueError, match=r"line 7 of val/val_annotations\.txt names val_1\.JPEG"):
        resolve_dataset(f"imagefolder:{folder}", tmp_path / "cache")


def test_images_of_val_that_no_line_names_are_not_used_and_said_so(tmp_path):
    folder, said = _tiny_imagenet(tmp_path / "tiny"), []
    annotations = folder / "val" / "val_annotations.txt"
    annotations.write_text("".join(annotations.read_text().splitlines(keepends=True)[:3]))
    found = load_dataset(
        resolve_dataset(f"imagefolder:{folder}", tmp_path / "cache", say=said.append),
        cache=tmp_path / "cache",
    )
    assert len(found.test_labels) == 3
    assert said[0].endswith("6 other files not used, such as train/n01443537/n01443537_boxes.txt")


def test_tiny_imagenet_whose_val_was_sorted_into_classes_is_the_same_set(tmp_path):
    """As scripts leave it that move val/images/* to val/<class>/images/*, annotations and all."""
    folder = _tiny_imagenet(tmp_path / "tiny")
    official = load_dataset(f"imagefolder:{folder}", cache=tmp_path / "cache")
    for line in (folder / "val" / "val_annotations.txt").read_text().splitlines():
        name, word = line.split("\t")[:2]
        place = folder / "val" / word / "images"
        place.mkdir(parents=True, exist_ok=True)
        (folder / "val" / "images" / name).rename(place / name)
    (folder / "val" / "images").rmdir()
    moved = load_dataset(f"imagefolder:{folder}", cache=tmp_path / "cache")
    assert moved.name == official.name  # which is a digest of all images and labels


def test_tiny_imagenet_without_its_annotations_is_refused(tmp_path):
    folder = _tiny_imagenet(tmp_path / "tiny")
    (folder / "val" / "val_annotations.txt").unlink()
    with pytest.raises(ValueError, match=r"val/images is no class: val/ must have one folder per"):
        resolve_dataset(f"imagefolder:{folder}", tmp_path / "cache")


def test_a_class_may_be_called_images(tmp_path):
    folder = picture_folder(tmp_path / "pets", classes=("images", "texts"))
    assert load_dataset(f"imagefolder:{folder}", cache=tmp_path / "cache").num_classes == 2
