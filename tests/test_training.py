"""Training and spawning: against a loop in float64, and the laws of trunk, fork and branch."""

import dataclasses
import math

import pytest
import torch
from torch.nn import functional as F

from llfc.batches import Jitter
from llfc.data import Dataset
from llfc.networks.architectures import build
from llfc.networks.spawning import load_network, train_network
from llfc.networks.store import Store
from llfc.networks.training import TrainState, initial_state, learning_rate, train
from llfc.seeds import stream
from llfc.specs import Network, Pair, Recipe, fingerprint

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


def model_of(architecture="mlp", norm=None, width=1 / 32):
    return build(
        architecture,
        width=width,
        norm=norm,
        input_shape=DATA.input_shape,
        num_classes=3,
        generator=stream(0, "init"),
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


def reference(model, recipe, epochs):
    """The textbook's loop, in float64: one image batch after another, updates written out."""
    model = model.double().train()
    mean, std = DATA.mean.double().view(-1, 1, 1), DATA.std.double().view(-1, 1, 1)
    first = {name: torch.zeros_like(p) for name, p in model.named_parameters()}
    second = {name: torch.zeros_like(p) for name, p in model.named_parameters()}
    count, size = len(DATA.train_labels), recipe.batch_size
    total = math.ceil(count / size) * recipe.epochs
    step = 0
    for epoch in range(epochs):
        order = torch.randperm(count, generator=stream(0, f"order/0/{epoch}"))
        pixels = DATA.train_images[order]
        if recipe.augment:
            pixels = Jitter.draw(count, stream(0, f"augment/0/{epoch}")).apply(pixels)
        for begin in range(0, count, size):
            batch = (pixels[begin : begin + size].double() / 255 - mean) / std
            loss = F.cross_entropy(model(batch), DATA.train_labels[order][begin : begin + size])
            gradients = torch.autograd.grad(loss, list(model.parameters()))
            rate = learning_rate(recipe, step / total)
            step += 1
            with torch.no_grad():
                for (name, p), gradient in zip(model.named_parameters(), gradients, strict=True):
                    gradient = gradient + recipe.weight_decay * p
                    if recipe.optimizer == "sgd":
                        first[name] = recipe.momentum * first[name] + gradient
                        p -= rate * first[name]
                        continue
                    first[name] = 0.9 * first[name] + 0.1 * gradient
                    second[name] = 0.999 * second[name] + 0.001 * gradient**2
                    scale = (second[name] / (1 - 0.999**step)).sqrt() + 1e-8
                    p -= rate * first[name] / (1 - 0.9**step) / scale
    return model.state_dict()


@pytest.mark.parametrize("recipe", [ADAM, SGD, STEP], ids=["adam", "sgd", "step"])
def test_training_is_the_textbook_loop(recipe):
    model = model_of()
    expected = reference(model_of(), recipe, 3)
    found = run(model, recipe, initial_state(model), 3).weights
    for name, tensor in found.items():
        assert torch.allclose(tensor.double(), expected[name], atol=2e-4), name
        assert not torch.equal(tensor, model_of().state_dict()[name])


@pytest.mark.parametrize("recipe", [ADAM, SGD, STEP], ids=["adam", "sgd", "step"])
@pytest.mark.parametrize("architecture", ["mlp", "resnet20"])
def test_a_fork_in_the_trunks_own_order_is_the_trunk_continued(architecture, recipe):
    model = model_of(architecture)
    start = initial_state(model)
    trunk = run(model, recipe, start, 4)
    for epoch in (1, 3):
        fork = run(model_of(architecture), recipe, start, epoch)
        branch = run(model_of(architecture), recipe, fork, 4)
        assert same(branch.weights, trunk.weights)
        assert same(branch.optimizer, trunk.optimizer)


@pytest.mark.parametrize("recipe", [ADAM, SGD], ids=["adam", "sgd"])
def test_a_fork_needs_weights_optimiser_and_schedule_position(recipe):
    """Without any one of the three the branch is another one, so each is really used."""
    model = model_of()
    fork = run(model, recipe, initial_state(model), 2)
    trunk = run(model_of(), recipe, fork, 4)
    without = [
        TrainState(2, initial_state(model_of()).weights, fork.optimizer),
        TrainState(2, fork.weights, {}),
        TrainState(1, fork.weights, fork.optimizer),
    ]
    for state in without:
        assert not same(run(model_of(), recipe, state, 4).weights, trunk.weights)


def test_a_state_is_not_changed_by_what_follows():
    model = model_of()
    start = initial_state(model)
    fork = run(model, SGD, start, 1)
    kept = [{k: v.clone() for k, v in part.items()} for part in (fork.weights, fork.optimizer)]
    run(model, SGD, fork, 4)
    assert same(fork.weights, kept[0])
    assert same(fork.optimizer, kept[1])
    assert same(start.weights, model_of().state_dict())


def test_branches_seeds_and_epochs_have_orders_of_their_own():
    start = initial_state(model_of())
    ends = [
        run(model_of(), ADAM, start, 1, branch=branch, seed=seed).weights["hidden1.weight"]
        for branch, seed in (("0", 0), ("0/0", 0), ("1", 0), ("0", 1))
    ]
    constant = run(model_of(), ADAM, TrainState(1, start.weights, {}), 2)
    ends.append(constant.weights["hidden1.weight"])
    assert not any(torch.equal(a, b) for i, a in enumerate(ends) for b in ends[:i])


def test_training_leaves_the_global_generator_alone():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    model = model_of()
    run(model, SGD, initial_state(model), 1)
    assert torch.equal(torch.get_rng_state(), before)


def test_loss_falls_and_every_epoch_is_told():
    told = []
    model = model_of(width=1 / 4)
    recipe = dataclasses.replace(ADAM, epochs=10)
    run(model, recipe, initial_state(model), 10, on_epoch=lambda *news: told.append(news))
    assert [epoch for epoch, _ in told] == list(range(1, 11))
    assert told[-1][1] < told[0][1] / 2


@pytest.mark.parametrize("wrong", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_is_one_line(wrong):
    model = model_of()
    start = initial_state(model)
    spoilt = {key: tensor.clone() for key, tensor in start.weights.items()}
    spoilt["head.bias"][0] = wrong
    line = r"training loss must be finite, got nan in epoch 2 of network abc$"
    with pytest.raises(ValueError, match=line):
        run(model, ADAM, TrainState(1, spoilt, {}), 4, name="of network abc")


@pytest.mark.parametrize(("count", "batch_size"), [(31, 10), (30, 1), (1, 8)])
def test_a_batch_norm_is_not_given_a_single_image(count, batch_size):
    recipe = dataclasses.replace(ADAM, batch_size=batch_size)
    model = model_of("vgg11", "batch")
    with pytest.raises(ValueError, match=f"got {batch_size} for {count} images"):
        run(model, recipe, initial_state(model), 1, dataset=images(count))
    plain = model_of("vgg11", "none")
    run(plain, recipe, initial_state(plain), 1, dataset=images(count))


# The schedule.


def test_schedules_in_closed_form():
    recipe = dataclasses.replace(STEP, lr=0.4, epochs=160, milestones=(0.5, 0.75), warmup=0.1)
    epochs = {0: 0, 8: 0.2, 16: 0.4, 79: 0.4, 80: 0.04, 119: 0.04, 120: 0.004, 159: 0.004}
    for epoch, rate in epochs.items():
        assert learning_rate(recipe, epoch / 160) == pytest.approx(rate)
    cosine = dataclasses.replace(recipe, schedule="cosine", milestones=(), warmup=0.2)
    for share, rate in {0.1: 0.2, 0.2: 0.4, 0.6: 0.2, 1.0: 0.0}.items():
        assert learning_rate(cosine, share) == pytest.approx(rate)
    constant = dataclasses.replace(cosine, schedule="constant")
    assert [learning_rate(constant, share) for share in (0.05, 0.2, 0.9)] == pytest.approx(
        [0.1, 0.4, 0.4]
    )


@pytest.mark.parametrize("epochs", [1, 3, 7, 160, 161])
@pytest.mark.parametrize("milestone", [1 / 3, 0.5, 0.6, 2 / 3])
def test_a_step_comes_at_its_milestone_whatever_the_rounding(epochs, milestone):
    recipe = dataclasses.replace(STEP, epochs=epochs, milestones=(milestone,))
    steps = 391
    first = next(
        step
        for step in range(steps * epochs)
        if learning_rate(recipe, step / (steps * epochs)) < recipe.lr
    )
    assert first == math.ceil(round(milestone * steps * epochs, 6))


# Trunk, fork, branch.


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


def test_what_is_kept_does_not_change_what_is_trained(tmp_path):
    """Kept or replayed, from the near state or the far one, in any order: the same networks."""
    root = network("resnet20", SGD)
    nets = [root, *(dataclasses.replace(root, spawn_epoch=epoch) for epoch in (1, 2))]
    kept, bare = Store(tmp_path / "kept"), Store(tmp_path / "bare")
    ends = [trained(net, kept, keep_epochs=[1, 2])[1] for net in nets]
    assert trained(nets[2], bare)[0] == [1, 2, 3, 4]  # the trunk again, then the branch
    assert trained(nets[0], bare)[0] == [3, 4]  # the state that the branch kept serves the root
    assert trained(nets[1], bare)[0] == [1, 2, 3, 4]
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
    with pytest.warns(UserWarning, match="set aside"):
        assert trained(dataclasses.replace(root, spawn_epoch=3), store)[0] == [2, 3, 4]


def test_a_branch_at_the_end_needs_no_training_and_no_kept_state(tmp_path):
    store, root = Store(tmp_path), network()
    _, end = trained(root, store)
    told, branch = trained(dataclasses.replace(root, spawn_epoch=4), store)
    assert told == []
    assert same(branch, end)


def test_branches_of_one_trunk_part_and_strangers_share_nothing(tmp_path):
    store = Store(tmp_path)
    fields = {k: v for k, v in vars(network()).items() if k not in ("member", "spawn_epoch")}
    spawned, strangers = Pair(**fields, spawn_epoch=0), Pair(**fields, spawn_epoch=None)
    ends = {net: trained(net, store)[1] for net in (spawned.a, spawned.b, strangers.b)}
    assert strangers.a == spawned.a
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


@pytest.mark.parametrize("recipe", [ADAM, SGD], ids=["adam", "sgd"])
def test_the_memory_layout_of_a_state_is_of_no_account(recipe):
    """A state from a file lies in memory otherwise than one that has just been trained."""
    model = model_of("vgg11", "none")
    fork = run(model, recipe, initial_state(model), 2)
    other = TrainState(
        2,
        {name: tensor.contiguous() for name, tensor in fork.weights.items()},
        {name: tensor.contiguous() for name, tensor in fork.optimizer.items()},
    )
    ends = [run(model_of("vgg11", "none"), recipe, state, 4) for state in (fork, other)]
    assert same(ends[0].weights, ends[1].weights)
