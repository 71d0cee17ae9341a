"""What the two networks of a pair with `shared_data` see: laws of the division."""

import dataclasses

import pytest
import torch

from llfc.data.splits import BLOCKS
from llfc.data.text import windows
from llfc.data.tokens import modular_addition
from llfc.specs import Pair
from tests.helpers.trainable_networks import ADAM, images

SHARES = (1.0, 0.9, 0.5, 1 / 3, 0.0)
IMAGES = images(103, classes=5)  # of no class equally many, and an odd number
# Half, a quarter and the rest of them.
UNEVEN = dataclasses.replace(
    IMAGES, train_labels=torch.tensor([0] * 51 + [1] * 25 + [2] * 18 + [3] * 8 + [4])
)
TEXT = windows("text", bytes(range(32, 122)) * 45, context=8)
DATA = {"images": IMAGES, "uneven": UNEVEN, "text": TEXT, "sums": modular_addition(modulus=11)}


def pair(share, seed=0, **others):
    return Pair(
        architecture="mlp",
        width=1,
        norm="none",
        dataset="made",
        limit_train=None,
        seed=seed,
        recipe=ADAM,
        shared_data=share,
        **{"spawn_epoch": None} | others,
    )


def sets(data, of):
    return tuple(set(data.places(net).tolist()) for net in (of.a, of.b))


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("name", DATA)
def test_a_share_counts_exactly_and_each_sees_half(name, share):
    data, of = DATA[name], pair(share)
    a, b = sets(data, of)
    half = data.count("train") // 2
    assert len(a) == len(b) == data.inputs_of(of.a) == data.inputs_of(of.b) == half
    assert len(a & b) == round(share * half)
    seen = data.seen_by(of.a, of.b)
    taken = torch.tensor(sorted(a | b))
    for found, whole in zip(seen.split("train"), data.split("train"), strict=True):
        assert torch.equal(found, whole[taken])
    assert torch.equal(seen.split("test")[0], data.split("test")[0])


@pytest.mark.parametrize("name", DATA)
def test_a_is_one_network_for_every_share_and_seeds_divide_differently(name):
    pairs = [pair(share) for share in SHARES]
    assert len({of.a for of in pairs}) == 1
    assert sets(DATA[name], pair(0.5)) == sets(DATA[name], pair(0.5, spawn_epoch=1))
    assert sets(DATA[name], pair(0.5))[0] != sets(DATA[name], pair(0.5, seed=1))[0]
    assert DATA[name].seen_by(pair(None).a) is DATA[name]


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("data", [IMAGES, UNEVEN], ids=["even", "uneven"])
def test_every_part_has_its_share_of_each_class(data, share):
    """The first half of the order to within one image, any other part of it to within two."""
    a, b = sets(data, pair(share))
    whole = torch.bincount(data.train_labels, minlength=5).double()
    for part in (a, b, a & b, a - b):
        counts = torch.bincount(data.train_labels[sorted(part)], minlength=5)
        off = (counts - whole * len(part) / len(data.train_labels)).abs().max()
        assert off <= (1 if part == a else 2)


def test_a_text_is_divided_in_blocks():
    """Windows next to each other are apart at the ends of blocks alone."""
    a, b = sets(TEXT, pair(0.0))
    count = TEXT.count("train")
    assert count > 10 * BLOCKS
    borders = sum((i in a) != (i + 1 in a) for i in range(count - 1))
    assert 1 < borders <= BLOCKS
    assert len(a | b) == count // 2 * 2


@pytest.mark.parametrize("shared", [0, 1, 2])
def test_classes_are_shared_as_a_whole_and_each_counts_as_the_smallest(shared):
    data = dataclasses.replace(images(60, classes=5), train_labels=torch.arange(60) % 5)
    data = dataclasses.replace(data, train_labels=data.train_labels.clone().index_fill_(
        0, torch.tensor([4, 9]), 0  # two fewer of class 4
    ))  # fmt: skip
    of = pair(shared / 2, split_by="classes")
    labels = [data.train_labels[data.places(net)] for net in (of.a, of.b)]
    a, b = (set(each.tolist()) for each in labels)
    assert (len(a), len(b), len(a & b)) == (2, 2, shared)
    assert [torch.bincount(each)[each.unique()].tolist() for each in labels] == [[10, 10]] * 2
    same = data.places(of.a)[torch.isin(labels[0], torch.tensor(sorted(a & b)))]
    assert set(same.tolist()) == set.intersection(*sets(data, of))


@pytest.mark.parametrize(
    ("data", "share", "by", "message"),
    [
        (IMAGES, 0.25, "classes", "shared_data must be a multiple of 1/2, as 2 are half of the"),
        (
            images(6, classes=1),
            0,
            "classes",
            "split_by classes needs two classes, and made has one",
        ),
        (images(3, classes=4), 0, "classes", "needs training images of every class, and made has"),
        (TEXT, 0, "classes", "split_by must be samples for tokens, got classes for text"),
        (images(1), 0.5, "samples", "shared_data needs two training inputs, and made has one"),
    ],
)
def test_what_cannot_be_divided_is_one_line(data, share, by, message):
    with pytest.raises(ValueError, match=message):
        data.seen_by(pair(share, split_by=by).b)


@pytest.mark.parametrize("share", [-0.1, 1.5, float("nan")])
def test_a_share_is_in_0_and_1(share):
    with pytest.raises(ValueError, match=r"shared_data must be in \[0, 1\] or None, got"):
        pair(share)
