"""The whole call: what it gives, what it leaves alone, what it refuses, and that it repeats."""

import copy
import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

import llfc
from llfc.connectivity.corrections import CORRECTIONS
from llfc.results import BARRIERS, CURVE, connection_from_json, connection_to_json
from tests.small import CLASSES, convnet, mlp, samples

SUMMARIES = {
    *(
        f"{split}_{metric}_{kind}"
        for split in ("train", "test")
        for metric in ("loss", "error")
        for kind in ("a", "b", "mid", "gap", "area")
    ),
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
    *(f"commutativity_{kind}_mean" for kind in ("dist_com", "dist_w", "dist_h")),
    *("commutativity_dist_com_max", "commutativity_ratio_shuffled"),
}
# Where units were permuted, against B as it was.
UNMATCHED = {"additivity_ratio_unmatched", "commutativity_ratio_unmatched"}


def connected(make=mlp, shape=(6,), a=0, b=1, **options):
    given = {"matching": None, "alphas": 5} | options
    given.setdefault("test", samples(30, shape, 1))
    given.setdefault("train", samples(24, shape, 2))
    return llfc.connect(make(a), make(b), **given)


@pytest.mark.parametrize("matching", [None, "none", "weights", "activations"])
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


@pytest.mark.parametrize("correction", sorted(CORRECTIONS))
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


SCRIPT = """
from tests.test_connect import connected
from tests.small import convnet
from llfc.results import connection_to_json
found = connected(convnet, (2, 7, 7), matching="weights", correction="reset")
found.matching.pop("seconds")
print(connection_to_json(found))
"""


def test_two_processes_agree_to_the_last_digit():
    runs = [
        subprocess.run(
            [sys.executable, "-c", SCRIPT],
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONHASHSEED": seed, "OMP_NUM_THREADS": "1", "PYTHONPATH": "."},
        ).stdout
        for seed in ("1", "2")
    ]
    assert runs[0] == runs[1]
    assert json.loads(runs[0])["curve"]["alpha"][-1] == 1


# Refusals


def line_of(*models, **options):
    given = {"test": samples(10, (6,)), "train": samples(10, (6,)), "matching": None} | options
    with pytest.raises(ValueError, match=r".") as refused:
        llfc.connect(*models, **given)
    text = str(refused.value)
    assert "\n" not in text
    return text


def test_options_that_are_none_are_refused():
    pair = mlp(0), mlp(1)
    assert line_of(*pair, correction="rest") == (
        f"unknown correction 'rest': choose from {', '.join(sorted(CORRECTIONS))};"
        " did you mean 'reset'?"
    )
    assert line_of(*pair, matching="weight").startswith("unknown matching 'weight': choose from ")
    assert line_of(*pair, measures=["stiching"]).endswith("; did you mean 'stitching'?")
    for what in ("measures", "probes"):
        assert line_of(*pair, **{what: 3}) == f"{what} must be a list of names, got 3"
        assert line_of(*pair, **{what: ["relu0", 3]}) == (
            f"{what} must be a list of names, got 3 among them"
        )
    assert line_of(*pair, probes=["linear9"]).startswith("unknown probe 'linear9': choose from ")
    for alphas in (4, 1, -3):
        assert line_of(*pair, alphas=alphas) == f"alphas must be odd and at least 3, got {alphas}"
    assert line_of(*pair, alphas=[0, 0.5, 0.4, 1]) == (
        "alpha must ascend from 0 to 1, got [0.0, 0.5, 0.4, 1.0]"
    )
    assert line_of(*pair, alphas=[0.0, float("nan"), 1.0]) == (
        "alpha must ascend from 0 to 1, got [0.0, nan, 1.0]"
    )
    assert line_of(*pair, alphas=[0, 1]) == (
        "alpha must be a list of at least 3 positions, got [0.0, 1.0]"
    )


def test_data_that_are_none_are_refused():
    pair = mlp(0), mlp(1)
    images, labels = samples(10, (6,))
    assert line_of(*pair, test=(images[:0], labels[:0])) == "test has no images"
    assert line_of(*pair, test=[]) == "test has no images"
    assert line_of(*pair, train=(images, labels + 1)) == "train labels must be in [0, 4), got 4"
    assert line_of(convnet(0), convnet(1), test=samples(9, (2, 7, 7)), train=None) == (
        "correction 'reset' needs train images for the batch norms, got None"
    )
    assert line_of(*pair, train=None, matching="activations").startswith(
        "activation matching needs batches"
    )


class Renamed(nn.Sequential):
    pass


def test_two_architectures_are_refused():
    def change(**modules):
        model = mlp(1)
        for name, module in modules.items():
            setattr(model, name, module)
        return model

    differ = "models differ in architecture: "
    wide = mlp(1, sizes=(6, 9, 7, CLASSES))
    settings = "Linear(in_features=6, out_features={}, bias=True)"
    assert line_of(mlp(0), wide) == (
        f"{differ}module 'linear0' is {settings.format(8)} in A and {settings.format(9)} in B"
    )
    assert line_of(mlp(0), mlp(1, sizes=(6, 8, CLASSES))) == (
        f"{differ}module 'relu1' is in A and not in B"
    )
    assert line_of(mlp(0), change(relu1=nn.Tanh())) == (
        f"{differ}module 'relu1' is ReLU() in A and Tanh() in B"
    )
    assert line_of(mlp(0), mlp(1).float()) == (
        f"{differ}tensor 'linear0.weight' is (8, 6) torch.float64 on cpu in A"
        " and (8, 6) torch.float32 on cpu in B"
    )
    assert line_of(mlp(0), Renamed(*mlp(1))).startswith(differ)


def test_what_has_no_part_in_a_forward_pass_may_differ():
    a, b = convnet(0), convnet(1)
    b.drop.p, b.norm.momentum, b.relu.inplace = 0.1, 0.5, True
    pair = samples(10, (2, 7, 7))
    llfc.connect(a, b, test=pair, train=pair, matching=None, alphas=3)


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"matching": 3}, "matching must be a name, a Permutation or None, got a int"),
        ({"correction": None}, "unknown correction None: choose from none, repair"),
        ({"batch_size": 2.5}, "batch_size must be a whole number >= 1, got 2.5"),
        ({"probes": "linear9"}, "unknown probe 'linear9': choose from linear0"),
        ({"test": None}, "test must be (images, labels), two tensors, or an iterable of such"),
        ({"test": torch.ones(4, 6)}, "got a Tensor"),
        ({"test": (torch.ones(4, 6).double(), [0, 1, 2, 3])}, "of 2 parts: tensor (4, 6), list"),
        ({"test": (np.ones((4, 6)), np.zeros(4, int))}, "of 2 parts: ndarray, ndarray"),
        ({"test": [torch.ones(4, 6).double()] * 3}, "got a batch that is a Tensor"),
        ({"test": torch.utils.data.TensorDataset(*samples(4, (6,)))}, "got a TensorDataset"),
        ({"test": (torch.ones(6).double(), torch.tensor(0))}, "tensor (6,), tensor ()"),
        (
            {"test": (torch.ones(4, 6, dtype=torch.uint8), torch.zeros(4, dtype=torch.int64))},
            "test images must fit the model, got (2, 6) torch.uint8: ",
        ),
        (
            {"test": (torch.ones(4, 5).double(), torch.zeros(4, dtype=torch.int64))},
            "test images must fit the model, got (2, 5) torch.float64: ",
        ),
    ],
    ids=map(str, range(13)),
)
def test_what_is_of_the_wrong_kind_is_refused_in_one_line(options, line, capfd):
    assert line in line_of(mlp(0), mlp(1), **options)
    assert capfd.readouterr() == ("", "")  # torch.export would print its own trace of a bad shape


@pytest.mark.parametrize(
    ("wrapped", "line"),
    [
        (nn.DataParallel, "must be the network itself, got DataParallel: give its .module"),
        (
            lambda model: torch.compile(model, backend="eager"),
            "must be the network itself, got OptimizedModule: give its ._orig_mod",
        ),
        (lambda model: model.state_dict(), "must be a torch.nn.Module, got OrderedDict"),
    ],
    ids=["data parallel", "compiled", "state dict"],
)
def test_what_is_no_network_itself_is_refused(wrapped, line):
    a, b = mlp(0), mlp(1)
    images, _ = samples(4, (6,))
    spec = llfc.permutation_spec(a, images)
    assert line_of(a, wrapped(b)) == f"model_b {line}"
    for call in (
        lambda: llfc.match("weights", wrapped(a), b, spec),
        lambda: llfc.permutation_spec(wrapped(a), images),
    ):
        with pytest.raises(ValueError, match=line.replace(".", r"\.")):
            call()


def test_batches_and_inputs_that_do_not_fit_are_refused():
    a, b = mlp(0), mlp(1)
    images, labels = samples(4, (6,))
    spec = llfc.permutation_spec(a, images)
    with pytest.raises(ValueError, match="batches must be inputs as the models take them: "):
        llfc.match("activations", a, b, spec, batches=[(images, labels)])
    with pytest.raises(ValueError, match=r"example inputs must fit the model, got \(4, 5\) "):
        llfc.permutation_spec(a, images[:, :5])
    with pytest.raises(ValueError, match="spec must be a PermutationSpec, got a NoneType"):
        llfc.match("weights", a, b, None)
