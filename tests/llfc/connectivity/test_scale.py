"""Features of any size that float32 holds have the numbers that float64 gives them."""

import copy
import itertools

import numpy as np
import pytest
import torch
from torch import nn

import llfc
from llfc.connectivity import path
from llfc.connectivity.measures.registry import MEASURES
from llfc.connectivity.probes import products_between
from llfc.matching.overlap import overlap
from llfc.results import PROFILE
from tests.helpers.quick_cases import slow_unless
from tests.helpers.small_networks import blended, mlp, reference, samples

SCALES = 2.0**-83, 2.0**83  # 1e-25 and 1e25: exact, so that nothing but the scale changes
LAYERS = "linear0", "relu0", "linear1", "relu1", "linear2"
every_scale = pytest.mark.parametrize("scale", SCALES)
# Of the weights, whose scale is another one, and of time.
OF_WEIGHTS = "weight_", "matching_overlap", "matching_objective", "matching_certificate"


def scaled(seed, scale, dtype=torch.float32):
    """A network whose hidden features are `scale` times those at 1; its logits are the same."""
    model = mlp(seed).float()
    with torch.no_grad():
        for tensor in (model.linear0.weight, model.linear0.bias, model.linear1.bias):
            tensor *= scale
        model.linear2.weight /= scale
    return model.to(dtype)


def data(dtype=torch.float32):
    images, labels = samples(30, (6,))
    return images.float().to(dtype), labels


def connected(scale, **given):
    options = {"matching": None, "correction": "none", "measures": (), "alphas": 5}
    test = data()
    both = {"test": test, "train": test, "batch_size": 12}
    return llfc.connect(scaled(0, scale), scaled(1, scale), **both, **options | given)


def check_profiles(found, models, images, labels):
    """Against all features in memory, in float64; numpy's norms and products."""
    alpha = found.curve["alpha"]
    curve, rows = reference(models, alpha, images, labels, LAYERS)
    assert found.curve["test_loss"] == pytest.approx(curve[0], rel=1e-5)
    for layer in found.layers:
        for column in (*PROFILE, "baseline", "baseline_std"):
            expected = [row[column] for row in rows[layer.name]]
            ours = np.broadcast_to(getattr(layer, column), len(alpha))
            assert ours == pytest.approx(expected, rel=1e-5, abs=2e-6), (layer.name, column)


@every_scale
@pytest.mark.parametrize("on_gpu", [False, True], ids=["cpu", "as on a gpu"])
def test_layers_are_what_stored_float64_features_give(scale, on_gpu, monkeypatch):
    if on_gpu:  # where products are looked through after a batch, which is then walked again
        begin = path._Walker.__init__

        def begun(self, *given):
            begin(self, *given)
            self.careful = False

        monkeypatch.setattr(path._Walker, "__init__", begun)
    found = connected(scale)
    a, b = (scaled(seed, scale, torch.float64) for seed in (0, 1))
    images, labels = data(torch.float64)
    check_profiles(found, lambda p: blended(a, b, found.curve["alpha"][p]), images, labels)
    assert found.summaries["llfc_zero_features"] == 0
    assert found.summaries["logit_identity_residual"] < 1e-6


@every_scale
def test_one_end_alone(scale):
    """A's features are ordinary and B's are not: neither may vanish beside the other."""
    test = data()
    given = {"matching": None, "correction": "none", "measures": (), "alphas": 3}
    a, b = scaled(0, 1.0), scaled(1, scale)
    images, labels = data(torch.float64)
    with torch.no_grad():  # every head reads features of the larger one, and its logits are finite
        for model in (a, b):
            model.linear2.weight /= max(scale, 1 / scale) * model.linear2.weight.abs().max()
    found = llfc.connect(a, b, test=test, **given)
    exact = {0: a, 2: b, 1: blended(a, b, 0.5)}  # the blend is rounded to float32 where it is made
    models = {p: copy.deepcopy(model).double() for p, model in exact.items()}
    check_profiles(found, models.__getitem__, images, labels)


@every_scale
def test_one_image_alone(scale):
    """A network without biases maps images of this size to features of this size."""
    a, b = (mlp(seed, bias=False).float() for seed in (0, 1))
    images, labels = data()
    images[7] *= scale
    given = {"matching": None, "correction": "none", "alphas": 3, "measures": ("samples",)}
    found = llfc.connect(a, b, test=(images, labels), **given)
    usual = llfc.connect(a, b, test=data(), **given)
    for column in ("cos_error", "baseline", "coef"):
        ours, theirs = (each.tables["samples"][column] for each in (found, usual))
        assert ours == pytest.approx(theirs, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize(
    ("scale", "correction"),
    slow_unless(
        [(SCALES[0], "repair"), (SCALES[1], "none")],
        [*itertools.product(SCALES, ["none", "repair", "rescale"])],
    ),
)
def test_measures_and_corrections_do_not_change_with_the_scale(scale, correction):
    given = {"measures": tuple(MEASURES), "correction": correction}
    found, usual = connected(scale, **given), connected(1.0, **given)
    for name, value in usual.scalars().items():
        if not name.startswith(OF_WEIGHTS) and "seconds" not in name:
            ours = found.scalars()[name]
            assert ours == pytest.approx(value, rel=1e-4, abs=1e-6, nan_ok=True), name


@every_scale
def test_wide_features_have_the_same_cka(scale, monkeypatch):
    monkeypatch.setattr("llfc.connectivity.measures.similarity.NARROW", 4)
    found, usual = (connected(s, measures=("similarity",)).tables["similarity"] for s in (scale, 1))
    for column in ("variance_ratio", "cka_ab", "cka_a", "cka_b"):
        assert found[column] == pytest.approx(usual[column], rel=1e-5), column


@pytest.mark.parametrize("scale", slow_unless(SCALES[:1], SCALES))
@pytest.mark.parametrize("matching", ["activations", "activations-uncentred"])
def test_matching_by_activations_does_not_change_with_the_scale(scale, matching):
    images, _ = data()
    pairs = [[scaled(seed, s) for seed in (0, 1)] for s in (scale, 1.0)]
    found, usual = (
        llfc.match(matching, a, b, llfc.permutation_spec(a, images[:2]), [images]) for a, b in pairs
    )
    assert found == usual
    assert found.moved()


@pytest.mark.parametrize("scale", slow_unless(SCALES[:1], SCALES))
@pytest.mark.parametrize("matching", ["weights", "frank-wolfe", "sinkhorn"])
def test_matching_by_weights_does_not_change_with_that_of_all_weights(scale, matching, monkeypatch):
    monkeypatch.setattr(overlap, "DOUBLE_BELOW", 0)
    models = [mlp(seed, bias=False).float() for seed in (0, 1)]
    spec = llfc.permutation_spec(models[0], data()[0][:2])
    usual = llfc.match(matching, *models, spec)
    with torch.no_grad():
        for parameter in (p for model in models for p in model.parameters()):
            parameter *= scale
    found = llfc.match(matching, *models, spec)
    assert found == usual
    assert found.moved()
    assert found.record["overlap"] == pytest.approx(usual.record["overlap"] * scale**2, rel=1e-4)
    assert found.record["certificate"] == pytest.approx(usual.record["certificate"], rel=1e-4)


@every_scale
def test_straight_through_takes_steps_in_proportion(scale):
    """Of layers whose lengths and gradients are 1e50 apart."""
    images, _ = data()
    a, b = (scaled(seed, scale) for seed in (0, 1))
    found = llfc.match("straight-through", a, b, llfc.permutation_spec(a, images[:2]), [images])
    assert found.record["objective"] >= found.record["objective_before"]


def test_a_variance_that_running_statistics_cannot_hold_is_refused():
    def network(seed):
        first, *others = mlp(seed).float()
        return nn.Sequential(first, nn.BatchNorm1d(8), *others)

    images, labels = data()
    a, b = network(0), network(1)
    with torch.no_grad():
        b[0].weight *= 2.0**83
    with pytest.raises(ValueError, match=r"the variance of what '1' normalises is not finite at"):
        llfc.connect(a, b, test=(images, labels), train=(images, labels), matching=None)


def test_zero_features_are_zero_to_the_bit():
    """What float32 holds is not taken again, or a zero feature's neighbours would move."""
    a, b, f = (torch.randn(3, 50, generator=torch.Generator().manual_seed(i)) for i in range(3))
    a[0], f[1] = 0, 0
    found = products_between(f, a, b, 0.5)
    plain = products_between(f, a, b, 0.5, careful=False)
    assert torch.equal(found, plain)
    assert (found[:3, 1] == 0).all()
