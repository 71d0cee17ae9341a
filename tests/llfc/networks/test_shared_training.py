"""Pairs that share a part of their data, through the training loop: who sees what, and when."""

import dataclasses
import math

import pytest
import torch

from llfc.networks import training
from llfc.networks.several import train_networks, training_cost
from llfc.networks.spawning import load_network, train_network
from llfc.networks.store import Store
from llfc.specs import Pair, Trial, fingerprint
from llfc.trial import check_trial, run_trial
from tests.helpers.trainable_networks import ADAM, images, same

COUNT = 30
DATA = images(COUNT)
DATA.train_images[:, 0, 0, 0] = torch.arange(COUNT)  # by which each is known again
EPOCHS, HALF = ADAM.epochs, COUNT // 2


def pair(share, **others):
    return Pair(
        architecture="mlp",
        width=1 / 32,
        norm="none",
        dataset="made",
        limit_train=None,
        seed=0,
        recipe=ADAM,
        shared_data=share,
        **{"spawn_epoch": None} | others,
    )


@pytest.fixture
def seen(monkeypatch):
    """The inputs of every training step, by their indices."""
    batches = []
    take = training.Step.__call__

    def watched(self, inputs, labels, rate):
        pixel = inputs[:, 0, 0, 0].double() * float(DATA.std[0]) + float(DATA.mean[0])
        batches.append((255 * pixel).round().int().tolist())
        return take(self, inputs, labels, rate)

    monkeypatch.setattr(training.Step, "__call__", watched)
    return batches


def trained_on(network, store, seen):
    """The inputs that training `network` takes, epoch by epoch, each a sorted list."""
    seen.clear()
    train_network(network, store, DATA)
    flat = [index for batch in seen for index in batch]
    return [sorted(flat[start : start + HALF]) for start in range(0, len(flat), HALF)]


@pytest.mark.parametrize("share", [1.0, 0.4, 0.0])
def test_each_network_is_trained_on_what_is_said_and_nothing_else(tmp_path, seen, share):
    of, store = pair(share), Store(tmp_path)
    for network in (of.a, of.b):
        places = DATA.places(network).tolist()
        assert trained_on(network, store, seen) == [places] * EPOCHS
        assert len(seen) == EPOCHS * math.ceil(HALF / ADAM.batch_size)
    a, b = (set(DATA.places(network).tolist()) for network in (of.a, of.b))
    assert len(a & b) == round(share * HALF)
    assert trained_on(pair(0.2).a, store, seen) == []  # A is the same for every share


@pytest.mark.parametrize(
    "fork", [{"spawn_epoch": 0}, {"spawn_epoch": 2}, {"spawn_step": 3}], ids=str
)
def test_a_fork_leaves_as_halves_for_its_own_data(tmp_path, seen, fork):
    of, store = pair(0.4, **{"spawn_epoch": None} | fork), Store(tmp_path)
    a, b = (DATA.places(network).tolist() for network in (of.a, of.b))
    assert trained_on(of.b, store, seen)  # its trunk with it
    inputs = [index for batch in seen for index in batch]
    begun = fork.get("spawn_epoch", 1) * HALF
    assert set(inputs[:begun]) <= set(a)
    if "spawn_step" in fork:  # of the epoch's two steps the trunk's first, the branch's second
        assert set(inputs[begun : begun + ADAM.batch_size]) <= set(a)
        assert set(inputs[begun + ADAM.batch_size : begun + HALF]) <= set(b)
        begun += HALF
    assert sorted(inputs[begun:]) == sorted(b * ((len(inputs) - begun) // HALF))
    assert len(inputs) == EPOCHS * HALF
    # The trunk is that of every share, and with the whole of A's half B is a branch as any other.
    states = store.names("states")
    trained_on(pair(0.0, **{"spawn_epoch": None} | fork).b, store, seen)
    assert store.names("states") == states


def test_shared_wholly_it_is_the_pair_of_half_the_data(tmp_path):
    """To the bit what it would be if the data set were that half."""
    store, alone = Store(tmp_path / "a"), Store(tmp_path / "b")
    of, plain = pair(1.0), pair(None)
    half = DATA.seen_by(of.a)
    for network, usual in ((of.a, plain.a), (of.b, plain.b)):
        train_network(network, store, DATA)
        train_network(usual, alone, half)
        assert same(store.load_weights(network), alone.load_weights(usual))
    assert fingerprint(of.a) != fingerprint(plain.a)


def test_branches_of_other_shares_do_not_go_on_from_each_others_states(tmp_path):
    """What is kept of a training that was killed is its own."""
    store = Store(tmp_path)
    branches = [pair(share, spawn_epoch=1).b for share in (0.0, 0.6)]

    def killed(epoch, loss):
        if epoch == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_network(branches[0], store, DATA, on_epoch=killed, checkpoint_seconds=0)
    assert store.names("running")
    train_network(branches[1], store, DATA)
    undisturbed = Store(tmp_path / "other")
    train_network(branches[1], undisturbed, DATA)
    assert same(store.load_weights(branches[1]), undisturbed.load_weights(branches[1]))


def test_training_quantities_are_of_what_either_was_trained_on(tmp_path):
    trial = Trial(pair=pair(0.4), alphas=3, measures=())
    store = Store(tmp_path)
    train_networks([trial.pair.a, trial.pair.b], store, DATA)
    found = run_trial(trial, store, DATA)
    inputs, labels = DATA.seen_by(trial.pair.a, trial.pair.b).split("train")
    assert len(labels) == HALF + round(0.6 * HALF)
    model = load_network(trial.pair.b, store, DATA).double()
    with torch.no_grad():
        logits = model(DATA.normalised(inputs).double())
    loss = torch.nn.functional.cross_entropy(logits, labels)
    assert found.curve["train_loss"][-1] == pytest.approx(float(loss), rel=1e-5)
    assert training_cost(trial.pair.a, DATA) == pytest.approx(training_cost(pair(None).a, DATA) / 2)


def test_a_batch_of_one_image_and_a_limit_beyond_the_data_are_said_before_training():
    normed = dataclasses.replace(
        pair(0.5), norm="batch", recipe=dataclasses.replace(ADAM, batch_size=7)
    )
    with pytest.raises(
        ValueError, match=r"must not leave a last batch of one image, .* for 15 images"
    ):
        check_trial(Trial(pair=normed), DATA)
    with pytest.raises(ValueError, match=r"limit_measured must be in \[1, 15\]"):
        check_trial(Trial(pair=pair(1.0), limit_measured=16), DATA)
    check_trial(Trial(pair=pair(0.0), limit_measured=30), DATA)
