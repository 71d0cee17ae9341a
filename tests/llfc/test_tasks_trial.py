"""Trials on data sets of tokens: trained with their task's loss and measured by it."""

import dataclasses

import pytest
import torch
from torch.nn import functional as F

from llfc.data.rows import Rows
from llfc.data.sequences import Sequences
from llfc.networks.recipes import default_recipe
from llfc.networks.spawning import load_network, train_network
from llfc.networks.store import Store
from llfc.specs import Pair, Recipe, Trial, fingerprint
from llfc.tasks import TASKS
from llfc.trial import check_trial, run_trial
from sweeps.grid.grid import trials_of
from sweeps.smoke import SMOKE

CONTEXT, VOCABULARY = 8, 7


def counting():
    """Sequences that count up from a random start, modulo VOCABULARY; every fourth target not."""
    starts = torch.arange(40)[:, None] % VOCABULARY
    ids = (starts + torch.arange(CONTEXT)) % VOCABULARY
    targets = ids.masked_fill(torch.arange(CONTEXT) % 4 == 0, -100)
    return Sequences(
        name="counting",
        train_ids=ids,
        train_targets=targets,
        test_ids=ids[:12],
        test_targets=targets[:12],
        num_classes=VOCABULARY,
    )


def trial_of(task=None):
    recipe = dataclasses.replace(
        default_recipe("gpt", "king-james", None), epochs=3, batch_size=5, lr=1e-2
    )
    pair = Pair(
        architecture="gpt",
        width=0.5,
        norm="layer",
        dataset="counting",
        limit_train=None,
        seed=0,
        spawn_epoch=1,
        recipe=recipe,
    )
    return Trial(pair=pair, matching="weights", alphas=3, measures=(), task=task)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    store, data = Store(tmp_path_factory.mktemp("store")), counting()
    for network in (trial_of().pair.a, trial_of().pair.b):
        train_network(network, store, data)
    return store, data


@pytest.mark.slow
def test_a_data_set_of_tokens_is_trained_and_measured_with_its_tasks_loss(trained):
    store, data = trained
    found = run_trial(trial_of(), store, data)
    for at, network in ((0, trial_of().pair.a), (-1, trial_of().pair.b)):
        model = load_network(network, store, data)
        with torch.no_grad():
            logits = model(data.test_ids)[:, :-1].double()
        own = F.cross_entropy(logits.flatten(0, 1), data.test_targets[:, 1:].flatten())
        assert found.curve["test_loss"][at] == pytest.approx(own.item(), rel=1e-6)
        assert own < 0.5  # against log(7), and only if the targets are shifted
    whole = run_trial(trial_of("next-token-sequences"), store, data)
    assert whole.curve["test_loss"].tolist() == found.curve["test_loss"].tolist()
    assert whole.summaries["llfc_error_mean"] != found.summaries["llfc_error_mean"]


def sums():
    """Rows of three numbers, whose sum and whose first are to be told."""
    rows = torch.randn(60, 3, generator=torch.Generator().manual_seed(0))
    targets = torch.stack([rows.sum(1), rows[:, 0]], 1)
    parts = {"train_inputs": rows[:40], "train_targets": targets[:40]}
    parts |= {"test_inputs": rows[40:], "test_targets": targets[40:]}
    return Rows(name="sums", num_classes=2, **parts)


@pytest.mark.slow
def test_a_regression_is_trained_and_measured_with_its_squared_error(tmp_path):
    store, data = Store(tmp_path), sums()
    recipe = Recipe(epochs=30, batch_size=5, optimizer="adam", lr=1e-2)
    named = {"architecture": "mlp", "norm": "none", "dataset": "sums"}
    pair = dataclasses.replace(trial_of().pair, **named, width=1 / 32, recipe=recipe)
    trial = dataclasses.replace(trial_of(), pair=pair)
    check_trial(trial, data)
    for network in (pair.a, pair.b):
        train_network(network, store, data)
    found = run_trial(trial, store, data)
    for at, network in ((0, pair.a), (-1, pair.b)):
        with torch.no_grad():
            gaps = load_network(network, store, data)(data.test_inputs).double() - data.test_targets
        assert found.curve["test_loss"][at] == pytest.approx(gaps.square().mean().item(), rel=1e-6)
        assert found.curve["test_error"][at] == pytest.approx(gaps.abs().mean().item(), rel=1e-6)
        assert gaps.square().mean() < 0.2  # of a variance of 3 and of 1
    with pytest.raises(ValueError, match="as the networks are trained for regression"):
        check_trial(dataclasses.replace(trial, task="next-token"), data)
    with pytest.raises(ValueError, match="'straight-through' descends class probabilities"):
        check_trial(dataclasses.replace(trial, matching="straight-through"), data)


def test_a_task_that_the_data_are_not_for_is_refused_before_training():
    with pytest.raises(
        ValueError,
        match=r"^task must be one of next-token, next-token-sequences, as the networks are trained "
        r"for next-token, got 'token-classification'$",
    ):
        check_trial(trial_of("token-classification"), counting())


def test_naming_the_data_sets_own_task_gives_the_same_trial():
    sweep = SMOKE.replace({"dataset": ["king-james"], "architecture": ["gpt"]})
    plain, own, whole = (
        trials_of(sweep, task=task) for task in (None, "next-token", "next-token-sequences")
    )
    assert [fingerprint(trial) for trial in own] == [fingerprint(trial) for trial in plain]
    assert not set(map(fingerprint, whole)) & set(map(fingerprint, plain))
    with pytest.raises(ValueError, match=r"^task must be one of next-token, .*'regression'$"):
        trials_of(sweep, task="regression")
    with pytest.raises(ValueError, match=r"^task must be one of classification, .*'next-token'$"):
        trials_of(SMOKE, task="next-token")


@pytest.mark.parametrize("task", TASKS)
def test_the_training_loss_is_the_mean_of_the_samples_that_count(task):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(6, 5, VOCABULARY, generator=generator, dtype=torch.float64)
    targets = torch.randint(VOCABULARY, (6, 5), generator=generator)
    targets[1] = targets[2, 3] = -100
    if "token" not in task:
        logits, targets = logits[:, 0], targets[:, 0].clamp_min(0)
    if task == "regression":
        targets = logits.roll(1, 0)
    loss, _ = TASKS[task].scores(*TASKS[task].picked(logits, targets))
    assert TASKS[task].training_loss(logits, targets).item() == pytest.approx(loss.mean().item())
