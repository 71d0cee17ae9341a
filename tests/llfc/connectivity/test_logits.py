"""The loss on the line taken apart, calibration and disagreement, against plain numpy."""

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.special import logsumexp, softmax

import llfc
from llfc.connectivity import path
from llfc.connectivity.logits import BINS, NETWORKS
from llfc.connectivity.outputs import BatchOutputs
from llfc.tasks import CLASSIFICATION
from tests.helpers.small_networks import CLASSES, blended, convnet, loss_and_error, mlp, samples

ALPHA = np.linspace(0, 1, 5)


def drawn(count=60, seed=0, scale=3.0):
    generator = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(len(ALPHA), count, CLASSES, generator=generator).double()
    return logits, torch.randint(CLASSES, (count,), generator=generator)


def batch_of(alpha, logits, labels, **options):
    batch = BatchOutputs(alpha, (logits[0], logits[-1]), labels, CLASSIFICATION, **options)
    for output in logits:
        batch.add(output)
    return batch


def sums_of(logits, labels, parts=1):
    alpha = torch.from_numpy(ALPHA)
    each = zip(logits.tensor_split(parts, 1), labels.tensor_split(parts), strict=True)
    first, *rest = (batch_of(alpha, z, y).sums() for z, y in each)
    for sums in rest:
        first = first.merged(sums)
    return first


def cross_entropies(logits, labels):
    z = logits.numpy()
    return (logsumexp(z, -1) - np.take_along_axis(z, labels.numpy()[None, :, None], -1)[..., 0]).T


@pytest.mark.parametrize("parts", [1, 7])
def test_the_parts_are_what_they_are_defined_as_and_sum_to_the_excess(parts):
    logits, labels = drawn()
    z, y = logits.numpy(), labels.numpy()
    loss = cross_entropies(logits, labels).mean(0)
    table = sums_of(logits, labels, parts).decomposition(ALPHA, loss)
    chord = (1 - ALPHA) * loss[0] + ALPHA * loss[-1]
    between = (1 - ALPHA)[:, None, None] * z[0] + ALPHA[:, None, None] * z[-1]
    lse = logsumexp(z, -1)
    of_ends = (1 - ALPHA)[:, None] * lse[0] + ALPHA[:, None] * lse[-1]
    e = z - between
    np.testing.assert_allclose(table["d"], (lse - logsumexp(between, -1)).mean(1), atol=1e-12)
    np.testing.assert_allclose(table["j"], (of_ends - logsumexp(between, -1)).mean(1), atol=1e-12)
    np.testing.assert_allclose(table["e"], e[:, np.arange(len(y)), y].mean(1), atol=1e-12)
    np.testing.assert_allclose(table["excess"], loss - chord, atol=1e-12)
    np.testing.assert_allclose(
        table["d"] - table["j"] - table["e"], table["excess"], rtol=0, atol=1e-12
    )
    assert (table["j"] >= 0).all()


@pytest.mark.parametrize("parts", [1, 7])
def test_the_barriers_standard_error_is_that_of_a_paired_difference(parts):
    logits, labels = drawn()
    wrong = (logits.argmax(-1) != labels).numpy().astype(float)
    above = wrong - (wrong[0] + wrong[-1]) / 2
    highest = above[above.mean(1).argmax()]
    expected = stats.sem(highest, ddof=0)
    assert sums_of(logits, labels, parts).instability_se() == pytest.approx(expected)
    alike = logits[:1].expand(len(ALPHA), -1, -1)
    assert sums_of(alike, labels, parts).instability_se() == 0


def test_linear_logits_lie_below_the_chord_by_j():
    logits, labels = drawn()
    line = torch.lerp(logits[:1], logits[-1:], torch.from_numpy(ALPHA)[:, None, None])
    table = sums_of(line, labels).decomposition(ALPHA, cross_entropies(line, labels).mean(0))
    np.testing.assert_allclose(table["d"], 0, atol=1e-12)
    np.testing.assert_allclose(table["e"], 0, atol=1e-12)
    np.testing.assert_allclose(table["excess"], -table["j"], atol=1e-12)
    assert table["j"][2] > 0.1


@pytest.mark.parametrize("parts", [1, 7])
def test_ensemble_and_calibration_by_the_plainest_means(parts):
    logits, labels = drawn()
    sums = sums_of(logits, labels, parts)
    table = sums.ensemble()
    assert table["network"] == list(NETWORKS)
    z, y = logits.numpy(), labels.numpy()
    each = [z[0], z[-1], z[2], (z[0] + z[-1]) / 2]
    for row, one in enumerate(each):
        loss, error = loss_and_error(torch.from_numpy(one), labels)
        assert table["loss"][row] == pytest.approx(loss)
        assert table["error"][row] == pytest.approx(error)
        p = softmax(one, -1)
        confidence, hit = p.max(-1), p.argmax(-1) == y
        ece = 0.0
        for low in np.arange(BINS) / BINS:
            inside = (confidence >= low) & (confidence < low + 1 / BINS)
            if inside.any():
                ece += abs(hit[inside].mean() - confidence[inside].mean()) * inside.mean()
        assert table["ece"][row] == pytest.approx(ece)
    assert sums.disagreement() == pytest.approx((z[0].argmax(-1) != z[-1].argmax(-1)).mean())


def test_sure_and_right_is_calibrated_sure_and_wrong_is_not():
    labels = torch.arange(CLASSES).repeat(5)
    sure = 1e3 * torch.nn.functional.one_hot(labels, CLASSES).double()
    wrong = sure.roll(1, -1)
    table = sums_of(torch.stack([sure, sure, wrong, wrong, wrong]), labels).ensemble()
    assert table["ece"][:3].tolist() == pytest.approx([0, 1, 1])


RIGHT = path.products_between


def wrong_position(feature, a, b, alpha, **options):
    return RIGHT(feature, a, b, alpha + 1e-3, **options)


def wrong_end(feature, a, b, alpha, **options):
    return RIGHT(feature, b, b, alpha, **options)


def wrong_images(feature, a, b, alpha, **options):
    return RIGHT(feature.flip(0), a, b, alpha, **options)


def cut_short(feature, a, b, alpha, **options):
    return RIGHT(feature[:, 1:], a[:, 1:], b[:, 1:], alpha, **options)


@pytest.mark.parametrize("wrong", [wrong_position, wrong_end, wrong_images, cut_short])
def test_a_wrong_feature_is_noticed(wrong, monkeypatch):
    """The logits' own numbers, and those of the probe that reads them, are one."""
    given = {"test": samples(50, (6,)), "matching": None, "alphas": 5, "measures": ()}
    plain = llfc.connect(mlp(0), mlp(1), **given)
    assert plain.summaries["logit_identity_residual"] < 1e-12
    monkeypatch.setattr(path, "products_between", wrong)
    found = llfc.connect(mlp(0), mlp(1), **given)
    assert found.summaries["logit_identity_residual"] > 1e-5


def test_a_network_whose_logits_no_probe_reads_has_the_curve_checked_alone():
    given = {"test": samples(50, (6,)), "matching": None, "alphas": 5, "measures": ()}
    found = llfc.connect(mlp(0), mlp(1), probes=["linear0"], **given)
    assert found.summaries["logit_identity_residual"] < 1e-12


@pytest.mark.parametrize(("make", "shape"), [(mlp, (6,)), (convnet, (2, 7, 7))])
def test_a_connection_has_them_and_its_identity_holds(make, shape):
    images, labels = samples(50, shape)
    a, b = make(0), make(1)
    found = llfc.connect(a, b, test=(images, labels), matching=None, correction="none", alphas=5)
    assert abs(found.summaries["logit_identity_residual"]) < 1e-12
    assert found.tables["logits"]["excess"].max() == pytest.approx(
        found.barriers["test_loss_chord"]
    )
    with torch.no_grad():
        mean = (a.eval()(images) + b.eval()(images)) / 2
        half = blended(a, b, 0.5)(images)
    assert found.summaries["ensemble_loss"] == pytest.approx(loss_and_error(mean, labels)[0])
    assert found.tables["ensemble"]["loss"][2] == pytest.approx(loss_and_error(half, labels)[0])
    disagreed = (a(images).argmax(1) != b(images).argmax(1)).double().mean()
    assert found.summaries["disagreement"] == pytest.approx(float(disagreed))
    commonest = max(float((labels == kind).double().mean()) for kind in labels.unique())
    assert found.summaries["test_error_chance"] == pytest.approx(1 - commonest)
