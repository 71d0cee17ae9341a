"""Recipes, images and networks so small that they train at once."""

import dataclasses

import torch

from llfc.data.images import Dataset
from llfc.networks.architectures import build_network
from llfc.networks.training import train
from llfc.seeds import stream
from llfc.specs import Network, Recipe

ADAM = Recipe(epochs=4, batch_size=8, optimizer="adam", lr=3e-3, weight_decay=1e-2)
SGD = Recipe(
    epochs=4,
    batch_size=8,
    optimizer="sgd",
    lr=0.05,
    weight_decay=1e-3,
    schedule="cosine",
    warmup=0.2,
    augment=True,
)
STEP = dataclasses.replace(SGD, schedule="step", milestones=(0.5, 0.75), warmup=0.0)


def images(count=30, shape=(1, 8, 8), classes=3):
    generator = stream(0, "images")
    labels = torch.arange(count) % classes
    pixels = torch.randint(0, 256, (count, *shape), generator=generator)
    pixels[:, :, 2:5, 2:5] = (80 * labels).view(-1, 1, 1, 1)  # so that there is something to learn
    return Dataset(
        name="made",
        train_images=pixels.to(torch.uint8),
        train_labels=labels,
        test_images=pixels[:9].to(torch.uint8),
        test_labels=labels[:9],
        num_classes=classes,
        mean=torch.full(shape[:1], 0.5),
        std=torch.full(shape[:1], 0.29),
    )


DATA = images()


def network(architecture="mlp", recipe=ADAM, **fields):
    return Network(
        **{
            "architecture": architecture,
            "width": 1 / 32,
            "norm": "batch" if architecture != "mlp" else "none",
            "dataset": "made",
            "limit_train": None,
            "seed": 0,
            "recipe": recipe,
        }
        | fields
    )


def model_of(architecture="mlp", norm=None, width=1 / 32, seed=0):
    return build_network(
        architecture,
        width=width,
        norm=norm,
        input_shape=DATA.input_shape,
        num_classes=3,
        generator=stream(seed, "init"),
    )


def run(model, recipe, start, until, *, branch="0", seed=0, dataset=DATA, **others):
    return train(
        model,
        dataset,
        recipe,
        start=start,
        until_epoch=until,
        seed=seed,
        branch=branch,
        **others,
    )


def same(first, second):
    return first.keys() == second.keys() and all(
        torch.equal(first[key], second[key]) for key in first
    )
