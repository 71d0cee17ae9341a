"""Each task against plain float64 references with all features in memory; and what is refused."""

import itertools

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import llfc
from llfc.tasks import TASKS
from tests.helpers.quick_cases import slow_unless
from tests.helpers.small_networks import mlp, random_, samples
from tests.helpers.token_networks import IGNORED, VOCABULARY, gpt, reference, tokens

ALPHAS = 5
NAMES = ["blocks.0", "blocks.1", "head"]


def shifted(targets):
    return torch.cat([targets[:, 1:], torch.full_like(targets[:, :1], IGNORED)], 1)


def class_score(wanted):
    def score(logits):
        loss = F.cross_entropy(logits.flatten(0, 1), wanted.flatten(), ignore_index=IGNORED)
        counted = wanted != IGNORED
        return loss.item(), (logits.argmax(-1) != wanted)[counted].double().mean().item()

    return score


def compare(found, curve, layers):
    assert found.curve["test_loss"] == pytest.approx(curve[:, 0], rel=1e-12)
    assert found.curve["test_error"] == pytest.approx(curve[:, 1], rel=1e-12)
    assert {layer.name for layer in found.layers} >= set(layers)
    for layer in found.layers:
        for column in layers.get(layer.name, [{}])[0]:
            wanted = [row[column] for row in layers[layer.name]]
            assert getattr(layer, column) == pytest.approx(wanted, rel=1e-9, abs=1e-13), column


@pytest.mark.parametrize(
    ("task", "length"),  # and as many tokens as units
    slow_unless(
        [("token-classification-sequences", 8)],
        [*itertools.product((name for name in TASKS if "token" in name), (6, 8))],
    ),
)
def test_tokens_against_all_features_in_memory(task, length):
    a, b = gpt(0), gpt(1)
    ids, targets = tokens(9, length)
    wanted = shifted(targets) if task.startswith("next-token") else targets
    whole = task.endswith("sequences")
    counted = wanted != IGNORED

    def rows(feature):
        return feature.flatten(1) if whole else feature[counted]

    alpha = np.linspace(0, 1, ALPHAS)
    curve, layers = reference(a, b, alpha, ids, NAMES, rows, class_score(wanted))
    if whole:
        layers = {name: layers[name] for name in NAMES}
    options = {"matching": None, "alphas": ALPHAS, "probes": NAMES, "task": task}
    for size in (250, 2):  # and a batch without a token that counts, as it is in the second
        found = llfc.connect(a, b, test=(ids, targets), batch_size=size, **options)
        compare(found, curve, layers)
        assert found.summaries["logit_identity_residual"] < 1e-12
    said = {entry.name: entry.reason for entry in found.left_out}
    assert ("whole sequence" if whole else "token that counts") in said["sample"]


@pytest.mark.slow
def test_padding_and_lengths_of_batches_make_no_difference():
    a, b = gpt(0), gpt(1)
    ids, targets = tokens(8, 7)
    longer = torch.cat([ids, torch.zeros(8, 3, dtype=ids.dtype)], 1)
    padded = torch.cat([targets, torch.full((8, 3), IGNORED)], 1)
    options = {"matching": None, "alphas": 3, "task": "next-token", "measures": []}
    plain = llfc.connect(a, b, test=(ids, targets), **options)
    parts = [(longer[:5], padded[:5]), (ids[5:], targets[5:])]
    for test in (parts, (longer, padded)):
        found = llfc.connect(a, b, test=test, **options)
        for name, value in plain.scalars().items():
            assert found.scalars()[name] == pytest.approx(value, rel=1e-9, abs=1e-11, nan_ok=True)


@pytest.mark.parametrize("form", slow_unless(["dict"], ["dict", "tuple"]))
def test_where_the_output_is(form):
    ids, targets = tokens(8, 6)
    options = {"matching": None, "alphas": 3, "test": (ids, targets)}
    plain = llfc.connect(gpt(0), gpt(1), task="next-token", **options)
    a, b = gpt(0, form=form), gpt(1, form=form)
    task = TASKS["next-token"]
    if form == "tuple":
        with pytest.raises(ValueError, match="got tuple of 2: name what counts"):
            llfc.connect(a, b, task=task, **options)
        task = llfc.Task(**{**vars(task), "output": 1})
    found = llfc.connect(a, b, task=task, **options)
    assert found.curve["test_loss"].tolist() == plain.curve["test_loss"].tolist()
    assert found.summaries["logit_identity_residual"] < 1e-12


@pytest.mark.slow
@pytest.mark.parametrize("form", [tuple, dict])
def test_inputs_that_are_a_tuple_or_named(form):
    ids, targets = tokens(8, 6)
    scale = torch.rand(8, dtype=torch.float64) + 0.5
    inputs = (ids, scale) if form is tuple else {"scale": scale, "ids": ids}
    a, b = gpt(0), gpt(1)
    wanted = shifted(targets)
    alpha = np.linspace(0, 1, 3)
    curve, layers = reference(
        a,
        b,
        alpha,
        {"ids": ids, "scale": scale},
        NAMES,
        lambda feature: feature[wanted != IGNORED],
        class_score(wanted),
    )
    batches = [(inputs, targets)]
    for test in (batches, (inputs, targets)):
        found = llfc.connect(
            a, b, test=test, matching=None, alphas=3, probes=NAMES, task="next-token"
        )
        compare(found, curve, layers)
    matched = llfc.connect(
        a, b, test=batches, train=batches, matching="activations", alphas=3, task="next-token"
    )
    assert matched.matching["moved"] > 0
    assert matched.curve["test_loss"][[0, -1]] == pytest.approx(curve[[0, -1], 0])


def off(output, targets):
    return (output.view(targets.shape) - targets).view(len(targets), -1)


@pytest.mark.parametrize("outputs", [1, 3])
def test_regression_against_all_features_in_memory(outputs):
    a, b = mlp(0, sizes=(6, 8, 7, outputs)), mlp(1, sizes=(6, 8, 7, outputs))
    x, _ = samples(30, (6,))
    y = torch.randn(30, outputs, dtype=torch.float64)
    y = y[:, 0] if outputs == 1 else y

    def score(output):
        gaps = off(output, y)
        return gaps.square().mean().item(), gaps.abs().mean().item()

    names = ["linear0", "relu1", "linear2"]
    alpha = np.linspace(0, 1, ALPHAS)
    curve, layers = reference(a, b, alpha, x, names, lambda feature: feature, score)
    options = {"matching": None, "alphas": ALPHAS, "probes": names}
    for size in (250, 7):
        found = llfc.connect(a, b, test=(x, y), task="regression", batch_size=size, **options)
        compare(found, curve, layers)
    mean = (a(x) + b(x)).detach() / 2
    assert found.summaries["ensemble_loss"] == pytest.approx(score(mean)[0])
    assert found.summaries["ensemble_error"] == pytest.approx(score(mean)[1])
    for name in ("logit_d_mid", "disagreement", "test_error_chance", "a_ece"):
        assert np.isnan(found.summaries[name]), name
    assert found.summaries["lemma1_slack"] >= 0 or found.curve["test_error"].max() > 0
    said = {entry.name: entry.reason for entry in found.left_out}
    assert said["error"] == "mean absolute error"
    assert "logits" in said
    own = llfc.Task(
        loss=lambda output, targets: off(output, targets).square().mean(1),
        error=lambda output, targets: off(output, targets).abs().mean(1),
    )
    again = llfc.connect(a, b, test=(x, y), task=own, **options)
    compare(again, curve, layers)


def test_a_linear_regression_has_no_barrier():
    a, b = (random_(nn.Sequential(nn.Linear(5, 2)), seed) for seed in (0, 1))
    x, _ = samples(20, (5,))
    y = torch.randn(20, 2, dtype=torch.float64)
    found = llfc.connect(a, b, test=(x, y), task="regression", matching=None)
    assert found.barriers["test_loss_chord"] == 0
    assert found.summaries["test_loss_gap"] < 0


REFUSED = {
    "a task that is none": ({"task": "next-tokens"}, "unknown task 'next-tokens': choose from"),
    "a vocabulary too small": ({"shift": VOCABULARY}, "test targets must be in [0, 11) or -100"),
    "no token that counts": ({"none": True}, "test has no tokens that count"),
    "targets of another shape": (
        {"cut": True},
        "test targets must be whole numbers of shape [inputs, tokens]",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals_in_one_line(case):
    given, line = REFUSED[case]
    ids, targets = tokens(6, 5)
    if "shift" in given:
        targets = torch.where(targets >= 0, targets + given["shift"], targets)
    if "none" in given:
        targets = torch.full_like(targets, IGNORED)
    if "cut" in given:
        targets = targets[:, 1:]
    with pytest.raises(ValueError, match=r"^(test|unknown task) ") as caught:
        llfc.connect(
            gpt(0),
            gpt(1),
            test=(ids, targets),
            matching=None,
            task=given.get("task", "next-token"),
        )
    assert str(caught.value).startswith(line)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("wrong", ["scalar", "number", "lengths"])
def test_functions_that_give_no_number_per_sample(wrong):
    loss = {"scalar": lambda o, y: (o - y).mean(), "number": lambda o, y: 1.0}.get(
        wrong, lambda o, y: o[:2].mean(1)
    )
    task = llfc.Task(loss=loss, error=lambda o, y: o.mean(1))
    x, _ = samples(8, (6,))
    with pytest.raises(ValueError, match="of a task must be"):
        llfc.connect(mlp(0), mlp(1), test=(x, x[:, :4]), task=task, matching=None)


def test_straight_through_is_refused_where_there_are_no_classes():
    x, _ = samples(8, (6,))
    with pytest.raises(ValueError, match="'straight-through' descends class probabilities"):
        llfc.connect(
            mlp(0),
            mlp(1),
            test=(x, x[:, :4]),
            train=(x, x[:, :4]),
            task="regression",
            matching="straight-through",
        )
    one = [torch.nn.Sequential(mlp(seed), torch.nn.Linear(4, 1).double()) for seed in (0, 1)]
    with pytest.raises(ValueError, match=r"'straight-through' .* the output has one number"):
        llfc.match("straight-through", *one, llfc.permutation_spec(one[0], x), [x], 0)


def test_named_inputs_that_have_no_position_are_measured_and_not_permuted():
    class Named(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = mlp(0)

        def forward(self, *, x):
            return self.layers(x)

    x, labels = samples(8, (6,))
    a, b = (random_(Named(), seed) for seed in (0, 1))
    options = {"test": ({"x": x}, labels), "alphas": 3}
    llfc.connect(a, b, matching=None, **options)
    with pytest.raises(ValueError, match=r"and 'x' is none: wrap the model in a module whose"):
        llfc.connect(a, b, matching="weights", **options)
