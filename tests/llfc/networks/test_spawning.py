"""Spawning: the laws of trunk, fork and branch, and what the store keeps of them."""

import dataclasses

import pytest
import torch

from llfc.networks import training
from llfc.networks.checkpoints import parts
from llfc.networks.spawning import load_network, train_network
from llfc.networks.steps import fork_step, in_epochs
from llfc.networks.store import Store
from llfc.networks.training import TrainState
from llfc.specs import Pair, fingerprint
from tests.helpers.quick_cases import slow_unless
from tests.helpers.trainable_networks import ADAM, DATA, SGD, images, model_of, network, run, same

STEPS = 4  # of an epoch: 30 images in batches of 8


def trained(net, store, **others):
    """The epochs that training `net` took, and its weights."""
    told = []
    train_network(net, store, DATA, on_epoch=lambda epoch, _: told.append(epoch), **others)
    return told, store.load_weights(net)


@pytest.mark.parametrize("recipe", [ADAM, SGD], ids=["adam", "sgd"])
@pytest.mark.parametrize("spawn_epoch", [0, 1, 3, 4])
def test_a_branch_trains_only_what_it_does_not_share(tmp_path, spawn_epoch, recipe):
    store, root = Store(tmp_path), network(recipe=recipe)
    branch = dataclasses.replace(root, spawn_epoch=spawn_epoch)
    told, end = trained(root, store, keep_epochs=[spawn_epoch])
    assert told == [1, 2, 3, 4]
    assert trained(root, store, keep_epochs=[spawn_epoch])[0] == []
    told, branched = trained(branch, store)
    assert told == list(range(spawn_epoch + 1, 5))
    assert same(branched, end) == (spawn_epoch == 4)
    assert trained(branch, store)[0] == []


@pytest.mark.parametrize("recipe", [ADAM, SGD], ids=["adam", "sgd"])
@pytest.mark.parametrize("step", [1, 6, 15])
def test_a_branch_within_an_epoch_is_the_trunk_up_to_there(tmp_path, step, recipe):
    """In the trunk's own order it is the trunk continued, to the bit; in its own it is not."""
    store, root = Store(tmp_path), network(recipe=recipe)
    branch = dataclasses.replace(root, spawn_step=step)
    _, end = trained(root, store, keep_steps=[step])
    (name,) = store.names("states")
    assert name == f"{fingerprint(root)}-step{step}"
    tensors = store.get_tensors("states", name)
    fork = TrainState(*(divmod(step, STEPS)[0], *parts(tensors)), step % STEPS, tensors["loss"])
    model = model_of()
    assert same(run(model, recipe, fork, 4).weights, end)
    own = run(model, recipe, fork, 4, branch=f"0/step{step}").weights
    assert same(trained(branch, store)[1], own)
    assert not same(own, end)


@pytest.mark.parametrize("step", [0, 1, 6, 8, 15, 16])
def test_a_branch_takes_the_steps_that_it_does_not_share(tmp_path, step, monkeypatch):
    store, root = Store(tmp_path), network()
    taken = []
    take = training.Step.__call__
    monkeypatch.setattr(
        training.Step, "__call__", lambda self, *batch: taken.append(1) or take(self, *batch)
    )
    trained(root, store, keep_steps=[step])
    assert len(taken) == 4 * STEPS  # what is kept of it costs no step
    told, _ = trained(in_epochs(dataclasses.replace(root, spawn_step=step), 30), store)
    assert len(taken) == 4 * STEPS + (4 * STEPS - step)
    assert told == list(range(step // STEPS + 1, 5))


def test_a_step_that_is_a_whole_epoch_is_that_epoch(tmp_path):
    store, root = Store(tmp_path), network()
    step = dataclasses.replace(root, spawn_step=2 * STEPS)
    epoch = dataclasses.replace(root, spawn_epoch=2)
    assert in_epochs(step, 30) == epoch
    train_network(step, store, DATA)
    assert store.has(epoch)
    assert trained(epoch, store)[0] == []
    assert same(load_network(step, store, DATA).state_dict(), store.load_weights(epoch))
    within = dataclasses.replace(root, spawn_step=2 * STEPS + 1)
    assert in_epochs(within, 30) == within
    assert [fork_step(net, 30) for net in (root, epoch, within)] == [None, 8, 9]


def test_a_step_beyond_the_last_is_one_line(tmp_path):
    late = dataclasses.replace(network(), spawn_step=17)
    line = r"spawn_step must be None or in \[0, 16\], as 4 epochs of 4 steps are trained, got 17"
    with pytest.raises(ValueError, match=line):
        train_network(late, Store(tmp_path), DATA)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("architecture", slow_unless(["mlp"], ["mlp", "resnet20"]))
def test_what_is_kept_does_not_change_what_is_trained(architecture, tmp_path):
    """Kept or replayed, from the near state or the far one, in any order: the same networks."""
    root = network(architecture, SGD)
    nets = [root, *(dataclasses.replace(root, spawn_epoch=epoch) for epoch in (1, 2))]
    nets += [dataclasses.replace(root, spawn_step=step) for step in (3, 11)]
    kept, bare = Store(tmp_path / "kept"), Store(tmp_path / "bare")
    ends = [trained(net, kept, keep_epochs=[1, 2], keep_steps=[3, 11])[1] for net in nets]
    assert trained(nets[2], bare)[0] == [1, 2, 3, 4]  # the trunk again, then the branch
    assert trained(nets[0], bare)[0] == [3, 4]  # the state that the branch kept serves the root
    assert trained(nets[1], bare)[0] == [1, 2, 3, 4]
    assert trained(nets[4], bare)[0] == [3, 4]
    assert trained(nets[3], bare)[0] == [1, 2, 3, 4]
    for net, end in zip(nets, ends, strict=True):
        assert same(bare.load_weights(net), end)


def test_a_late_wish_to_keep_an_epoch_replays_the_trunk_up_to_it(tmp_path):
    store, root = Store(tmp_path), network()
    trained(root, store, keep_epochs=[1])
    assert trained(root, store, keep_epochs=[1, 3])[0] == [2, 3]
    assert trained(dataclasses.replace(root, spawn_epoch=3), store)[0] == [4]


def test_a_damaged_state_is_replayed_from_the_one_before(tmp_path):
    store, root = Store(tmp_path), network()
    trained(root, store, keep_epochs=[1, 3])
    (state,) = (tmp_path / "states").glob("*-3.safetensors")
    state.write_bytes(state.read_bytes()[:-5])
    with pytest.warns(UserWarning, match="quarantined"):
        assert trained(dataclasses.replace(root, spawn_epoch=3), store)[0] == [2, 3, 4]


def test_a_branch_at_the_end_needs_no_training_and_no_kept_state(tmp_path):
    store, root = Store(tmp_path), network()
    _, end = trained(root, store)
    told, branch = trained(dataclasses.replace(root, spawn_epoch=4), store)
    assert told == []
    assert same(branch, end)


def test_branches_of_one_trunk_part_and_strangers_share_nothing(tmp_path):
    store = Store(tmp_path)
    fields = {
        k: v for k, v in vars(network()).items() if k not in ("member", "spawn_epoch", "weights")
    }
    spawned, independent = Pair(**fields, spawn_epoch=0), Pair(**fields, spawn_epoch=None)
    ends = {net: trained(net, store)[1] for net in (spawned.a, spawned.b, independent.b)}
    assert independent.a == spawned.a
    weights = [end["hidden2.weight"].double() for end in ends.values()]
    assert not torch.equal(weights[0], weights[1])

    def alike(x, y):
        return torch.cosine_similarity(x.flatten(), y.flatten(), dim=0).item()

    # The same first weights show after so short a training; other first weights cannot.
    assert alike(weights[0], weights[1]) > 0.8
    assert abs(alike(weights[0], weights[2])) < 0.3


def test_a_loaded_network_is_the_trained_one_ready_to_evaluate(tmp_path):
    store, net = Store(tmp_path), network("resnet20", SGD)
    _, end = trained(net, store)
    model = load_network(net, store, DATA)
    assert not model.training
    assert same(model.state_dict(), end)


def test_a_network_that_was_not_trained_is_one_line(tmp_path):
    net = network()
    with pytest.raises(ValueError, match=f"network {fingerprint(net)} is not in the store"):
        load_network(net, Store(tmp_path), DATA)


def test_a_network_of_other_images_is_one_line(tmp_path):
    store, net = Store(tmp_path), network()
    trained(net, store)
    with pytest.raises(ValueError, match="does not fit data set made") as caught:
        load_network(net, store, images(shape=(3, 8, 8)))
    assert "\n" not in str(caught.value)


def test_a_network_that_diverges_is_named_and_not_kept(tmp_path):
    store = Store(tmp_path)
    net = network(recipe=dataclasses.replace(SGD, lr=1e30, warmup=0.0))
    line = rf"training loss must be finite, got (nan|inf) in epoch \d of network {fingerprint(net)}"
    with pytest.raises(ValueError, match=line):
        trained(net, store)
    assert not store.has(net)
