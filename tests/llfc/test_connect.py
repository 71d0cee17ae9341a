"""The whole call: what it gives, what it leaves alone, and that it repeats."""

import copy
import json
import subprocess
import sys

import numpy as np
import pytest
import torch

import llfc
from llfc.connectivity.corrections import CORRECTIONS
from llfc.results import BARRIERS, CURVE, connection_from_json, connection_to_json
from tests.helpers.quick_cases import slow_unless
from tests.helpers.small_networks import CLASSES, convnet, mlp, samples

SUMMARIES = {
    *(
        f"{split}_{metric}_{kind}"
        for split in ("train", "test")
        for metric in ("loss", "error")
        for kind in ("a", "b", "mid", "gap", "area")
    ),
    *(
        f"{split}_{metric}_{kind}"
        for split in ("train", "test")
        for metric in ("loss", "error")
        for kind in (*(f"{k}_corrected" for k in ("a", "b", "chord", "mean", "gap")), "floor")
    ),
    "correction_layers",
    "test_error_mean_se",
    *(f"llfc_{kind}" for kind in ("error_mean", "error_max", "error_last", "baseline_mean")),
    *(f"llfc_{kind}" for kind in ("ratio_mean", "coef_mean", "residual_mean", "zero_features")),
    "lemma1_slack",
    "test_error_chance",
    *("logit_identity_residual", "logit_d_mid", "logit_j_mid", "logit_e_mid"),
    *(f"{network}_ece" for network in ("a", "b", "blend", "ensemble")),
    *("ensemble_loss", "ensemble_error", "disagreement"),
    *("weight_distance", "weight_distance_before", "weight_cos", "weight_cos_before"),
    *(f"additivity_{kind}" for kind in ("dist_mean", "dist_max", "cos_mean", "coef_mean")),
    *("additivity_signs_mean", "additivity_ratio_shuffled"),
    *(
        f"{raw}commutativity_{kind}"
        for raw in ("", "raw_")
        for kind in (
            *("dist_com_mean", "dist_com_max", "dist_w_mean", "dist_h_mean"),
            "ratio_shuffled",
        )
    ),
    *(f"norms_{kind}" for kind in ("dist_mean", "dist_max", "cos_mean", "coef_mean")),
    "norms_ratio_shuffled",
}
# Where units were permuted, against B as it was.
CONDITIONS = ("additivity", "commutativity", "raw_commutativity", "norms")
UNMATCHED = {f"{table}_ratio_unmatched" for table in CONDITIONS}


def connected(make=mlp, shape=(6,), a=0, b=1, **options):
    given = {"matching": None, "alphas": 5} | options
    given.setdefault("test", samples(30, shape, 1))
    given.setdefault("train", samples(24, shape, 2))
    return llfc.connect(make(a), make(b), **given)


@pytest.mark.parametrize(
    "matching", slow_unless(["activations"], [None, "none", "weights", "activations"])
)
def test_everything_is_there(matching):
    found = connected(convnet, (2, 7, 7), matching=matching, correction="reset", alphas=7)
    assert tuple(found.curve) == CURVE
    assert all(column.shape == (7,) for column in found.curve.values())
    assert found.curve["alpha"].tolist() == np.linspace(0, 1, 7).tolist()
    assert tuple(found.barriers) == BARRIERS
    moved = found.matching.get("moved", 0) > 0
    assert moved == (matching in ("weights", "activations"))
    assert set(found.summaries) == SUMMARIES | (UNMATCHED if moved else set())
    assert [layer.name for layer in found.layers] == ["relu", "block1", "block2", "head"]
    assert all(np.isfinite(value) for value in found.scalars().values())
    assert bool(found.matching) == (matching is not None)
    again = connection_from_json(connection_to_json(found))
    assert again.scalars() == found.scalars()
    assert connection_to_json(again) == connection_to_json(found)


def test_a_permuted_network_is_the_same_network():
    """Matching brings it back: no barrier, no error anywhere; without, there is one."""
    a = mlp(0, sizes=(6, 16, 12, CLASSES))
    images, labels = samples(200, (6,))
    spec = llfc.permutation_spec(a, images[:2])
    b = copy.deepcopy(a)
    planted = spec.random(seed=3)
    b.load_state_dict(spec.apply(planted, a.state_dict()))
    given = {"test": (images, labels), "alphas": 5, "spec": spec}
    apart = llfc.connect(a, b, matching=None, **given)
    assert apart.summaries["llfc_error_mean"] > 0.01
    for matching in ("weights", spec.inverse(planted)):
        found = llfc.connect(a, b, matching=matching, **given)
        assert found.barriers["test_loss_chord"] < 1e-12
        assert abs(found.summaries["llfc_error_max"]) < 1e-14
        assert found.curve["test_loss"][-1] == pytest.approx(apart.curve["test_loss"][-1])


def test_a_network_and_itself():
    found = connected(convnet, (2, 7, 7), b=0, matching="weights", correction="none")
    assert all(value == 0 for value in found.barriers.values())
    assert found.summaries["llfc_ratio_mean"] == 0
    assert found.summaries["llfc_coef_mean"] == 1


def test_without_training_data_the_train_columns_are_not_numbers():
    found = connected(train=None)
    assert np.isnan(found.curve["train_loss"]).all()
    assert np.isnan(found.curve["train_error"]).all()
    for name, value in found.scalars().items():
        assert np.isnan(value) == name.startswith("train_"), name


@pytest.mark.parametrize("correction", slow_unless(["repair"], sorted(CORRECTIONS)))
def test_models_are_never_modified(correction):
    a, b = convnet(0).train(), convnet(1).eval()
    before = copy.deepcopy((a.state_dict(), b.state_dict()))
    images, labels = samples(30, (2, 7, 7))
    pair = (images, labels)
    kept = images.clone()
    llfc.connect(a, b, test=pair, train=pair, matching="weights", correction=correction, alphas=3)
    assert torch.equal(images, kept)
    for model, state, training in zip((a, b), before, (True, False), strict=True):
        assert all(module.training == training for module in model.modules())
        assert all(parameter.requires_grad for parameter in model.parameters())
        assert not any(module._forward_hooks for module in model.modules())
        for name, value in model.state_dict().items():
            assert torch.equal(value, state[name]), name


def test_batches_and_tensors_are_the_same_data():
    images, labels = samples(30, (2, 7, 7))
    parts = list(zip(images.split(10), labels.split(10), strict=True))
    whole = connected(convnet, (2, 7, 7), test=(images, labels), train=(images, labels))
    other = connected(convnet, (2, 7, 7), test=parts, train=[(images, labels)])
    for name, value in whole.scalars().items():
        if not name.endswith("ratio_shuffled"):  # images are shuffled within a batch
            assert other.scalars()[name] == pytest.approx(value, rel=1e-9, abs=1e-9), name


def test_positions_may_be_given():
    alphas = [0, 0.1, 0.45, 0.9, 1]
    found = connected(alphas=alphas)
    even = connected(alphas=np.linspace(0, 1, 21))
    assert found.curve["alpha"].tolist() == alphas
    assert found.curve["test_loss"] == pytest.approx(even.curve["test_loss"][[0, 2, 9, 18, 20]])
    assert found.summaries["test_loss_mid"] == found.curve["test_loss"][2]


def test_probes_may_be_given():
    found = connected(probes=("linear1", "relu*"))
    assert [layer.name for layer in found.layers] == ["relu0", "linear1", "relu1"]
    assert [layer.name for layer in connected(probes="linear1").layers] == ["linear1"]


def test_one_measure_may_be_named_and_none_is_taken_twice():
    one, twice = (connected(measures=names) for names in ("stitching", ["stitching"] * 2))
    assert list(one.tables) == list(twice.tables) == ["logits", "ensemble", "stitching"]


def without_time():
    """All that is found of a pair but for how long it took."""
    found = connected(convnet, (2, 7, 7), matching="weights", correction="reset")
    found.matching.pop("seconds")
    return connection_to_json(found)


@pytest.mark.slow
def test_two_processes_agree_to_the_last_digit():
    """This one, and one where strings have other hashes; with as many threads."""
    code = "from tests.llfc.test_connect import without_time; print(without_time())"
    threads = {"OMP_NUM_THREADS": f"{torch.get_num_threads()}", "PYTHONPATH": "."}
    there = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONHASHSEED": "1", **threads},
    ).stdout.strip()
    assert there == without_time()
    assert json.loads(there)["curve"]["alpha"][-1] == 1


@pytest.mark.slow
@pytest.mark.parametrize("correction", ["reset", "repair"])
def test_corrections_look_at_the_images_for_statistics(correction):
    shape = (2, 7, 7)
    train, others = samples(24, shape, 2), samples(20, shape, 3)
    given = {"correction": correction, "matching": None}
    found = connected(convnet, shape, **given, train=train, statistics=others).curve
    for split, images in (("train", train), ("test", samples(30, shape, 1))):
        # No images but the others are given for training data, and these are evaluated on.
        right, wrong = (
            connected(convnet, shape, **given, train=source, test=images).curve["test_loss"]
            for source in (others, train)
        )
        assert found[f"{split}_loss"].tolist() == right.tolist()
        assert ((right == wrong) == [True, False, False, False, True]).all()  # the test can fail


@pytest.mark.slow
def test_matchers_look_at_the_training_images_whatever_the_images_for_statistics():
    shape = (2, 7, 7)
    train, others = samples(24, shape, 2), samples(20, shape, 3)
    found, same, other = (
        {**connected(convnet, shape, matching="activations", **given).matching, "seconds": 0}
        for given in (
            {"train": train, "statistics": others},
            {"train": train},
            {"train": others},
        )
    )
    assert found == same != other


def test_images_for_statistics_alone_are_enough_for_a_correction():
    shape = (2, 7, 7)
    samples_ = samples(24, shape, 2)
    alone = connected(convnet, shape, train=None, statistics=samples_)
    with_train = connected(convnet, shape, train=samples_)
    assert alone.curve["test_loss"].tolist() == with_train.curve["test_loss"].tolist()
    assert np.isnan(alone.curve["train_loss"]).all()


@pytest.mark.slow
def test_images_in_memory_that_lie_class_by_class_are_mixed_for_statistics():
    shape = (2, 7, 7)
    images, _ = samples(40, shape, 2)
    labels = torch.arange(40) // 10
    images = images + 2 * labels[:, None, None, None]
    sorted_, whole = {"train": (images, labels)}, {"statistics": [(images, labels)]}
    given = {"batch_size": 10, "correction": "reset", "test": samples(30, shape, 1)}
    mixed = connected(convnet, shape, **given, **sorted_).curve["test_loss"][2]
    right = connected(convnet, shape, **given, **sorted_, **whole).curve["test_loss"][2]
    parts = [(part, label) for part, label in zip(images.split(10), labels.split(10), strict=True)]
    wrong = connected(convnet, shape, **given, train=parts).curve["test_loss"][2]
    assert abs(mixed - right) < abs(wrong - right) / 4
