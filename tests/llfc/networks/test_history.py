"""A training's history: what it says is what is, and a kill leaves no gap and no double."""

import dataclasses
import math

import pytest
import torch
from torch.nn import functional as F

from llfc.networks import history
from llfc.networks.history import HISTORIES, epochs_of, read_history, training_table
from llfc.networks.spawning import load_network, train_network
from llfc.networks.store import NETWORKS, Store
from llfc.specs import fingerprint
from tests.helpers.trainable_networks import ADAM, DATA, SGD, network


def of(store, net):
    return epochs_of(read_history(store, fingerprint(net)))


@pytest.fixture
def always(monkeypatch):
    """A network is judged after every epoch, and everything is written at once."""
    monkeypatch.setattr(history, "SHARE", 100.0)
    monkeypatch.setattr(history, "WRITTEN", 0.0)


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("recipe", [ADAM, SGD], ids=["adam", "sgd"])
def test_it_says_what_is(tmp_path, recipe):
    store, net, told = Store(tmp_path), network("resnet20", recipe), []
    train_network(net, store, DATA, on_epoch=lambda *epoch: told.append(epoch))
    epochs = of(store, net)
    assert [(one.epoch, one.loss) for one in epochs] == told
    model = load_network(net, store, DATA)
    for split in ("train", "test"):
        images, labels = DATA.split(split)
        mean, std = DATA.mean.view(-1, 1, 1), DATA.std.view(-1, 1, 1)
        with torch.no_grad():
            logits = model((images / 255 - mean) / std)
        assert getattr(epochs[-1], f"{split}_loss") == pytest.approx(
            float(F.cross_entropy(logits, labels)), rel=1e-4
        )
        wrong = float((logits.argmax(1) != labels).double().mean())
        assert getattr(epochs[-1], f"{split}_error") == pytest.approx(wrong)
    assert all(one.seconds > 0 and one.inputs_per_second > 0 for one in epochs)
    expected = recipe.lr if recipe is ADAM else recipe.lr * (1 + math.cos(math.pi * 0.9219)) / 2
    assert epochs[-1].lr == pytest.approx(expected, rel=1e-2)


@pytest.mark.usefixtures("always")
def test_a_branch_has_the_epochs_that_it_trained_itself(tmp_path):
    store, root = Store(tmp_path), network()
    branch = dataclasses.replace(root, spawn_epoch=2)
    train_network(branch, store, DATA)
    assert [one.epoch for one in of(store, branch)] == [3, 4]
    assert [one.epoch for one in of(store, root)] == [1, 2]
    train_network(root, store, DATA)
    table, trunk = training_table(branch, store), training_table(root, store)
    assert table["epoch"] == trunk["epoch"] == [1, 2, 3, 4]
    assert [table["loss"][n] == trunk["loss"][n] for n in range(4)] == [True, True, False, False]


@pytest.mark.usefixtures("always")
def test_a_branch_within_an_epoch_counts_the_inputs_that_it_trained_on(tmp_path):
    store, root = Store(tmp_path), network()
    branch = dataclasses.replace(root, spawn_step=11)
    train_network(branch, store, DATA)
    first, last = of(store, branch)
    assert (first.epoch, last.epoch) == (3, 4)
    # Of the third epoch's 30 images it trained on the last 6 itself.
    seconds = first.seconds, last.seconds - first.seconds
    trained = first.inputs_per_second * seconds[0], last.inputs_per_second * seconds[1]
    assert trained == pytest.approx((6, 30))
    train_network(root, store, DATA)
    table, trunk = training_table(branch, store), training_table(root, store)
    assert table["epoch"] == [1, 2, 3, 4]
    assert [table["loss"][n] == trunk["loss"][n] for n in range(4)] == [True, True, False, False]


class Killed(Exception):
    pass


@pytest.mark.usefixtures("always")
def test_what_is_trained_again_is_written_once(tmp_path):
    def die(epoch, loss):
        if epoch == 3:
            raise Killed

    store, whole, net = Store(tmp_path / "a"), Store(tmp_path / "b"), network()
    with pytest.raises(Killed):
        train_network(net, store, DATA, keep_epochs=[2], on_epoch=die)
    assert [one.epoch for one in of(store, net)] == [1, 2, 3]
    now = read_history(store, fingerprint(net))
    assert (now["now"]["epoch"], now["of"], now["steps"]) == (3, 4, 4)
    for place in (store, whole):
        train_network(net, place, DATA, keep_epochs=[2])

    def seen(place):
        return [dataclasses.replace(one, seconds=0, inputs_per_second=0) for one in of(place, net)]

    assert seen(store) == seen(whole)
    assert [one.epoch for one in seen(store)] == [1, 2, 3, 4]


def test_judging_takes_a_small_share_of_the_time(tmp_path, monkeypatch):
    store, net = Store(tmp_path), network()
    # An epoch is 90 passes; 50 inputs of either split would be 100, and half is for the ends.
    for share, judged in ((0.0, [3, 4]), (1.15, [2, 3, 4]), (2.3, [1, 2, 3, 4])):
        monkeypatch.setattr(history, "SHARE", share)
        monkeypatch.setattr(history, "MOST_JUDGED", 50)
        store.remove(NETWORKS, fingerprint(net))
        train_network(net, store, DATA)
        assert [one.epoch for one in of(store, net) if not math.isnan(one.test_error)] == judged


@pytest.mark.parametrize("text", ["", "7", "{", '{"epochs": [{"epoch": 1}]}'])
def test_what_other_code_wrote_counts_as_nothing(tmp_path, text):
    store, net = Store(tmp_path), network()
    store.put_text(HISTORIES, fingerprint(net), text)
    assert of(store, net) == []
    train_network(net, store, DATA)
    assert of(store, net)[-1].epoch == 4
