"""Image folders: what is read, in which order, under which name, and how it is cached."""

import shutil

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from torchvision import datasets

from llfc.data.datasets import load_dataset, resolve_dataset
from tests.helpers.picture_folders import picture_folder


@pytest.mark.parametrize("test", ["test", "val"])
@pytest.mark.parametrize("colour", [False, True])
def test_a_folder_is_read_pixel_by_pixel(tmp_path, test, colour):
    folder = picture_folder(tmp_path / "pets", colour=colour, test=test)
    dataset = load_dataset(f"imagefolder:{folder}", cache=tmp_path / "cache")
    assert dataset.input_shape == (3 if colour else 1, 8, 6)
    for split, name in (("train", "train"), ("test", test)):
        images, labels = dataset.split(split)
        found = sorted(
            (label, image.tobytes())
            for label, image in zip(labels.tolist(), images.numpy(), strict=True)
        )
        expected = []
        for file in (folder / name).glob("*/*.png"):
            pixels = np.asarray(Image.open(file))
            pixels = pixels.transpose(2, 0, 1) if colour else pixels
            expected.append((["cat", "dog"].index(file.parent.name), pixels.tobytes()))
        assert found == sorted(expected)


def test_images_are_mixed_and_in_the_same_order_every_time(tmp_path):
    folder = tmp_path / "pets"
    for split in ("train", "test"):
        for label, animal in enumerate(("cat", "dog")):
            (folder / split / animal).mkdir(parents=True)
            for number in range(50):
                picture = Image.new("L", (4, 4), 100 * label + number)
                picture.save(folder / split / animal / f"{number}.png")
    first, again = (
        load_dataset(f"imagefolder:{folder}", cache=tmp_path / cache) for cache in ("a", "b")
    )
    for split in ("train", "test"):
        images, labels = first.split(split)
        assert torch.equal(images, again.split(split)[0])
        assert torch.equal(images[:, 0, 0, 0] // 100, labels)
        assert all(10 <= part.sum() <= 40 for part in labels.split(50))
        numbers = (images[:, 0, 0, 0] % 100).long()
        assert 10 <= (numbers[:50] < 25).sum() <= 40


def test_a_folder_is_named_by_its_content_wherever_it_lies(tmp_path):
    cache = tmp_path / "cache"
    folder = picture_folder(tmp_path / "pets")
    name = resolve_dataset(f"imagefolder:{folder}", cache)
    assert name.startswith("imagefolder:pets@")
    assert resolve_dataset(name, cache) == name
    moved = shutil.copytree(folder, tmp_path / "elsewhere" / "pets")
    assert resolve_dataset(f"imagefolder:{moved}", tmp_path / "other cache") == name

    shutil.copy(folder / "train" / "cat" / "0.png", folder / "train" / "cat" / "1.png")
    changed = resolve_dataset(f"imagefolder:{folder}", cache)
    assert changed != name
    (folder / "train" / "dog").rename(folder / "train" / "eel")
    (folder / "test" / "dog").rename(folder / "test" / "eel")
    assert resolve_dataset(f"imagefolder:{folder}", cache) not in (name, changed)


def test_a_resolved_name_needs_the_cache_alone(tmp_path):
    folder = picture_folder(tmp_path / "pets")
    name = resolve_dataset(f"imagefolder:{folder}", tmp_path / "cache")
    direct = load_dataset(f"imagefolder:{folder}", cache=tmp_path / "cache")
    shutil.rmtree(folder)
    cached = load_dataset(name, cache=tmp_path / "cache")
    assert direct.name == cached.name == name
    assert torch.equal(direct.train_images, cached.train_images)


def test_a_decoded_folder_is_not_decoded_again(tmp_path, monkeypatch):
    folder = picture_folder(tmp_path / "pets")
    name = resolve_dataset(f"imagefolder:{folder}", tmp_path / "cache")
    monkeypatch.setattr(Image, "open", None)
    assert resolve_dataset(f"imagefolder:{folder}", tmp_path / "cache") == name


def test_a_damaged_cache_is_decoded_again_from_the_folder_and_refused_without(tmp_path):
    folder = picture_folder(tmp_path / "pets")
    name = resolve_dataset(f"imagefolder:{folder}", tmp_path / "cache")
    (cached,) = (tmp_path / "cache").glob("*.npz")
    cached.write_bytes(cached.read_bytes()[:-40])
    with pytest.raises(ValueError, match="is damaged"):
        load_dataset(name, cache=tmp_path / "cache")
    assert load_dataset(f"imagefolder:{folder}", cache=tmp_path / "cache").name == name


def test_images_are_brought_to_the_first_size_or_the_stated_one(tmp_path):
    folder = picture_folder(tmp_path / "pets")
    Image.new("RGB", (30, 20), (9, 99, 199)).save(folder / "train" / "dog" / "big.png")
    as_first = load_dataset(f"imagefolder:{folder}", cache=tmp_path / "cache")
    assert as_first.input_shape == (3, 8, 6)  # one image with colours makes all RGB
    plain = [i for i in as_first.train_images if i.amax((1, 2)).tolist() == [9, 99, 199]]
    assert [image.amin((1, 2)).tolist() for image in plain] == [[9, 99, 199]]
    stated = load_dataset(f"imagefolder:{folder}#12", cache=tmp_path / "cache")
    assert stated.input_shape == (3, 12, 12)
    assert stated.name != as_first.name


def test_hidden_files_and_what_is_no_image_are_passed_over(tmp_path):
    folder = picture_folder(tmp_path / "pets")
    name = resolve_dataset(f"imagefolder:{folder}", tmp_path / "cache")
    (folder / "train" / "cat" / ".hidden.png").write_text("x")
    (folder / "train" / "cat" / "notes.txt").write_text("x")
    (folder / "train" / ".cache").mkdir()
    assert resolve_dataset(f"imagefolder:{folder}", tmp_path / "cache") == name


def test_images_in_folders_inside_a_class_are_its_images(tmp_path):
    """As torchvision's ImageFolder reads them."""
    folder = picture_folder(tmp_path / "pets")
    for split in ("train", "test"):
        for animal, depth in (("cat", "a"), ("dog", "a/b")):
            place = folder / split / animal / depth
            place.mkdir(parents=True)
            for path in (folder / split / animal).glob("*.png"):
                path.rename(place / path.name)
            Image.new("L", (6, 8), 77).save(folder / split / animal / "direct.png")
    found = load_dataset(f"imagefolder:{folder}", cache=tmp_path / "cache")
    for split in ("train", "test"):
        reference = datasets.ImageFolder(str(folder / split))
        expected = sorted((label, np.asarray(im.convert("L")).tobytes()) for im, label in reference)
        images, labels = found.split(split)
        pairs = zip(labels.tolist(), images[:, 0].numpy(), strict=True)
        assert sorted((label, image.tobytes()) for label, image in pairs) == expected


@pytest.mark.parametrize("orientation", range(1, 9))
def test_images_stand_as_their_exif_orientation_says(tmp_path, orientation):
    folder = picture_folder(tmp_path / "pets")
    turned = Image.fromarray(np.arange(48, dtype=np.uint8).reshape(8, 6))
    exif = Image.Exif()
    exif[0x0112] = orientation
    for path in folder.glob("*/*/*.png"):
        turned.save(path, exif=exif)
    with Image.open(path) as image:
        expected = np.asarray(ImageOps.exif_transpose(image))
    found = load_dataset(f"imagefolder:{folder}", cache=tmp_path / "cache")
    assert found.input_shape[1:] == expected.shape == ((8, 6) if orientation < 5 else (6, 8))
    assert all((image[0].numpy() == expected).all() for image in found.train_images)


def test_a_folder_whose_name_ends_like_a_size_is_that_folder(tmp_path):
    folder = picture_folder(tmp_path / "hash#12")
    found = load_dataset(f"imagefolder:{folder}", cache=tmp_path / "cache")
    assert found.input_shape == (1, 8, 6)
    sized = load_dataset(f"imagefolder:{folder}#5", cache=tmp_path / "cache")
    assert sized.input_shape == (1, 5, 5)
