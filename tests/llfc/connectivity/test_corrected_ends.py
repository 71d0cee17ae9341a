"""The two conventions: curves leave A and B as trained, all that compares features corrects them.

A correction that measures statistics anew moves A and B too. What is compared with a blend is then
corrected as the blend is, or the difference would be the ends' own.
"""

import copy
import itertools

import numpy as np
import pytest
import torch

import llfc
from llfc.connectivity.barrier import chord_barrier, mean_barrier
from llfc.connectivity.blend import Line, line_positions
from llfc.connectivity.corrections import CORRECTIONS
from llfc.connectivity.path import walk
from llfc.connectivity.samples import Batches
from tests.helpers.in_memory_reference import reset
from tests.helpers.quick_cases import slow_unless
from tests.helpers.small_networks import blended, convnet, loss_and_error, mlp, reference, samples

SHAPE = (2, 7, 7)
TEST, TRAIN = samples(40, SHAPE, 1), samples(36, SHAPE, 2)
MEASURES = ["conditions", "layer-barriers", "samples", "similarity"]
every_correction = pytest.mark.parametrize("correction", sorted(CORRECTIONS))


def connected(a, b, correction="reset", **options):
    given = {"test": TEST, "train": TRAIN, "matching": None, "alphas": 5, "batch_size": 18}
    return llfc.connect(a, b, correction=correction, **given | options)


def close_pair():
    """Two networks that all but agree, with statistics that are not those of the data."""
    a = convnet(0)
    b = copy.deepcopy(a)
    with torch.no_grad():
        for parameter, other in zip(b.parameters(), convnet(1).parameters(), strict=True):
            parameter.lerp_(other, 1e-3)
    return a, b


@pytest.mark.parametrize(
    ("correction", "dtype"),
    slow_unless(
        [("repair", torch.float32)],
        [*itertools.product(sorted(CORRECTIONS), [torch.float64, torch.float32])],
    ),
)
def test_a_network_and_itself_agree_under_every_correction(correction, dtype):
    a = convnet(0).to(dtype).eval()
    data = {"train": (TRAIN[0].to(dtype), TRAIN[1])}
    with torch.no_grad():  # what it says itself, so that any other statistics are worse
        data["test"] = TEST[0].to(dtype), a(TEST[0].to(dtype)).argmax(1)
    found = connected(a, a, correction, measures=MEASURES, **data)
    scalars = found.scalars()
    assert all(abs(layer.cos_error).max() < 1e-15 for layer in found.layers)
    assert all((layer.residual == 0).all() and (layer.coef == 1).all() for layer in found.layers)
    assert scalars["llfc_ratio_mean"] == scalars["logit_identity_residual"] == 0
    for name in ("chord", "mean", "gap"):
        assert scalars[f"test_loss_{name}_corrected"] == 0
        assert scalars[f"train_error_{name}_corrected"] == 0
    assert (abs(found.tables["samples"]["cos_error"]) < 1e-15).all()
    assert scalars["layer_barrier_max"] == scalars["layer_barrier_mean"] == 0
    for name in ("variance_ratio", "cka_ab", "cka_a", "cka_b"):
        assert found.tables["similarity"][name] == pytest.approx(1)
    floor = max(0, scalars["test_loss_a_corrected"] - scalars["test_loss_a"])
    assert scalars["test_loss_floor"] == found.barriers["test_loss_chord"] == floor
    assert (floor > 1e-3) == (correction == "reset")


def test_close_networks_have_their_own_error_and_not_that_of_their_statistics():
    a, b = close_pair()
    found = connected(a, b)
    alpha, (images, labels) = found.curve["alpha"], TEST
    alike = [blended(a, b, weight) for weight in alpha]
    order = torch.randperm(len(TRAIN[0]), generator=llfc.seeds.stream(0, "order/statistics"))
    for model in alike:
        reset(model, TRAIN[0][order].split(18))
    names = [layer.name for layer in found.layers]
    curve, rows = reference(alike.__getitem__, alpha, images, labels, names)
    uncorrected = [a.eval(), *alike[1:-1], b.eval()]
    trained, of_gap = reference(uncorrected.__getitem__, alpha, images, labels, names)
    for layer in found.layers:
        expected = np.array([row["cos_error"] for row in rows[layer.name]])
        assert layer.cos_error == pytest.approx(expected, abs=1e-12)
        assert layer.baseline == pytest.approx(rows[layer.name][0]["baseline"], abs=1e-12)
        assert layer.cos_error[2] < 1e-3 * of_gap[layer.name][2]["cos_error"]
    scalars = found.scalars()
    for at, metric in enumerate(("loss", "error")):
        for kind, barrier in (("chord", chord_barrier), ("mean", mean_barrier)):
            name = f"test_{metric}_{kind}"
            assert found.barriers[name] == pytest.approx(barrier(alpha, trained[at]), abs=1e-12)
            expected = barrier(alpha, curve[at])
            assert scalars[f"{name}_corrected"] == pytest.approx(expected, abs=1e-12)
        for end, position in (("a", 0), ("b", -1)):
            assert scalars[f"test_{metric}_{end}"] == pytest.approx(trained[at][position])
            corrected = scalars[f"test_{metric}_{end}_corrected"]
            assert corrected == pytest.approx(curve[at][position])
    assert scalars["lemma1_slack"] == pytest.approx(curve[1][0] + curve[1][-1] - max(curve[1]))


def test_the_logit_identity_is_of_networks_that_are_corrected_alike():
    """Loss and features of the same networks: it holds to rounding, and has no gap at the ends."""
    found = connected(convnet(0), convnet(1))
    assert found.summaries["logit_identity_residual"] < 1e-12
    for part in ("excess", "d", "e"):
        assert found.tables["logits"][part][[0, -1]] == pytest.approx([0, 0], abs=1e-12)


def test_a_and_b_are_as_trained_beside_their_ensemble():
    a, b = convnet(0).eval(), convnet(1).eval()
    found = connected(a, b)
    with torch.no_grad():
        logits = [model(TEST[0]) for model in (a, b)]
    expected = [loss_and_error(each, TEST[1])[0] for each in (*logits, sum(logits) / 2)]
    assert found.tables["ensemble"]["loss"][[0, 1, 3]] == pytest.approx(expected)


@pytest.mark.slow
def test_conditions_look_at_corrected_networks():
    """What the networks' statistics were does not matter, and a permuted network stays the same."""
    a, b = convnet(0), convnet(1)
    others = copy.deepcopy((a, b))
    for model in others:
        for norm in (model.norm, model.block1.norm, model.block2.norm):
            norm.running_mean.add_(0.3)
            norm.running_var.mul_(2)
    spec = llfc.permutation_spec(a.eval(), TEST[0][:2])
    planted = spec.random(seed=3)
    tables = []
    for one, other in ((a, b), others):
        found = connected(one, other, matching=planted, spec=spec)
        tables.append((found.tables["additivity"], found.tables["commutativity"]))
        assert "unmatched" in found.tables["additivity"]["pair"]
    for first, second in zip(*tables, strict=True):
        for column, values in first.items():
            if not isinstance(values, list):
                assert values == pytest.approx(second[column], rel=1e-9), column


@pytest.mark.parametrize("correction", ["none", "repair", "rescale"])
@pytest.mark.parametrize("make", [mlp, convnet])
def test_where_the_ends_are_owed_nothing_both_conventions_are_one(make, correction):
    shape = (6,) if make is mlp else SHAPE
    data = {"test": samples(30, shape, 1), "train": samples(24, shape, 2)}
    found = connected(make(0), make(1), correction, **data).scalars()
    for name, value in found.items():
        if name.endswith("_corrected"):
            assert value == found[name.removesuffix("_corrected")], name
        assert not name.endswith("_floor") or value == 0


@pytest.mark.parametrize(("correction", "more"), [("none", 0), ("repair", 0), ("reset", 2)])
@pytest.mark.parametrize("make", [mlp, convnet])
def test_a_walk_runs_the_ends_once_more_only_where_a_correction_changes_them(
    make, correction, more, monkeypatch
):
    shape = (6,) if make is mlp else SHAPE
    train = Batches("train", samples(20, shape), 10, torch.device("cpu"))
    line = Line(make(0), make(1), line_positions(5))
    line.correct(CORRECTIONS[correction](line, train, train.example(), line.every))
    calls, forward = [], torch.nn.Linear.forward
    monkeypatch.setattr(
        torch.nn.Linear, "forward", lambda self, x: (calls.append(self), forward(self, x))[1]
    )
    walk(line, train)
    layers = sum(isinstance(module, torch.nn.Linear) for module in line.a.modules())
    assert len(calls) == layers * 2 * (5 + (more if make is convnet else 0))
