"""The walk is what all features in memory would give, in any batching, and leaves no trace."""

import contextlib
import copy

import numpy as np
import pytest
import torch
from torch import nn

from llfc.connectivity.blend import Line, line_positions
from llfc.connectivity.path import _Walker, walk
from llfc.connectivity.probes import choose_probes, tapped
from llfc.connectivity.samples import Batches
from llfc.results import PROFILE
from tests.helpers.small_networks import CLASSES, blended, convnet, mlp, reference, samples

ALPHA = line_positions(7)
CASES = {
    "mlp": (mlp, (6,), ("linear0", "relu0", "linear1", "relu1", "linear2")),
    "convnet": (convnet, (2, 7, 7), ("relu", "block1", "block2", "head")),
}
every_case = pytest.mark.parametrize("case", CASES)


def batches(images, labels, size=1000, split="test"):
    return Batches(split, (images, labels), size, images.device)


def walked(a, b, images, labels, *, alpha=ALPHA, names=None, size=1000):
    line = Line(a, b, alpha)
    source = batches(images, labels, size)
    return walk(line, source, choose_probes(line.a, source.example(), names))


@every_case
def test_walk_gives_what_stored_features_give(case):
    make, shape, names = CASES[case]
    a, b = make(0), make(1)
    images, labels = samples(41, shape)
    found = walked(a, b, images, labels, size=9)
    curve, rows = reference(lambda p: blended(a, b, ALPHA[p]), ALPHA, images, labels, names)
    assert found.loss == pytest.approx(curve[0], rel=1e-12)
    assert found.error == pytest.approx(curve[1], rel=1e-12)
    assert [layer.name for layer in found.layers] == list(names)
    for layer in found.layers:
        for column in PROFILE:
            expected = [row[column] for row in rows[layer.name]]
            # A residual is the root of a difference of squares: half the digits near zero.
            assert getattr(layer, column) == pytest.approx(expected, rel=1e-10, abs=1e-7), column
            if column != "residual":
                assert getattr(layer, column) == pytest.approx(expected, rel=1e-10, abs=1e-13)
        assert layer.baseline == pytest.approx(rows[layer.name][0]["baseline"], rel=1e-12)
        assert layer.baseline_std == pytest.approx(rows[layer.name][0]["baseline_std"], rel=1e-12)


@every_case
@pytest.mark.parametrize("size", [1, 4, 30])
def test_batching_changes_nothing(case, size):
    make, shape, _ = CASES[case]
    images, labels = samples(30, shape)
    whole = walked(make(0), make(1), images, labels)
    parts = walked(make(0), make(1), images, labels, size=size)
    assert parts.loss == pytest.approx(whole.loss, rel=1e-12)
    assert (parts.error == whole.error).all()
    for one, other in zip(parts.layers, whole.layers, strict=True):
        for column in PROFILE:
            expected = getattr(other, column)
            assert getattr(one, column) == pytest.approx(expected, rel=1e-10, abs=1e-8), column


def test_an_iterable_of_uneven_batches_is_the_same_set():
    images, labels = samples(30, (6,))
    whole = walked(mlp(0), mlp(1), images, labels)
    line = Line(mlp(0), mlp(1), ALPHA)
    uneven = [(images[:3], labels[:3]), (images[3:3], labels[3:3]), (images[3:], labels[3:])]
    parts = walk(line, Batches("test", uneven, 1000, images.device))
    assert parts.loss == pytest.approx(whole.loss, rel=1e-12)


@every_case
def test_ends_are_a_and_b_themselves(case):
    make, shape, _ = CASES[case]
    images, labels = samples(30, shape)
    found = walked(make(0), make(1), images, labels)
    for layer in found.layers:
        for end, own in ((0, layer.cos_a), (-1, layer.cos_b)):
            assert abs(layer.cos_error[end]) < 1e-15
            assert layer.cos_error_std[end] < 1e-15
            assert layer.coef[end] == 1
            assert layer.residual[end] == 0
            assert own[end] == pytest.approx(1, abs=1e-15)
        assert layer.cos_b[0] == pytest.approx(1 - layer.baseline, abs=1e-15)
        assert layer.cos_a[-1] == pytest.approx(1 - layer.baseline, abs=1e-15)


@every_case
def test_nothing_lies_between_a_network_and_itself(case):
    make, shape, _ = CASES[case]
    images, labels = samples(30, shape)
    found = walked(make(0), make(0), images, labels)
    assert np.ptp(found.loss) == 0
    for layer in found.layers:
        assert abs(layer.cos_error).max() < 1e-15
        assert (layer.coef == 1).all()
        assert (layer.residual == 0).all()
        assert abs(layer.baseline) < 1e-15


def test_swapping_the_ends_turns_the_curve_round():
    images, labels = samples(30, (2, 7, 7))
    there = walked(convnet(0), convnet(1), images, labels)
    back = walked(convnet(1), convnet(0), images, labels)
    assert back.loss[::-1] == pytest.approx(there.loss, rel=1e-12)
    for one, other in zip(back.layers, there.layers, strict=True):
        assert one.cos_error[::-1] == pytest.approx(other.cos_error, abs=1e-12)
        assert one.cos_a[::-1] == pytest.approx(other.cos_b, abs=1e-12)


@pytest.mark.parametrize("work", [torch.float32, torch.bfloat16])
def test_lower_precision_loses_digits_and_no_more(work):
    images, labels = samples(30, (2, 7, 7))
    exact = walked(convnet(0), convnet(1), images, labels)
    rough = walked(convnet(0).to(work), convnet(1).to(work), images.to(work), labels)
    digits = {torch.float32: 1e-5, torch.bfloat16: 0.1}[work]
    for one, other in zip(rough.layers, exact.layers, strict=True):
        assert one.cos_error == pytest.approx(other.cos_error, abs=digits)
        assert one.coef == pytest.approx(other.coef, abs=digits)


def test_models_are_left_as_they_were():
    a, b = convnet(0).train(), convnet(1).train()
    before = copy.deepcopy((a.state_dict(), b.state_dict()))
    images, labels = samples(12, (2, 7, 7))
    walked(a, b, images, labels)
    for model, state in zip((a, b), before, strict=True):
        assert all(module.training for module in model.modules())
        assert all(parameter.requires_grad for parameter in model.parameters())
        assert not any(module._forward_hooks for module in model.modules())
        for name, value in model.state_dict().items():
            assert torch.equal(value, state[name]), name


def test_hooks_come_off_after_an_exception():
    line = Line(mlp(0), mlp(1), ALPHA)
    images, labels = samples(12, (6,))
    probes = choose_probes(line.a, images[:2])
    with pytest.raises(ValueError, match="labels must be in"):
        walk(line, batches(images, labels + CLASSES), probes)
    for model in (line.a, line.b, line.at(1)):
        for module in model.modules():
            assert not module._forward_hooks
            assert not module._forward_pre_hooks


def test_integer_buffers_stay_as_in_a():
    a, b = convnet(0), convnet(1)
    a.norm.num_batches_tracked.fill_(5)
    b.norm.num_batches_tracked.fill_(8)
    assert Line(a, b, ALPHA).at(3).norm.num_batches_tracked == 5


def test_tied_parameters_are_blended_once():
    def tied(seed):
        model = mlp(seed, sizes=(6, 6, 6, CLASSES))
        model.linear1.weight = model.linear0.weight
        return model

    line = Line(tied(0), tied(1), ALPHA)
    middle = line.at(3)
    expected = (tied(0).linear0.weight + tied(1).linear0.weight) / 2
    assert torch.allclose(middle.linear1.weight, expected, rtol=0, atol=1e-15)
    assert middle.linear1.weight is middle.linear0.weight


def test_memory_is_that_of_a_batch():
    """Nothing that the walker keeps has a size that depends on the number of images."""
    line = Line(mlp(0), mlp(1), ALPHA)
    probes = choose_probes(line.a, samples(2, (6,))[0])
    kept = []
    for count in (2, 40):
        walker = _Walker(line, probes)
        with contextlib.ExitStack() as stack:
            for model in (line.a, line.b, line.at(1)):
                stack.enter_context(tapped(model, probes, walker.receive))
            for _ in range(count):
                walker.batch(*samples(10, (6,)), "test")
        moments = [m for of in walker.moments.moments.values() for m in (of.mean, of.squares)]
        held = [*moments, walker.loss, walker.error, *walker.ends["a"], *walker.products]
        kept.append(sum(tensor.numel() for tensor in held))
    assert kept[0] == kept[1]


def refusal(a, b, images, labels, **options):
    with pytest.raises(ValueError, match=r".") as refused:
        walked(a, b, images, labels, **options)
    text = str(refused.value)
    assert "\n" not in text
    return text


def test_refusals():
    images, labels = samples(10, (6,))
    a, b = mlp(0), mlp(1)
    wrong = labels.clone()
    wrong[3] = 7
    assert refusal(a, b, images, wrong) == "test labels must be in [0, 4), got 7"
    wrong[3] = -1
    assert refusal(a, b, images, wrong) == "test labels must be in [0, 4), got -1"
    assert refusal(a, b, images, labels[:4]) == "test has 10 images, but 4 labels"
    assert refusal(a, b, images[:0], labels[:0]) == "test has no images"
    assert refusal(a, b, images, labels, size=0) == "batch_size must be a whole number >= 1, got 0"
    assert refusal(a, b, images, labels.double()) == (
        "test labels must be whole numbers of shape [images], got torch.float64 of shape (10,)"
    )
    bare = nn.Sequential(mlp(0), nn.Unflatten(1, (2, 2)))
    assert refusal(bare, bare, images, labels) == (
        "model must return logits of shape [images, classes], got (10, 2, 2)"
    )
    generator = (pair for pair in [(images, labels)])
    with pytest.raises(
        ValueError, match=r"^test must be iterable more than once, got a generator$"
    ):
        Batches("test", generator, 10, images.device)


def test_loss_that_is_not_finite_is_named_with_its_place():
    images, labels = samples(10, (6,))
    a, b = mlp(0), mlp(1)
    with torch.no_grad():
        a.linear0.weight.fill_(1e200)
        b.linear0.weight.fill_(-1e200)
        a.linear2.weight.fill_(1e200)
        b.linear2.weight.copy_(torch.arange(4.0)[:, None] * 1e200)
    text = refusal(a, b, images.abs(), labels)
    assert text.startswith("test loss is nan at alpha ")


def test_features_that_are_not_finite_are_named():
    a, b = mlp(0).float(), mlp(1).float()
    for model in (a, b):
        with torch.no_grad():
            model.linear0.weight.fill_(2e38)
        model.relu0 = nn.Sigmoid()  # of infinity, 1
    images, labels = samples(10, (6,))
    assert refusal(a, b, images.float().abs() + 1, labels) == (
        "features of layer 'linear0' are not finite at alpha 0"
    )


def test_networks_on_the_line_lie_in_the_fastest_layout():
    model = convnet(0)
    line = Line(model, model, line_positions(3))
    for position in range(3):
        kernel = line.at(position).conv.weight
        assert kernel.is_contiguous(memory_format=torch.channels_last)
        assert not kernel.is_contiguous()
    assert all(tensor.is_contiguous() for tensor in model.parameters())
