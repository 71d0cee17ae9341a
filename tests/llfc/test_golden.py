"""One trial so small that it runs everywhere, its numbers in a file."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch

from llfc.connection import BATCH_SIZE, connect
from llfc.data.batches import CropFlip
from llfc.data.datasets import limited, load_dataset
from llfc.networks.spawning import load_network, train_network
from llfc.networks.store import Store
from llfc.seeds import stream
from llfc.trial import run_trial
from sweeps.grid.grid import trials_of
from sweeps.smoke import SMOKE
from tests.helpers.quick_cases import slow_unless

IMAGES = 300  # two batches of statistics
GOLDEN = Path(__file__).with_name("golden.json")
AXES = {
    "width": [1 / 32],
    "limit_train": [500],
    "epochs": [4],
    "batch_size": [10],
    "spawn_epoch": [1],
    "seed": [0],
    "matching": ["weights"],
}
(TRIAL,) = trials_of(SMOKE.replace(AXES), alphas=5, limit_test=100)


def test_the_golden_trial_still_gives_its_numbers(tmp_path, request):
    """If this fails and you did not mean to change a number, you changed one.

    If you did mean to: `pytest tests/llfc/test_golden.py --rewrite`, and say why in the commit.
    """
    dataset = load_dataset(
        TRIAL.pair.dataset, data_root=None, limit_train=500, limit_test=100, cache=tmp_path
    )
    store = Store(tmp_path)
    for network in (TRIAL.pair.a, TRIAL.pair.b):
        train_network(network, store, dataset, keep_epochs=[1])
    found = run_trial(TRIAL, store, dataset)
    numbers = {name: value for name, value in found.scalars().items() if "seconds" not in name}
    if request.config.getoption("--rewrite"):
        GOLDEN.write_text(json.dumps(numbers, indent=1, sort_keys=True) + "\n")
    # Exact on one machine; other processors add in another order, and training carries it on.
    assert numbers == pytest.approx(json.loads(GOLDEN.read_text()), rel=1e-3, abs=1e-5)


@pytest.mark.slow
def test_a_trial_may_measure_on_fewer_training_images(tmp_path):
    """As if there were no others, though the networks have seen them."""
    dataset = load_dataset("fashion-mnist-small", cache=tmp_path, limit_train=500, limit_test=100)
    few = limited(dataset, "train", 60)
    store = Store(tmp_path)
    for network in (TRIAL.pair.a, TRIAL.pair.b):
        train_network(network, store, dataset, keep_epochs=[1])
    trial = dataclasses.replace(TRIAL, matching="activations", correction="none")
    on_few = dataclasses.replace(trial, limit_measured=60)
    found, every = run_trial(on_few, store, dataset), run_trial(trial, store, dataset)
    assert found.curve["train_loss"] != pytest.approx(every.curve["train_loss"])
    alone = run_trial(trial, Store(tmp_path), few)
    assert found.curve["train_loss"] == pytest.approx(alone.curve["train_loss"])
    with pytest.raises(ValueError, match=r"limit_measured must be in \[1, 500\].*got 501"):
        run_trial(dataclasses.replace(trial, limit_measured=501), store, dataset)


@pytest.mark.parametrize("augment", slow_unless((), [False, True], [False]))
def test_statistics_are_of_batches_as_in_training(augment, tmp_path):
    """Shuffled, and each image cropped once, as it was in no epoch of training."""
    dataset = load_dataset(
        "fashion-mnist-small", cache=tmp_path, limit_train=IMAGES, limit_test=100
    )
    recipe = dataclasses.replace(TRIAL.pair.recipe, epochs=2, augment=augment)
    pair = dataclasses.replace(
        TRIAL.pair, architecture="resnet20", norm="batch", recipe=recipe, limit_train=IMAGES
    )
    trial = dataclasses.replace(TRIAL, pair=pair, matching="none", alphas=3, measures=())
    store = Store(tmp_path)
    for network in (pair.a, pair.b):
        train_network(network, store, dataset, keep_epochs=[1])
    a, b = (load_network(network, store, dataset) for network in (pair.a, pair.b))
    order = torch.randperm(IMAGES, generator=stream(pair.seed, "order/statistics"))
    crop_flip = CropFlip.draw(IMAGES, stream(pair.seed, "augment/statistics")) if augment else None

    def mid(statistics):
        batches = {split: dataset.batches(split, BATCH_SIZE) for split in ("test", "train")}
        given = {"matching": None, "alphas": 3, "measures": ()}
        found = connect(a, b, **batches, statistics=statistics, **given)
        return found.curve["test_loss"][1]

    found = run_trial(trial, store, dataset).curve["test_loss"][1]
    expected = mid(dataset.batches("train", BATCH_SIZE, order=order, crop_flip=crop_flip))
    assert found == expected != mid(None)
