"""What a correction does to a batch norm's statistics, and what it leaves alone."""

import copy

import pytest
import torch
from torch import nn

from llfc.connectivity.blend import Line, line_positions
from llfc.connectivity.corrections import CORRECTIONS
from llfc.connectivity.corrections.reset import reset
from llfc.connectivity.path import walk
from llfc.connectivity.probes import choose_probes
from llfc.connectivity.samples import Batches
from llfc.results import PROFILE
from tests.helpers.small_networks import blended, convnet, mlp, reference, samples
from tests.helpers.written_out_norms import (
    SHAPE,
    conv,
    written,
)

ALPHA = line_positions(5)
NORMS = ("norm", "block1.norm", "block2.norm")


def batches(count, size, shape=(2, 7, 7)):
    images, labels = samples(count, shape)
    return Batches("train", (images, labels), size, images.device)


def corrected(name="reset", size=1000, a=0, b=1, count=20):
    line = Line(convnet(a), convnet(b), ALPHA)
    correct(line, name, batches(count, size))
    return line


def correct(line, name, train):
    line.correct(CORRECTIONS[name](line, train, train.example(), line.every))


def by_torch(alpha, parts):
    """Running statistics of a blend as torch's own training mode gathers them, part by part."""
    model = blended(convnet(0), convnet(1), alpha)
    for name in NORMS:
        model.get_submodule(name).reset_running_stats()
        model.get_submodule(name).momentum = None  # the plain mean over batches
        model.get_submodule(name).train()
    with torch.no_grad():
        for part in parts:
            model(part)
    return model.eval()


@pytest.mark.parametrize("position", [1, 2, 3])
def test_reset_of_one_batch_is_torchs(position):
    images, _ = samples(20, (2, 7, 7))
    found = corrected().at(position)
    expected = by_torch(ALPHA[position], [images])
    for name in NORMS:
        for kind in ("running_mean", "running_var"):
            value = getattr(found.get_submodule(name), kind)
            assert torch.allclose(value, getattr(expected.get_submodule(name), kind), rtol=1e-12)


def test_statistics_have_float32s_digits():
    """Convolutional networks lie channels last, where torch's own batch norm leaves 1e-5."""

    def of(dtype):
        torch.manual_seed(0)
        layers = nn.Conv2d(3, 8, 1), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(8 * 32**2, 2)
        model = nn.Sequential(*layers).to(dtype).eval()
        images, labels = samples(100, (3, 32, 32))
        train = Batches("train", (images.to(dtype) + 3, labels), 100, images.device)
        line = Line(model, model, ALPHA)
        correct(line, "reset", train)
        return line.at(2)[1]

    narrow, wide = of(torch.float32), of(torch.float64)
    for kind in ("running_mean", "running_var"):
        one, other = getattr(narrow, kind).double(), getattr(wide, kind)
        assert torch.allclose(one, other, rtol=2e-6, atol=0), kind


def test_means_of_equal_batches_are_torchs_and_variances_are_pooled():
    images, _ = samples(20, (2, 7, 7))
    found = corrected(size=5).at(2).get_submodule("norm")
    expected = by_torch(0.5, images.split(5)).get_submodule("norm")
    assert torch.allclose(found.running_mean, expected.running_mean, rtol=1e-12)
    # The first norm's inputs are the same in any batching: its variance is over all of them.
    with torch.no_grad():
        inputs = blended(convnet(0), convnet(1), 0.5).conv(images)
    over_all = inputs.transpose(0, 1).flatten(1)
    assert torch.allclose(found.running_var, over_all.var(1), rtol=1e-12)
    assert torch.allclose(found.running_mean, over_all.mean(1), rtol=1e-12)


def reset_on(parts):
    line = Line(convnet(0), convnet(1), ALPHA)
    correct(line, "reset", Batches("train", parts, 5, torch.device("cpu")))
    return line.at(2).norm


def test_uneven_batches_are_weighed_by_size():
    images, labels = samples(20, (2, 7, 7))
    uneven = reset_on([(images[:3], labels[:3]), (images[3:], labels[3:])])
    whole = corrected().at(2).norm
    assert torch.allclose(uneven.running_mean, whole.running_mean, rtol=1e-12)
    assert torch.allclose(uneven.running_var, whole.running_var, rtol=1e-12)


def test_a_batch_of_one_image_is_left_out():
    images, labels = samples(21, (2, 7, 7))
    first, last = (images[:20], labels[:20]), (images[20:], labels[20:])
    assert torch.equal(reset_on([first, last]).running_mean, reset_on([first]).running_mean)


def test_a_and_b_keep_their_own_statistics_and_the_ends_are_reset_as_blends_are():
    images, _ = samples(20, (2, 7, 7))
    line = corrected()
    for seed, trained, at in ((0, line.a, 0), (1, line.b, len(ALPHA) - 1)):
        assert line.at(at) is trained
        state = convnet(seed).state_dict()
        assert all(torch.equal(v, state[n]) for n, v in trained.state_dict().items())
        expected = by_torch(float(seed), [images]).state_dict()
        for name, value in line.ends[seed].state_dict().items():
            assert torch.allclose(value, expected[name], rtol=1e-12) or "tracked" in name, name


@pytest.mark.parametrize("name", ["none", "repair", "rescale"])
def test_ends_are_a_and_b_themselves_where_nothing_is_owed_to_them(name):
    line = corrected(name)
    assert line.ends == (line.a, line.b)


def test_positions_do_not_leak_into_one_another():
    line = corrected()
    before = copy.deepcopy(line.at(2).state_dict())
    line.at(1)
    line.at(3)
    for name, value in line.at(2).state_dict().items():
        assert torch.equal(value, before[name]), name


def test_reset_leaves_eval_mode_and_momentum():
    line = corrected()
    assert not any(module.training for module in line.at(2).modules())
    for name in NORMS:
        assert line.at(2).get_submodule(name).momentum == 0.1
        assert not line.at(2).get_submodule(name)._forward_hooks


def test_blend_normalises_as_it_should_after_a_reset():
    """On the very batch, running statistics then do what batch statistics do."""
    images, _ = samples(20, (2, 7, 7))
    found = corrected().at(2)
    captured = {}
    handle = found.norm.register_forward_hook(lambda m, i, o: captured.update(out=o.clone()))
    with torch.no_grad():
        found(images)
    handle.remove()
    channels = (
        (captured["out"].transpose(0, 1).flatten(1)).T - found.norm.bias
    ) / found.norm.weight
    assert channels.mean(0).abs().max() < 1e-12
    count = len(channels)
    var = channels.var(0) * (1 + found.norm.eps / found.norm.running_var)
    assert torch.allclose(var, torch.ones_like(var), rtol=1e-12), count


def test_walk_with_reset_is_the_reference_with_reset():
    """Features are compared with those of corrected ends; the curve's own ends are as trained."""
    images, labels = samples(20, (2, 7, 7), 5)
    line = corrected()
    source = Batches("test", (images, labels), 6, images.device)
    found = walk(line, source, choose_probes(line.a, images))
    train, _ = samples(20, (2, 7, 7))
    names = [layer.name for layer in found.layers]
    alike = [by_torch(alpha, [train]) for alpha in ALPHA]
    (loss, error), rows = reference(alike.__getitem__, ALPHA, images, labels, names)
    assert found.corrected_loss == pytest.approx(loss, rel=1e-11)
    assert found.corrected_error.tolist() == error.tolist()
    trained = [convnet(0).eval(), *alike[1:-1], convnet(1).eval()]
    (loss, error), _ = reference(trained.__getitem__, ALPHA, images, labels, [])
    assert found.loss == pytest.approx(loss, rel=1e-11)
    assert found.error.tolist() == error.tolist()
    assert abs(found.loss - found.corrected_loss)[[0, -1]].min() > 1e-3
    for layer in found.layers:
        for column in PROFILE:
            expected = [row[column] for row in rows[layer.name]]
            assert getattr(layer, column) == pytest.approx(expected, rel=1e-9, abs=1e-7), column


@pytest.mark.parametrize("name", ["none", "reset"])
def test_networks_without_norms_are_left_alone_by_reset_and_none(name):
    line = Line(mlp(0), mlp(1), ALPHA)
    line.correct(CORRECTIONS[name](line, None, samples(2, (6,))[0], line.every))
    assert (line.corrections.layers, line.corrections.left_out) == (0, ())
    assert not any(found.buffers or found.affines for found in line.corrections.at.values())
    assert line.ends == (line.a, line.b)


def test_no_correction_blends_the_statistics():
    line = corrected("none")
    expected = blended(convnet(0), convnet(1), 0.25).state_dict()
    for name, value in line.at(1).state_dict().items():
        assert torch.allclose(value, expected[name], rtol=1e-14, atol=1e-15), name


def test_refusals():
    line = Line(convnet(0), convnet(1), ALPHA)
    with pytest.raises(
        ValueError,
        match=r"^correction 'reset' needs train images for the batch norms, got None$",
    ):
        reset(line, None, samples(2, (2, 7, 7))[0], line.every)
    with pytest.raises(
        ValueError, match=r"^correction 'reset' needs train batches of at least 2 images$"
    ):
        correct(line, "reset", batches(3, 1))


def test_a_batch_norm_that_runs_twice_has_one_statistic_of_both():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = conv(), nn.Conv2d(5, 5, 3)
            self.norm, self.head = nn.BatchNorm2d(5), nn.Linear(5, 4)

        def forward(self, x):
            x = self.norm(self.first(x)).relu()
            return self.head(self.norm(self.second(x)).relu().mean((2, 3)))

    images, _ = samples(20, SHAPE)
    a, b = (written(Twice, seed) for seed in (0, 1))
    line = Line(a, b, ALPHA)
    correct(line, "reset", batches(20, 20))
    model = blended(a, b, 0.5)
    with torch.no_grad():
        first = model.first(images)
        normal = torch.nn.functional.batch_norm(
            first, None, None, model.norm.weight, model.norm.bias, training=True
        )
        second = model.second(normal.relu())
    inputs = torch.cat([x.transpose(0, 1).flatten(1) for x in (first, second)], 1)
    found = line.at(2).norm
    assert torch.allclose(found.running_mean, inputs.mean(1), rtol=1e-12)
    assert torch.allclose(found.running_var, inputs.var(1), rtol=1e-12)
    assert line.corrections.layers == 1
