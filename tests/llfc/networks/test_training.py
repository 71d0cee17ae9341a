"""Training: against a loop in float64, and what a state holds; the schedule."""

import dataclasses
import math

import pytest
import torch
from torch.nn import functional as F

from llfc.data.batches import CropFlip
from llfc.networks.training import TrainState, initial_state, learning_rate
from llfc.seeds import stream
from tests.helpers.quick_cases import slow_unless
from tests.helpers.trainable_networks import ADAM, DATA, SGD, STEP, images, model_of, run, same


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
            pixels = CropFlip.draw(count, stream(0, f"augment/0/{epoch}")).apply(pixels)
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
@pytest.mark.parametrize("architecture", slow_unless(["mlp"], ["mlp", "resnet20"]))
def test_a_fork_in_the_trunks_own_order_is_the_trunk_continued(architecture, recipe):
    model = model_of(architecture)
    start = initial_state(model)
    trunk = run(model, recipe, start, 4)
    for epoch in (1, 3):
        fork = run(model_of(architecture), recipe, start, epoch)
        branch = run(model_of(architecture), recipe, fork, 4)
        assert same(branch.weights, trunk.weights)
        assert same(branch.optimizer, trunk.optimizer)


@pytest.mark.parametrize("architecture", ["mlp", "resnet20"])
def test_half_precision_is_of_products_alone(architecture):
    gentle = dataclasses.replace(STEP, lr=1e-3)
    half = dataclasses.replace(gentle, precision="bfloat16")
    start = initial_state(model_of(architecture, width=1 / 4))
    exact, found = (
        run(model_of(architecture, width=1 / 4), recipe, start, 1) for recipe in (gentle, half)
    )
    assert same_kinds(found.weights, exact.weights)
    assert same_kinds(found.optimizer, exact.optimizer)
    steps, error = (
        torch.cat([(there[n] - t).flatten() for n, t in here.items() if "num_" not in n]).norm()
        for here, there in ((start.weights, exact.weights), (exact.weights, found.weights))
    )
    assert 1e-4 * steps < error < 0.1 * steps


def same_kinds(one, other):
    return {n: t.dtype for n, t in one.items()} == {n: t.dtype for n, t in other.items()}


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


# Optimisers.

ADAMW = dataclasses.replace(ADAM, optimizer="adamw", weight_decay=0.1, clip=0.5)
NESTEROV = dataclasses.replace(SGD, nesterov=True)


@pytest.mark.parametrize("recipe", [ADAMW, NESTEROV], ids=["adamw", "nesterov"])
def test_adamw_and_nesterov_go_on_from_a_state_to_the_bit(recipe):
    model = model_of("mlp", "none")
    whole = run(model, recipe, initial_state(model), 4)
    model = model_of("mlp", "none")
    half = run(model, recipe, initial_state(model), 2)
    again = run(model_of("mlp", "none"), recipe, half, 4)
    assert same(whole.weights, again.weights)
    assert same(whole.optimizer, again.optimizer)


@pytest.mark.parametrize(
    "changes", [{"optimizer": "adam"}, {"clip": None}, {"clip": 1e-3}], ids=str
)
def test_decoupled_decay_and_clipping_change_the_weights(changes):
    ends = [
        run(model, recipe, initial_state(model), 1)
        for recipe in (ADAMW, dataclasses.replace(ADAMW, **changes))
        for model in [model_of("mlp", "none")]
    ]
    assert not same(ends[0].weights, ends[1].weights)


def test_a_clipped_step_of_plain_sgd_is_no_longer_than_rate_times_clip():
    recipe = dataclasses.replace(
        SGD,
        epochs=1,
        batch_size=30,
        momentum=0.0,
        weight_decay=0.0,
        schedule="constant",
        warmup=0.0,
        lr=0.5,
        clip=1e-2,
    )
    model = model_of("mlp", "none")
    start = initial_state(model)
    end = run(model, recipe, start, 1)
    moved = sum((end.weights[k] - start.weights[k]).square().sum().item() for k in end.weights)
    assert moved**0.5 == pytest.approx(0.5 * 1e-2, rel=1e-3)


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
