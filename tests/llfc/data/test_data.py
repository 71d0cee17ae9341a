"""Data sets: what the batches hold, which images a limit takes, and what is refused."""

import subprocess
import sys
import urllib.request
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch

from llfc.data.assets import build as assets_build
from llfc.data.batches import CROP, CropFlip
from llfc.data.datasets import DATASETS, load_dataset, resolve_dataset
from llfc.data.images import Dataset
from llfc.seeds import stream
from tests.helpers.picture_folders import picture_folder


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return load_dataset("fashion-mnist-small", cache=tmp_path_factory.mktemp("cache"))


def made(train_labels=(0, 1, 2), num_classes=3, seed=0, channels=3):
    generator = stream(seed, "images")
    count = len(train_labels)
    images = torch.randint(0, 256, (count, channels, 6, 5), generator=generator).to(torch.uint8)
    labels = torch.tensor(train_labels)
    return Dataset(
        name="made",
        train_images=images,
        train_labels=labels,
        test_images=images.flip(0),
        test_labels=labels.flip(0),
        num_classes=num_classes,
        mean=torch.full((channels,), 0.4),
        std=torch.full((channels,), 0.3),
    )


def test_embedded_set_is_balanced_and_whole(small):
    assert small.input_shape == (1, 28, 28)
    assert small.train_labels.bincount().tolist() == [500] * 10
    assert small.test_labels.bincount().tolist() == [100] * 10
    assert small.train_images.dtype == small.test_images.dtype == torch.uint8
    together = torch.cat([small.train_images, small.test_images]).flatten(1)
    assert len(together.unique(dim=0)) == len(together)  # no image twice, none in both splits
    assert small.train_images.float().mean((0, 2, 3)) / 255 == pytest.approx(small.mean, abs=1e-6)


def test_embedded_set_is_what_its_script_builds(tmp_path):
    full = Path("/usr/share/datasets/fashion-mnist")
    if not full.is_dir():
        pytest.skip("the full Fashion-MNIST is not on this machine")
    assets_build.build(full, tmp_path / "again.npz")
    with np.load(tmp_path / "again.npz") as again, np.load(assets_build.TARGET) as kept:
        assert sorted(again.files) == sorted(kept.files)
        for key in kept.files:
            assert np.array_equal(again[key], kept[key])


def test_embedded_classes_can_be_told_apart(small):
    """The nearest class mean is right far above chance, so labels belong to their images."""
    images, labels = small.train_images.flatten(1).double(), small.train_labels
    means = torch.stack([images[labels == label].mean(0) for label in range(10)])
    nearest = torch.cdist(small.test_images.flatten(1).double(), means).argmin(1)
    assert (nearest == small.test_labels).double().mean() > 0.6


def test_normalised_training_images_have_mean_0_and_std_1(small):
    images = small.normalised(small.train_images)
    assert images.dtype == torch.float32
    assert images.mean((0, 2, 3)) == pytest.approx(torch.zeros(1), abs=1e-4)
    assert images.std((0, 2, 3), correction=0) == pytest.approx(torch.ones(1), abs=1e-4)


def test_channel_moments_are_those_of_each_channel(tmp_path):
    folder = picture_folder(tmp_path / "set", colour=True)
    dataset = load_dataset(f"imagefolder:{folder}", cache=tmp_path / "cache")
    values = dataset.train_images.double() / 255
    assert dataset.mean.double() == pytest.approx(values.mean((0, 2, 3)), abs=1e-6)
    assert dataset.std.double() == pytest.approx(values.std((0, 2, 3), correction=0), abs=1e-6)


@pytest.mark.parametrize("batch_size", [1, 2, 3, 7, 100])
def test_batches_hold_every_image_once_in_order(batch_size):
    dataset = made((0, 1, 2, 0, 1, 2, 0))
    for split in ("train", "test"):
        images, labels = dataset.split(split)
        batches = dataset.batches(split, batch_size)
        found = list(batches)
        assert len(found) == len(batches)
        assert torch.equal(torch.cat([x for x, _ in found]), dataset.normalised(images))
        assert torch.equal(torch.cat([y for _, y in found]), labels)
        again = torch.cat([x for x, _ in batches])
        assert torch.equal(again, dataset.normalised(images))


def test_batches_follow_the_order_given():
    dataset = made((0, 1, 2, 0, 1))
    order = torch.tensor([4, 0, 3])
    (first, labels), (last, _) = dataset.batches("train", 2, order=order)
    assert labels.tolist() == [1, 0]
    assert torch.equal(torch.cat([first, last]), dataset.normalised(dataset.train_images[order]))


@pytest.mark.parametrize("channels", [1, 3])
def test_jitter_is_a_padded_crop_and_a_flip(channels):
    images = made((0,) * 40, channels=channels).train_images
    crop_flip = CropFlip.draw(40, stream(3, "augment"))
    out = crop_flip.apply(images)
    for i, image in enumerate(images):
        padded = np.pad(image.numpy(), ((0, 0), (CROP, CROP), (CROP, CROP)))
        row, column = crop_flip.offsets[i].tolist()
        crop = padded[:, row : row + 6, column : column + 5]
        assert np.array_equal(out[i], crop[:, :, ::-1] if crop_flip.flips[i] else crop)
    assert {0, 2 * CROP} <= set(crop_flip.offsets.flatten().tolist())
    assert 0 < crop_flip.flips.sum() < 40


def test_jitter_goes_with_the_place_in_the_order():
    dataset = made((0, 1, 2, 0, 1))
    crop_flip = CropFlip.draw(5, stream(0, "augment"))
    order = torch.tensor([3, 1, 4, 0, 2])
    whole = crop_flip.apply(dataset.train_images[order])
    found = torch.cat([x for x, _ in dataset.batches("train", 2, order=order, crop_flip=crop_flip)])
    assert torch.equal(found, dataset.normalised(whole))


def test_limits_are_balanced_nested_and_the_same_every_time(small, tmp_path):
    def limited(limit):
        return load_dataset(
            "fashion-mnist-small", cache=tmp_path, limit_train=limit, limit_test=limit // 10
        )

    previous: set[bytes] = set()
    for limit in (10, 37, 200, 1003, 5000):
        dataset = limited(limit)
        assert len(dataset.train_labels) == limit
        assert len(dataset.test_labels) == limit // 10
        counts = dataset.train_labels.bincount(minlength=10)
        assert counts.max() - counts.min() <= 1
        images = {image.numpy().tobytes() for image in dataset.train_images}
        assert previous <= images
        previous = images
        assert torch.equal(dataset.mean, small.mean)  # one scale for all limits
    assert torch.equal(limited(37).train_images, limited(37).train_images)
    assert torch.equal(limited(5000).train_images, small.train_images)


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"limit_train": 5001}, "limit_train must be in [1, 5000], the size of"),
        ({"limit_train": 0}, "limit_train must be in [1, 5000], the size of"),
        ({"limit_test": -3}, "limit_test must be in [1, 1000], the size of"),
    ],
)
def test_a_limit_out_of_range_is_refused(given, line, tmp_path):
    with pytest.raises(ValueError, match=r".*") as caught:
        load_dataset("fashion-mnist-small", cache=tmp_path, **given)
    assert line in str(caught.value)


def test_an_unknown_name_is_refused(tmp_path):
    for function in (load_dataset, resolve_dataset):
        with pytest.raises(ValueError, match=r"unknown dataset 'cifar'.*did you mean 'cifar10'"):
            function("cifar", cache=tmp_path)


@pytest.mark.parametrize("labels", [(0, 1, 3), (-1, 0, 1)])
def test_labels_out_of_range_are_refused(labels):
    with pytest.raises(ValueError, match=r"labels must be in \[0, 3\), got (3|-1)"):
        made(labels)


@pytest.mark.parametrize("name", sorted(DATASETS.keys() - {"fashion-mnist-small"}))
def test_an_absent_set_is_one_line_that_names_the_folder(name, tmp_path, monkeypatch):
    def offline(*args, **kwargs):
        raise URLError("no route to host")

    monkeypatch.setattr(urllib.request, "urlopen", offline)
    monkeypatch.setenv("LLFC_DATA", str(tmp_path / "root"))
    with pytest.raises(
        ValueError, match=r"is missing or damaged in .*root, .*no route to host"
    ) as caught:
        load_dataset(name, cache=tmp_path)
    assert "\n" not in str(caught.value)


def test_a_set_put_there_by_hand_is_read(tmp_path):
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    images = np.arange(3 * 28 * 28).astype(np.uint8).reshape(3, 28, 28)
    for prefix in ("train", "t10k"):
        head = bytes([0, 0, 8, 3]) + np.array([3, 28, 28], ">i4").tobytes()
        (raw / f"{prefix}-images-idx3-ubyte").write_bytes(head + images.tobytes())
        head = bytes([0, 0, 8, 1]) + np.array([3], ">i4").tobytes()
        (raw / f"{prefix}-labels-idx1-ubyte").write_bytes(head + bytes([7, 1, 9]))
    dataset = load_dataset("mnist", cache=tmp_path, data_root=tmp_path)
    assert np.array_equal(dataset.train_images[:, 0], images)
    assert dataset.test_labels.tolist() == [7, 1, 9]


def test_a_damaged_file_put_there_by_hand_is_one_line(tmp_path):
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        (raw / f"{name}-ubyte").write_bytes(b"\0\0\x08\x03 cut")
    with pytest.raises(ValueError, match=r"MNIST is missing or damaged in .*") as caught:
        load_dataset("mnist", cache=tmp_path, data_root=tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_torchvision_is_loaded_for_its_own_sets_only(tmp_path):
    code = (
        "import sys; from pathlib import Path; from llfc.data.datasets import load_dataset;"
        f"load_dataset('fashion-mnist-small', cache=Path({str(tmp_path)!r}));"
        "raise SystemExit('torchvision' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
