"""Every architecture has a recipe for every data set, and a cost of training."""

import pytest
import torch

from llfc.data.images import Dataset
from llfc.data.rows import Rows
from llfc.networks.architectures import ARCHITECTURES
from llfc.networks.recipes import default_recipe
from llfc.networks.several import training_cost
from llfc.specs import Network

# Networks of images; those of tokens are in test_transformers.py.
IMAGES = {name: entry for name, entry in ARCHITECTURES.items() if "images" in entry.inputs}


@pytest.mark.parametrize("dataset", ["fashion-mnist-small", "mnist", "cifar10", "imagefolder:x@0"])
@pytest.mark.parametrize("name", IMAGES)
def test_every_architecture_has_a_recipe_for_every_set(name, dataset):
    recipe = default_recipe(name, dataset)
    # A grey digit or garment is told by its place and side; a perceptron sees no neighbours.
    assert recipe.augment == (name != "mlp" and dataset in ("cifar10", "imagefolder:x@0"))
    # A set of one's own is taken for CIFAR, and by a ResNet-50, whose home is larger, for that.
    own = default_recipe(name, "imagefolder:x@0")
    assert (own == default_recipe(name, "cifar10")) == (name != "resnet50")
    # A schedule of steps without steps, or one that would be ignored, is a slip.
    assert (recipe.schedule == "step") == bool(recipe.milestones)


def test_a_recipe_for_no_architecture_is_refused():
    with pytest.raises(ValueError, match=r"unknown architecture 'mpl'.*did you mean 'mlp'"):
        default_recipe("mpl", "cifar10")


def _network(name, **changes):
    recipe = default_recipe(name, "cifar10")
    fields = {"width": 1.0, "norm": "batch", "dataset": "cifar10", "limit_train": 20, "seed": 0}
    return Network(architecture=name, recipe=recipe, **fields | changes)


def _images(count, shape):
    images, labels = torch.zeros((count, *shape), dtype=torch.uint8), torch.arange(count) % 10
    return Dataset(
        name="blank",
        train_images=images,
        train_labels=labels,
        test_images=images,
        test_labels=labels,
        num_classes=10,
        mean=torch.zeros(shape[0]),
        std=torch.ones(shape[0]),
    )


def test_cost_counts_the_multiplications_left():
    data, mlp = _images(20, (1, 28, 28)), 28 * 28 * 512 + 2 * 512 * 512 + 512 * 10
    network = _network("mlp", limit_train=None)
    cost = training_cost(network, data)
    assert cost == pytest.approx(network.recipe.epochs * 20 * mlp)
    assert training_cost(_network("mlp", spawn_epoch=25), data) == pytest.approx(cost * 0.75)
    parts = {f"{split}_inputs": torch.zeros(20, 9) for split in ("train", "test")}
    parts |= {f"{split}_targets": torch.zeros(20, 1) for split in ("train", "test")}
    rows = Rows(name="blank", num_classes=1, **parts)
    per_row = 9 * 512 + 2 * 512 * 512 + 512
    assert training_cost(network, rows) == pytest.approx(network.recipe.epochs * 20 * per_row)


# Multiply-adds in the tables of torchvision's documentation, and 41 million for ResNet-20.
@pytest.mark.parametrize(
    ("name", "shape", "count"),
    [
        ("resnet18", (3, 224, 224), 1.814e9),
        ("resnet50", (3, 224, 224), 4.089e9),
        ("resnet20", (3, 32, 32), 41e6),
    ],
)
def test_multiply_adds_are_the_published_ones(name, shape, count):
    data = _images(10, shape)
    network = _network(name, limit_train=None)
    found = training_cost(network, data) / network.recipe.epochs / 10
    classes = 990 * {"resnet18": 512, "resnet50": 2048, "resnet20": 0}[name]  # theirs has 1000
    assert found + classes == pytest.approx(count, rel=0.01)


def test_sums_are_trained_otherwise_than_texts():
    sums = default_recipe("gpt", "modular-addition#modulus=7")
    assert sums == default_recipe("gpt", "modular-addition")
    assert sums.epochs > default_recipe("gpt", "king-james").epochs
