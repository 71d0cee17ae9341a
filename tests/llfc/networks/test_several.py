"""Several networks at once: each is what it is alone, and none is trained twice."""

import dataclasses

import pytest

from llfc.networks import several
from llfc.networks.several import train_networks
from llfc.networks.spawning import train_network
from llfc.networks.store import Store
from tests.helpers.trainable_networks import ADAM, DATA, SGD, network, same

ROOT = network(recipe=SGD)
BRANCHES = [dataclasses.replace(ROOT, spawn_epoch=epoch) for epoch in (1, 3)]
BRANCHES += [dataclasses.replace(ROOT, spawn_step=5)]
INDEPENDENT = dataclasses.replace(ROOT, member=1)


@pytest.mark.parametrize("at_once", [1, 3])
def test_each_is_what_it_is_alone(tmp_path, at_once):
    together, alone = Store(tmp_path / "together"), Store(tmp_path / "alone")
    train_networks([*BRANCHES, INDEPENDENT], together, DATA, at_once=at_once)
    for net in (ROOT, *BRANCHES, INDEPENDENT):
        train_network(net, alone, DATA, keep_epochs=(1, 3), keep_steps=(5,))
        assert same(together.load_weights(net), alone.load_weights(net))


def test_nothing_is_trained_twice(tmp_path, monkeypatch):
    told = []

    def count(net, *arguments, **options):
        train_network(net, *arguments, on_epoch=lambda *_: told.append(net), **options)

    monkeypatch.setattr(several, "train_network", count)
    store = Store(tmp_path)
    for _ in range(2):
        again = dataclasses.replace(ROOT, spawn_step=4)  # which is the first branch
        train_networks([*BRANCHES, *BRANCHES, again, ROOT], store, DATA, at_once=2)
    assert [told.count(net) for net in (ROOT, *BRANCHES)] == [4, 3, 1, 3]


def test_a_root_that_fails_is_said(tmp_path):
    hot = network(recipe=dataclasses.replace(SGD, lr=1e30))
    fine = network(recipe=ADAM)
    store = Store(tmp_path)
    with pytest.raises(ValueError, match="training loss must be finite"):
        train_networks([dataclasses.replace(hot, spawn_epoch=1), fine], store, DATA)
    assert store.has(fine)
    assert not store.has(hot)
