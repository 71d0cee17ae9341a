"""A training that is killed goes on from its last state, and ends as if it had not been."""

import dataclasses
import math
import warnings

import pytest
import torch

from llfc.networks import checkpoints
from llfc.networks.checkpoints import RUNNING, Checkpoints, checkpoints_of
from llfc.networks.spawning import train_network
from llfc.networks.store import STATES, Store, StoreWarning
from llfc.networks.training import TrainState, initial_state, train
from tests.helpers.trainable_networks import ADAM, DATA, SGD, STEP, model_of, network, same


class Killed(Exception):
    pass


class KilledAt:
    """Keeps every state, and dies after some steps."""

    def __init__(self, steps):
        self.left, self.kept = steps, None

    def after_step(self, epoch, step, loss):
        self.left -= 1
        return True

    def keep(self, state):
        self.kept = state
        if not self.left:
            raise Killed


def trained(recipe, start, observer=None, losses=None):
    def note(epoch, loss):
        if losses is not None:
            losses.append((epoch, loss))

    return train(
        model_of("resnet20", width=1 / 8) if recipe is STEP else model_of(),
        DATA,
        recipe,
        start=start,
        until_epoch=recipe.epochs,
        seed=0,
        branch="0",
        on_epoch=note,
        observer=observer,
    )


@pytest.mark.parametrize(
    "recipe",
    [
        pytest.param(ADAM, id="adam"),
        pytest.param(SGD, id="sgd"),
        pytest.param(STEP, id="step", marks=pytest.mark.slow),
    ],
)
def test_a_training_goes_on_from_any_step_as_if_it_had_not_stopped(recipe):
    model = model_of("resnet20", width=1 / 8) if recipe is STEP else model_of()
    start, losses = initial_state(model), []
    whole = trained(recipe, start, losses=losses)
    steps = math.ceil(len(DATA.train_labels) / recipe.batch_size)
    for after in (1, steps - 1, steps, steps + 1, 2 * steps + 2):
        killed, again = KilledAt(after), []
        with pytest.raises(Killed):
            trained(recipe, start, killed)
        assert (killed.kept.epoch, killed.kept.step) == divmod(after, steps)
        found = trained(recipe, killed.kept, losses=again)
        assert same(found.weights, whole.weights)
        assert same(found.optimizer, whole.optimizer)
        assert again == losses[after // steps :]


class DyingStore(Store):
    """A store whose user dies as soon as it has kept so many states."""

    def __init__(self, root, states):
        super().__init__(root)
        self.states = states

    def put_tensors(self, kind, name, *rest):
        super().put_tensors(kind, name, *rest)
        self.states -= kind == RUNNING
        if not self.states:
            raise Killed


@pytest.fixture
def often(monkeypatch):
    """States may take all of the time."""
    monkeypatch.setattr(checkpoints, "SHARE", math.inf)


@pytest.mark.usefixtures("often")
@pytest.mark.parametrize("fork", [{}, {"spawn_epoch": 1}, {"spawn_step": 6}])
def test_a_network_killed_again_and_again_is_the_undisturbed_one(tmp_path, fork):
    whole, store = Store(tmp_path / "whole"), Store(tmp_path / "killed")
    net, keep = network(**fork), {"keep_epochs": [1], "keep_steps": [6]}
    for root in {net.root, net}:
        train_network(root, whole, DATA, **keep, checkpoint_seconds=math.inf)
    assert whole.names(RUNNING) == []
    kills = 0
    while not store.has(net):
        try:
            dying = DyingStore(tmp_path / "killed", 2)
            train_network(net, dying, DATA, **keep, checkpoint_seconds=0)
        except Killed:
            kills += 1
            assert len(store.names(RUNNING)) <= 2  # of the trunk, and of the branch
    assert kills > 2
    assert same(store.load_weights(net), whole.load_weights(net))
    state = store.names(STATES)[0]
    assert same(store.get_tensors(STATES, state), whole.get_tensors(STATES, state))
    assert store.names(RUNNING) == []


@pytest.mark.usefixtures("often")
def test_a_state_of_other_code_is_not_gone_on_from(tmp_path):
    store, net, told = Store(tmp_path), network(), []
    with pytest.raises(Killed):
        train_network(net, DyingStore(tmp_path, 3), DATA, checkpoint_seconds=0, code="old")
    assert len(store.names(RUNNING)) == 1
    with pytest.warns(StoreWarning, match="^other code has left state .* it is removed"):
        train_network(net, store, DATA, on_epoch=lambda epoch, _: told.append(epoch), code="new")
    assert told[0] == 1
    assert store.names(RUNNING) == []


def test_a_version_and_a_plug_in_are_code(tmp_path, monkeypatch):
    store, first = Store(tmp_path), TrainState(0, {}, {})
    net = network("mine:build@0123456789abcdef", norm="none")
    checkpoints_of(net, "0", store).keep(TrainState(1, {}, {}))

    def edited():
        return dataclasses.replace(net, architecture="mine:build@fedcba9876543210")

    def versioned():
        monkeypatch.setattr("llfc.specs.fingerprints.TRAINING", 99)
        return net

    assert checkpoints_of(net, "0", store).latest(first, (2, 0)).epoch == 1
    for other in (edited, versioned):
        with pytest.warns(StoreWarning, match="^other code has left state"):
            assert checkpoints_of(other(), "0", store).latest(first, (2, 0)) is first
        assert store.names(RUNNING) == []
        checkpoints_of(net, "0", store).keep(TrainState(1, {}, {}))


def test_another_training_keeps_its_state(tmp_path):
    store, first = Store(tmp_path), TrainState(0, {}, {})
    net = network()
    others = [dataclasses.replace(net, **{"seed": 1}), dataclasses.replace(net, width=1 / 16)]
    for root, branch in ((net, "0"), (net, "0/1"), *((other, "0") for other in others)):
        checkpoints_of(root, branch, store).keep(TrainState(1, {}, {}))
    checkpoints_of(net, "0", store).latest(first, (2, 0))
    checkpoints_of(net, "0", store).remove()
    assert len(store.names(RUNNING)) == 3


def test_a_state_that_cannot_be_written_is_a_warning(tmp_path, monkeypatch):
    put = Store.put_tensors

    def refuse(self, kind, *rest):
        if kind == RUNNING:
            raise ValueError("store: the disk is full")
        put(self, kind, *rest)

    monkeypatch.setattr(Store, "put_tensors", refuse)
    store, net = Store(tmp_path), network()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        train_network(net, store, DATA, checkpoint_seconds=0)
    assert store.has(net)
    assert {str(one.message) for one in caught if one.category is StoreWarning} == {
        "no state is kept of a network in training: store: the disk is full"
    }


def test_states_take_a_small_share_of_the_time(tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(checkpoints.time, "monotonic", lambda: now[0])

    class Slow(Store):
        def put_tensors(self, *rest):
            now[0] += 3

    kept = Checkpoints(Slow(tmp_path), "name", seconds=120)
    state = TrainState(0, {}, {}, 1)
    times = []
    for _ in range(1000):
        now[0] += 1
        if kept.after_step(0, 1, torch.zeros(())):
            times.append(now[0])
            kept.keep(state)
    assert times == [120, 120 + 3 + 300, 120 + 2 * (3 + 300)]


@pytest.mark.usefixtures("often")
def test_a_damaged_state_counts_as_none(tmp_path):
    store, net = Store(tmp_path), network()
    with pytest.raises(Killed):
        train_network(net, DyingStore(tmp_path, 3), DATA, checkpoint_seconds=0)
    (left,) = (tmp_path / RUNNING).glob("*.safetensors")
    left.write_bytes(left.read_bytes()[:-1] + b"?")
    with pytest.warns(StoreWarning, match="quarantined"):
        train_network(net, store, DATA)
    assert store.has(net)


@pytest.mark.usefixtures("often")
def test_a_training_that_failed_at_its_end_fails_again(tmp_path):
    """No state is kept of an epoch whose loss is not finite, from which it would be done."""
    spoilt = dataclasses.replace(ADAM, epochs=1, lr=1e30)
    store, net = Store(tmp_path), network(recipe=spoilt)
    for _ in range(2):
        with pytest.raises(ValueError, match="training loss must be finite"):
            train_network(net, store, DATA, checkpoint_seconds=0)
    assert not store.has(net)
