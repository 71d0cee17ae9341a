"""Every measure, correction and matcher at every task: works, or is refused by name."""

import functools
import itertools
import weakref
from contextlib import ExitStack
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import llfc
from llfc.connectivity.blend import Line
from llfc.connectivity.corrections import CORRECTIONS
from llfc.connectivity.measures.cka import unbiased_hsic
from llfc.connectivity.measures.registry import MEASURES
from llfc.connectivity.path import _Walker
from llfc.connectivity.probes import choose_probes, tapped
from llfc.connectivity.probes.features import token_dims
from llfc.matching import MATCHERS
from llfc.tasks import TASKS
from tests.helpers.quick_cases import a_third_slow, slow_unless
from tests.helpers.small_networks import blended, mlp, samples
from tests.helpers.token_networks import IGNORED, features_of, gpt, tokens

TOKEN_TASKS = [name for name in TASKS if "token" in name]
OWN = llfc.Task(
    loss=lambda output, targets: (output - targets).abs().mean(1),
    error=lambda output, targets: ((output - targets).abs() > 0.5).double().mean(1),
)


def given(task, depth=1):
    """Two networks and data for a task; those of tokens have so many blocks."""
    if task in TOKEN_TASKS:
        ids, targets = tokens(8, 6)
        return gpt(0, depth=depth), gpt(1, depth=depth), (ids, targets)
    x, labels = samples(24, (6,))
    targets = labels if task == "classification" else samples(24, (4,), 5)[0]
    return mlp(0), mlp(1), (x, targets)


def whole(task):
    """The name of a task of ours, or one's own."""
    return OWN if task == "own" else task


def connected(task, depth=1, **options):
    a, b, data = given(task, depth)
    options = {"matching": None, "alphas": 3, "measures": []} | options
    return llfc.connect(a, b, test=data, train=data, task=whole(task), **options)


@functools.cache
def unmeasured(task):
    """What is found of the two without any measure, matching or correction beyond the usual."""
    return connected(task)


@functools.cache
def symmetry(task):
    """That of both networks, with the kinds of its groups."""
    a, _, data = given(task)
    spec = llfc.permutation_spec(a.eval(), data[0][:2])
    assert spec.kinds
    return spec


EVERY = [*TASKS, "own"]
every_task = pytest.mark.parametrize("task", slow_unless(("next-token", "own"), EVERY))


def every_task_and(name, values, quick):
    """Each of the values at each task."""
    return pytest.mark.parametrize(("task", name), a_third_slow(quick, EVERY, values))


@every_task_and(
    "measure",
    sorted(MEASURES),
    [("next-token", "stitching"), *itertools.product(("own",), MEASURES)],
)
def test_every_measure_at_every_task(task, measure):
    found = connected(task, measures=[measure])
    plain = unmeasured(task)
    new = set(found.summaries) - set(plain.summaries)
    assert new or measure == "samples"
    for name in new:
        assert np.isfinite(found.summaries[name]), name
    a, b, data = given(task)
    options = {"matching": None, "alphas": 3, "measures": [measure], "task": whole(task)}
    again = llfc.connect(a, b, test=data, batch_size=3, **options)
    for name in new:
        value = found.summaries[name]
        assert again.summaries[name] == pytest.approx(value, rel=1e-8, abs=1e-9), name


@pytest.mark.parametrize("correction", sorted(CORRECTIONS))
@every_task
def test_every_correction_at_every_task(task, correction):
    found = connected(task, correction=correction)
    layers = found.summaries["correction_layers"]
    assert (layers > 0) == (correction in ("repair", "rescale"))
    assert np.isfinite(found.curve["test_loss"]).all()


def planted(task):
    """A network, the same with its units in another order, and data."""
    (a, _, data), (b, _, _), spec = given(task), given(task), symmetry(task)
    b.load_state_dict(spec.apply(spec.random(seed=3), a.state_dict()))
    return a, b, data


@functools.cache
def apart(task):
    """What is found of those two as they are."""
    a, b, data = planted(task)
    options = {"alphas": 3, "measures": [], "task": whole(task)}
    return llfc.connect(a, b, test=data, matching=None, **options)


@every_task_and(
    "matching", ("weights", "activations", "activations-uncentred"), [("own", "weights")]
)
def test_a_planted_permutation_leaves_no_barrier(task, matching):
    (a, b, data), options = planted(task), {"alphas": 3, "measures": [], "task": whole(task)}
    assert apart(task).summaries["llfc_error_mean"] > 1e-3
    found = llfc.connect(a, b, test=data, train=data, matching=matching, **options)
    assert found.barriers["test_loss_chord"] < 1e-10
    assert found.summaries["llfc_error_max"] < 1e-10


# What of the output alone needs logits of classes.
OF_CLASSES = ("logit_identity_residual", "a_ece", "disagreement", "test_error_chance")
WITHOUT_CLASSES = ("regression", "own")


@every_task_and(
    "matching",
    sorted(MATCHERS),
    [("next-token", "activations"), ("own", "straight-through"), ("own", "orthogonal")],
)
def test_every_matcher_and_the_output_at_every_task(task, matching):
    """Works, or is refused in one line; what a task has not is NaN, and left_out says so."""
    if matching == "straight-through" and task in WITHOUT_CLASSES:
        with pytest.raises(ValueError, match=r"^matching 'straight-through' descends [^\n]*$"):
            connected(task, matching=matching, spec=symmetry(task))
        return
    found = connected(task, matching=matching, spec=symmetry(task))
    for name, value in found.summaries.items():
        needs_classes = name in OF_CLASSES or name.startswith("logit_") or name.endswith("_ece")
        unknown = needs_classes and task in WITHOUT_CLASSES
        assert np.isfinite(value) != unknown, name
    assert all(np.isfinite(value) for value in found.barriers.values())
    said = {entry.name for entry in found.left_out}
    assert ("logits" in said) == (task in WITHOUT_CLASSES)
    assert ("error" in said) == (task != "classification")
    assert ("sample" in said) == (task in TOKEN_TASKS)


def wanted_of(targets):
    return torch.cat([targets[:, 1:], torch.full_like(targets[:, :1], IGNORED)], 1)


@pytest.mark.slow
def test_stitching_on_tokens_is_a_network_of_two_halves():
    a, b, (ids, targets) = given("next-token", depth=2)
    found = connected("next-token", depth=2, measures=["stitching"]).tables["stitching"]
    wanted = wanted_of(targets)
    rows = dict(zip(zip(found["layer"], found["into"], strict=True), found["loss"], strict=True))
    half = features_of(a.eval(), ids, ["blocks.0"])[0]["blocks.0"]
    logits = b.eval().head(b.norm(b.blocks[1](half)))
    loss = F.cross_entropy(logits.flatten(0, 1), wanted.flatten(), ignore_index=IGNORED)
    assert rows["blocks.0", "b"] == pytest.approx(loss.item(), rel=1e-12)


def test_layer_barriers_and_similarity_on_tokens():
    a, b, (ids, targets) = given("next-token")
    wanted, counted = wanted_of(targets), wanted_of(targets) != IGNORED
    found = connected("next-token", measures=["layer-barriers", "similarity", "samples"])
    mixed, trained = blended(a, a, 0), a.eval()
    with torch.no_grad():
        mixed.head.weight.copy_((a.head.weight + b.head.weight) / 2)
        losses = [
            F.cross_entropy(m(ids).flatten(0, 1), wanted.flatten(), ignore_index=IGNORED).item()
            for m in (mixed, trained)
        ]
    table = found.tables["layer_barriers"]
    at = [
        i
        for i, row in enumerate(zip(table["layer"], table["rest"], strict=True))
        if row == ("head", "a")
    ]
    assert table["loss"][at] == pytest.approx(losses[0], rel=1e-12)
    assert table["loss_excess"][at] == pytest.approx(losses[0] - losses[1], rel=1e-9)
    of = [
        features_of(m, ids, ["blocks.0"])[0]["blocks.0"][counted]
        for m in (a.eval(), b.eval(), blended(a, b, 0.5))
    ]
    std_a, std_b, std = (x.std(0, correction=0) for x in of)
    ratio = std.square().sum() / ((std_a + std_b) / 2).square().sum()
    similar = found.tables["similarity"]
    at = similar["layer"].index("blocks.0")
    assert similar["variance_ratio"][at] == pytest.approx(ratio.item(), rel=1e-9)
    x, y, _ = (f - f.mean(0) for f in of)
    grams = [f @ f.T for f in (x, y)]
    hsic = [unbiased_hsic(k, m) for k, m in zip(grams, (grams[1], grams[0]), strict=True)]
    norms = [unbiased_hsic(k, k) for k in grams]
    assert similar["cka_ab"][at] == pytest.approx(hsic[0] / (norms[0] * norms[1]) ** 0.5, rel=1e-8)
    assert found.tables["samples"]["layer"].count("head") == counted.sum()


def test_wide_features_of_tokens(monkeypatch):
    """One token that counts stands for its sequence, whatever the batches."""
    monkeypatch.setattr("llfc.connectivity.measures.similarity.NARROW", 4)
    a, _, data = given("next-token")
    options = {"matching": None, "alphas": 3, "measures": ["similarity"], "task": "next-token"}
    ones = [
        llfc.connect(a, gpt(1, depth=1), test=data, batch_size=size, **options).tables["similarity"]
        for size in (250, 3)
    ]
    for name in ("cka_ab", "cka_a", "cka_b"):
        assert ones[0][name] == pytest.approx(ones[1][name], rel=1e-8)
    same = llfc.connect(a, a, test=data, **options).tables["similarity"]
    assert same["cka_ab"] == pytest.approx(1)


@pytest.mark.slow
def test_batches_of_different_lengths_are_compared_only_once_padded():
    ids, targets = tokens(8, 6)
    parts = [(ids[:4], targets[:4]), (ids[4:, :5], targets[4:, :5])]
    options = {"test": parts, "matching": None, "alphas": 3, "task": "next-token"}
    with pytest.raises(ValueError, match=r"must have one shape to be compared: pad them alike$"):
        llfc.connect(gpt(0), gpt(1), measures=["conditions"], **options)
    llfc.connect(gpt(0), gpt(1), measures=["stitching", "layer-barriers"], **options)


@pytest.mark.parametrize("task", TOKEN_TASKS)
def test_memory_is_that_of_a_batch(task):
    line = Line(gpt(0), gpt(1), np.linspace(0, 1, 3))
    probes = choose_probes(line.a, tokens(2, 6)[0])
    if not TASKS[task].whole:
        dims = token_dims(line.a, probes, tokens(2, 6)[0], 6)
        probes = [replace(probe, token=dims[probe.name]) for probe in probes]
    kept = []
    for count in (2, 20):
        walker = _Walker(line, probes, TASKS[task])
        with ExitStack() as stack:
            for model in (line.a, line.b, line.at(1)):
                stack.enter_context(tapped(model, probes, walker.receive))
            for _ in range(count):
                walker.batch(*tokens(5, 6), "test")
        moments = [m for of in walker.moments.moments.values() for m in (of.mean, of.squares)]
        held = [
            *moments,
            *vars(walker.sums).values(),
            *vars(walker.sums.networks).values(),
            *walker.ends["a"],
            *walker.products,
        ]
        kept.append(sum(x.numel() for x in held if isinstance(x, torch.Tensor)))
    assert kept[0] == kept[1]


@pytest.mark.parametrize(
    "task", slow_unless(("regression",), (*TOKEN_TASKS[:1], TOKEN_TASKS[-1], "regression"))
)
def test_outputs_are_summed_a_few_at_a_time(task, monkeypatch):
    """However few numbers are summed at once, what is found is the same."""
    options = {"alphas": 5, "correction": "repair", "measures": ["stitching"]}
    found = connected(task, **options)
    for numbers in (1, 50, 400):  # less than a sample, than a batch, than all positions of one
        for module in ("llfc.tasks", "llfc.connectivity.outputs"):
            monkeypatch.setattr(f"{module}.NUMBERS", numbers)
        few = connected(task, **options)
        for name, value in found.summaries.items():
            assert few.summaries[name] == pytest.approx(value, rel=1e-9, abs=1e-12, nan_ok=True)
        for name, column in found.curve.items():
            assert few.curve[name] == pytest.approx(column, rel=1e-12), name


def test_outputs_of_a_large_vocabulary_are_not_kept(monkeypatch):
    """Of 25 positions, no more outputs are alive than the ends' and the one at hand."""
    monkeypatch.setattr("llfc.connectivity.outputs.NUMBERS", 1)
    alive, most = [], []
    run = llfc.Task.run

    def counting(self, model, inputs):
        output = run(self, model, inputs)
        alive.append(weakref.ref(output.untyped_storage()))
        most.append(sum(1 for each in alive if each() is not None))
        return output

    monkeypatch.setattr(llfc.Task, "run", counting)
    connected("next-token", alphas=25)
    assert len(most) > 25
    assert max(most) <= 4
