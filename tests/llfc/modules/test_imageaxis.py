"""Where the images are is measured: sizes that coincide, folded dimensions, batches of any size."""

import pytest
import torch

from llfc.modules.imageaxis import ImageAxis, Trio, image_axis

# From features of images, tokens and units [N, T, D] to how a network may lay them out.
LAYOUTS = {
    "batch first": (lambda x: x, ImageAxis(0)),
    "sequence first": (lambda x: x.transpose(0, 1), ImageAxis(1)),
    "last": (lambda x: x.movedim(0, 2), ImageAxis(2)),
    "one number": (lambda x: x.sum((1, 2)), ImageAxis(0)),
    "image-major": (lambda x: x.flatten(0, 1), ImageAxis(0, after=4)),
    "image-minor": (lambda x: x.transpose(0, 1).flatten(0, 1), ImageAxis(0, before=4)),
    "in between": (
        lambda x: x.unflatten(1, (2, 2)).transpose(0, 1).flatten(0, 2),
        ImageAxis(0, before=2, after=2),
    ),
    "folded behind": (lambda x: x.movedim(2, 0).flatten(1), ImageAxis(1, after=4)),
    "complex": (lambda x: torch.complex(x, x.roll(1)).transpose(0, 1), ImageAxis(1)),
}
every_layout = pytest.mark.parametrize("name", LAYOUTS)


def features(count, units, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 4, units, generator=generator)


def found(layout, images):
    trio = Trio.of(images)
    return image_axis(layout(trio.batch), layout(trio.swapped), layout(trio.twice).shape)


@every_layout
@pytest.mark.parametrize("units", [2, 3, 4, 8])
@pytest.mark.parametrize("example", [1, 2, 5])
def test_every_layout_is_found_and_gives_each_image_its_row(name, units, example):
    layout, axis = LAYOUTS[name]
    assert found(layout, features(example, units)) == axis
    for count in (1, 2, 4, 7):
        x = features(count, units, seed=1)
        rows = axis.rows(layout(x), count)
        assert rows.shape[0] == count
        for image in range(count):
            alone = axis.rows(layout(x[image : image + 1]), 1)
            if name == "complex":  # rolled over the whole batch
                continue
            assert torch.equal(rows[image], alone[0])


def test_images_that_are_equal_are_told_apart_from_others():
    x = features(1, 3).expand(3, -1, -1).clone()
    assert found(LAYOUTS["image-minor"][0], x) == ImageAxis(0, before=4)
    x[2] += 1
    assert torch.equal(Trio.of(x).batch, x[[0, 2]])


REFUSED = {
    "no dimension": (lambda x: x.sum(0), "has no dimension in [4, 3] that grows with the number"),
    "one number": (lambda x: x.sum(), "has no dimension in [] that grows with the number"),
    "each with each": (
        lambda x: x.flatten(1) @ x.flatten(1).T,
        "has more than one dimension in [2, 2], or not a whole one, to hold the images",
    ),
    "one more": (
        lambda x: torch.cat([x.flatten(0, 1), x[0, :1]]),
        "has more than one dimension in [9, 3], or not a whole one, to hold the images",
    ),
    "sorted": (
        lambda x: x.sort(0).values,
        "does not move with the images in any dimension of [2, 4, 3]",
    ),
    "constant": (
        lambda x: torch.zeros_like(x).flatten(0, 1),
        "is the same for all images, which are somewhere in [8, 3]",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_holds_no_images_says_why(name):
    layout, reason = REFUSED[name]
    said = found(layout, features(2, 3))
    assert isinstance(said, str)
    assert said.startswith(reason)


def test_a_dead_feature_with_one_row_an_image_is_no_riddle():
    assert found(lambda x: torch.zeros_like(x).transpose(0, 1), features(2, 3)) == ImageAxis(1)


def test_rows_in_the_order_of_the_memory_are_no_copy():
    image = torch.arange(2 * 3 * 4 * 5.0).view(2, 3, 4, 5)
    last = image.to(memory_format=torch.channels_last)
    rows = ImageAxis().rows(last, 2, in_memory_order=True)
    assert rows.data_ptr() == last.data_ptr()
    assert torch.equal(rows.sort().values, image.flatten(1))
    assert torch.equal(ImageAxis().rows(last, 2), image.flatten(1))
    with pytest.raises(ValueError, match=r"^3 images are not in dimension 0 of \[2, 3, 4, 5\]$"):
        ImageAxis().rows(image, 3)
