"""Image folders: what is read, what they are called and kept as, and what a bad one is called."""

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
        " N), transparency dropped in 2, 1 other files not used, such as train/loose.png"
    ]


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
