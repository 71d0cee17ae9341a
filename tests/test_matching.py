"""The contract that every matcher keeps, on networks whose symmetry is derived."""

import copy
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from llfc.matching import MATCHERS, PermutationSpec, match, match_many, permutation_spec
from llfc.matching.activations import CrossMoments, cross_moments
from llfc.matching.axes import Factor
from llfc.matching.blocks import place
from llfc.matching.overlap import Overlap
from llfc.matching.record import FIELDS
from llfc.matching.weights import match_weights

LEARNING = sorted(MATCHERS.keys() - {"none"})
NEEDING_BATCHES = ["activations", "activations-uncentred", "straight-through"]


class Residual(nn.Module):
    """Convolutions with norms, a residual sum, and a rectifier that works in place."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(2, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6))
        self.branch = nn.Sequential(
            nn.Conv2d(6, 5, 3, padding=1), nn.ReLU(inplace=True), nn.Conv2d(5, 6, 3, padding=1)
        )
        self.relu = nn.ReLU(inplace=True)
        self.head = nn.Linear(6 * 4, 4)

    def forward(self, x):
        x = self.relu(self.stem(x))
        x = self.relu(self.branch(x) + x)
        return self.head(nn.functional.avg_pool2d(x, 3).flatten(1))


class Attention(nn.Module):
    """A small vision transformer: four patches, one block, two heads of three units."""

    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(2, 5, 3, stride=3)
        self.norm, self.after = nn.LayerNorm(5), nn.LayerNorm(5)
        self.query, self.key, self.value = (nn.Linear(5, 6) for _ in range(3))
        self.out = nn.Linear(6, 5)
        self.mlp = nn.Sequential(nn.Linear(5, 7), nn.GELU(), nn.Linear(7, 5))
        self.head = nn.Linear(5, 4)

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2)
        y = self.norm(x)
        q, k, v = (
            part(y).reshape(len(x), -1, 2, 3).transpose(1, 2)
            for part in (self.query, self.key, self.value)
        )
        mixed = ((q @ k.transpose(-1, -2)).softmax(-1) @ v).transpose(1, 2)
        x = x + self.out(mixed.reshape(len(x), -1, 6))
        return self.head((x + self.mlp(self.after(x))).mean(1))


def perceptron():
    return nn.Sequential(
        nn.Flatten(), nn.Linear(72, 7), nn.ReLU(), nn.Linear(7, 5), nn.ReLU(), nn.Linear(5, 3)
    )


KINDS = {"perceptron": perceptron, "residual": Residual, "attention": Attention}


def network(kind, seed):
    """A network whose parameters and statistics are all drawn at random."""
    generator = torch.Generator().manual_seed(seed)
    model = KINDS[kind]()
    with torch.no_grad():
        for tensor in model.parameters():
            tensor.copy_(torch.randn(tensor.shape, generator=generator) / tensor[0].numel() ** 0.5)
        for name, buffer in model.named_buffers():
            if name.endswith("var"):
                buffer.copy_(torch.rand(buffer.shape, generator=generator) + 0.5)
    return model


def inputs(seed, count=3, size=16):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(size, 2, 6, 6, generator=generator) for _ in range(count)]


def permuted(model, spec, perm):
    other = copy.deepcopy(model)
    other.load_state_dict(spec.apply(perm, model.state_dict()))
    return other


@pytest.fixture(scope="module", params=sorted(KINDS))
def pair(request):
    a, b = network(request.param, 0), network(request.param, 1)
    return a, b, permutation_spec(a, inputs(0)[0])


@pytest.mark.parametrize("name", LEARNING)
def test_a_planted_permutation_is_undone(name, pair):
    a, _, spec = pair
    planted = spec.random(3)
    found = match(name, a, permuted(a, spec, planted), spec, inputs(1))
    assert spec.compose(planted, found) == spec.identity()
    assert found.record["certificate"] == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("name", sorted(MATCHERS))
def test_a_network_stays_in_place_when_matched_with_itself(name, pair):
    a, _, spec = pair
    for other in (a, copy.deepcopy(a)):
        found = match(name, a, other, spec, inputs(1))
        assert found == spec.identity()
        assert found.record["moved"] == 0


@pytest.mark.parametrize("name", sorted(MATCHERS))
def test_the_record_is_true_and_never_falls(name, pair):
    a, b, spec = pair
    found = match(name, a, b, spec, inputs(1))
    record = found.record
    assert tuple(record) == FIELDS
    assert all(type(value) is float for value in record.values())
    assert record["objective"] >= record["objective_before"]
    assert record["moved"] == found.moved()
    moved = spec.apply(found, b.state_dict())
    by_hand = sum(
        float((p.detach().double() * moved[n].double()).sum()) for n, p in a.named_parameters()
    )
    assert record["overlap"] == pytest.approx(by_hand, rel=1e-5, abs=1e-5)
    assert -1 <= record["certificate"] <= 1
    if name in ("weights", "frank-wolfe", "sinkhorn"):
        assert record["objective"] == record["overlap"] > record["overlap_before"]


@pytest.mark.parametrize("name", sorted(MATCHERS))
def test_the_function_is_unchanged(name, pair):
    a, b, spec = pair
    found = match(name, a, b, spec, inputs(1))
    x = inputs(2)[0]
    with torch.no_grad():
        gap = (permuted(b, spec, found).eval()(x) - copy.deepcopy(b).eval()(x)).abs().max()
    assert gap < 1e-5


@pytest.mark.parametrize("name", sorted(MATCHERS))
def test_models_are_left_as_they_were(name, pair):
    models = [copy.deepcopy(model).train() for model in pair[:2]]
    for model in models:
        list(model.children())[-1].eval()  # a mode of its own must survive
    before = [copy.deepcopy(model.state_dict()) for model in models]
    match(name, *models, pair[2], inputs(1))
    for model, state in zip(models, before, strict=True):
        assert all(torch.equal(tensor, state[key]) for key, tensor in model.state_dict().items())
        assert [m.training for m in model.children()][-2:] == [True, False]
        assert model.training
        assert not any(module._forward_hooks for module in model.modules())
        assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("name", NEEDING_BATCHES)
def test_hooks_come_off_and_modes_come_back_after_an_error(name, pair):
    models = [copy.deepcopy(model).train() for model in pair[:2]]
    with pytest.raises((ValueError, RuntimeError, IndexError)):
        match(name, *models, pair[2], [inputs(1)[0], torch.zeros(3)])
    for model in models:
        assert all(module.training for module in model.modules())
        assert not any(module._forward_hooks for module in model.modules())


SCRIPT = """
import sys
sys.path.insert(0, {folder!r})
from test_matching import answers
from llfc.matching import PermutationSpec
print(answers(PermutationSpec.load({spec!r})))
"""


def answers(spec):
    a, b = network("residual", 0), network("residual", 1)
    return {
        name: {g: units.tolist() for g, units in match(name, a, b, spec, inputs(1), seed=4).items()}
        for name in MATCHERS
    }


def test_the_same_seed_gives_the_same_answer_in_another_process(tmp_path):
    spec = permutation_spec(network("residual", 0), inputs(0)[0])
    spec.save(tmp_path / "spec.json")
    script = SCRIPT.format(folder=str(Path(__file__).parent), spec=str(tmp_path / "spec.json"))
    command = [sys.executable, "-c", script]
    found = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert found.strip() == str(answers(spec))


@pytest.mark.parametrize("name", ["activations", "activations-uncentred"])
def test_activation_matching_is_that_of_all_features_in_memory(name):
    """Each hidden layer's features, in double precision, and one assignment from scipy."""
    from scipy.optimize import linear_sum_assignment

    a, b = network("perceptron", 0), network("perceptron", 1)
    with torch.no_grad():
        for model in (a, b):
            model[1].bias.fill_(1.0)  # no unit is silent
            model[3].bias.fill_(1.0)
    data = inputs(1)
    found = match(name, a, b, permutation_spec(a, data[0]), data)
    total = 0.0
    for (_, index), end in zip(found.items(), (3, 5), strict=True):
        x, y = (m.double()[:end](torch.cat(data).double()).detach().T.numpy() for m in (a, b))
        if name == "activations":
            x, y = (s - s.mean(1, keepdims=True) for s in (x, y))
            scale = [s.std(1) for s in (x, y)]
            score = x @ y.T / x.shape[1] / (scale[0][:, None] * scale[1][None])
        else:
            score = x @ y.T / x.shape[1]
        _, columns = linear_sum_assignment(score, maximize=True)
        assert index.tolist() == columns.tolist()
        total += score[range(len(columns)), columns].sum()
    assert found.record["objective"] == pytest.approx(total, rel=1e-5)


def test_moments_do_not_depend_on_the_batches(pair):
    a, b, spec = pair
    data = torch.cat(inputs(1))
    whole, _ = cross_moments(a, b, spec, [data])
    parts, count = cross_moments(a, b, spec, data.split(7))
    assert count == 7
    for key in whole:
        assert torch.allclose(whole[key].correlation(), parts[key].correlation(), atol=1e-4)
        assert torch.allclose(whole[key].product(), parts[key].product(), rtol=1e-4, atol=1e-5)


def test_moments_are_not_lost_to_a_large_mean():
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(4, 500, generator=generator) for _ in range(2))
    moments = CrossMoments()
    for x, y in zip((a + 1e4).split(100, 1), (b + 1e4).split(100, 1), strict=True):
        moments.update(x, y)
    expected = torch.corrcoef(torch.cat([a + 1e4, b + 1e4]).double())[:4, 4:]
    assert torch.allclose(moments.correlation(), expected, atol=1e-5)


def test_a_constant_unit_correlates_with_nothing():
    moments = CrossMoments()
    ramp = torch.arange(6.0)
    moments.update(torch.stack([ramp, torch.full((6,), 0.1)]), torch.stack([ramp, -ramp]))
    expected = torch.tensor([[1.0, -1.0], [0.0, 0.0]]).double()
    assert torch.allclose(moments.correlation(), expected)


def test_silent_units_are_told_apart_before_the_rectifier():
    a = nn.Sequential(nn.Flatten(), nn.Linear(72, 6), nn.ReLU(), nn.Linear(6, 3))
    with torch.no_grad():
        a[1].bias[:4] = -1e3
    spec = permutation_spec(a, inputs(0)[0])
    planted = spec.random(0)
    found = match("activations", a, permuted(a, spec, planted), spec, inputs(1))
    assert spec.compose(planted, found) == spec.identity()


def test_several_inputs_come_as_a_tuple():
    class Sum(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second, self.head = nn.Linear(4, 6), nn.Linear(5, 6), nn.Linear(6, 2)

        def forward(self, x, y):
            return self.head((self.first(x) + self.second(y)).relu())

    torch.manual_seed(0)
    a = Sum()
    batch = torch.randn(20, 4), torch.randn(20, 5)
    spec = permutation_spec(a, *batch)
    planted = spec.random(0)
    for name in NEEDING_BATCHES:
        found = match(name, a, permuted(a, spec, planted), spec, [batch])
        assert spec.compose(planted, found) == spec.identity()


def test_norm_statistics_are_permuted_but_not_matched_on():
    a, b = network("residual", 0), network("residual", 1)
    spec = permutation_spec(a, inputs(0)[0])
    found = match("weights", a, b, spec)
    with torch.no_grad():
        for name, buffer in b.named_buffers():
            if name.endswith(("mean", "var")):
                buffer.mul_(100.0).add_(3.0)
    assert match("weights", a, b, spec) == found


def test_tied_parameters_count_once():
    a = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 3))
    a[2].weight = a[0].weight
    axes = {name: (((Factor(3),),),) * t.ndim for name, t in a.state_dict().items()}
    assert set(axes) == {"0.weight", "0.bias", "2.weight", "2.bias"}
    spec = PermutationSpec({}, axes)
    overlap = Overlap.of(a, a, spec)
    square = sum(float(p.detach().square().sum()) for p in a.parameters())
    assert overlap.value(spec.identity()) == pytest.approx(square, rel=1e-5)


def test_more_effort_never_scores_lower(pair):
    a, b, spec = pair
    found = [
        match_weights(a, b, spec, None, seed=0, effort=effort).record["objective"]
        for effort in (1, 1.5, 12)
    ]
    assert found == sorted(found)


def test_many_networks_share_one_basis(pair):
    a, b, spec = pair
    planted = spec.random(5)
    models = [a, b, permuted(a, spec, planted), permuted(b, spec, spec.random(6))]
    found = match_many(models, spec)
    states = [spec.apply(p, m.state_dict()) for p, m in zip(found, models, strict=True)]
    assert found[0] == spec.identity()
    for name, _ in a.named_parameters():
        assert torch.equal(states[0][name], states[2][name])
        assert torch.equal(states[1][name], states[3][name])

    def agreement(many):
        total = {n: sum(state[n] for state in many) for n, _ in a.named_parameters()}
        return sum(float(tensor.square().sum()) for tensor in total.values())

    assert agreement(states) > agreement([model.state_dict() for model in models])


@pytest.mark.parametrize("count", [3, 4])
def test_maps_around_a_cycle_compose_to_the_identity(count, pair):
    """The map from p's basis to q's goes through the common one; all distinct networks."""
    a, _, spec = pair
    kind = {type(make()): kind for kind, make in KINDS.items()}[type(a)]
    models = [network(kind, seed) for seed in range(count)]
    into = match_many(models, spec)
    around = spec.identity()
    for p in range(count):
        q = (p + 1) % count
        hop = spec.compose(into[p], spec.inverse(into[q]))
        assert hop != spec.identity()
        around = spec.compose(around, hop)
    assert around == spec.identity()
    assert match_many(models, spec) == into


@pytest.mark.parametrize("name", NEEDING_BATCHES)
@pytest.mark.parametrize("batches", [None, []])
def test_no_batches(name, batches, pair):
    with pytest.raises(ValueError, match=r"needs batches of inputs, got (N|n)one$"):
        match(name, *pair, batches)


def test_unknown_name(pair):
    with pytest.raises(ValueError, match=r"unknown matching 'weight': .*did you mean 'weights'\?$"):
        match("weight", *pair)


@pytest.mark.parametrize("name", sorted(MATCHERS))
def test_two_architectures(name):
    a, b = perceptron(), perceptron()
    b[3] = nn.Linear(7, 6)
    spec = permutation_spec(a, inputs(0)[0])
    with pytest.raises(ValueError, match=r"3\.weight is \(5, 7\) in a, \(6, 7\) in b$"):
        match(name, a, b, spec, inputs(1))
    with pytest.raises(ValueError, match=r"1\.weight is \(7, 72\) in a, missing in b$"):
        match(name, a, Residual(), spec, inputs(1))


def test_a_spec_of_another_network():
    with pytest.raises(ValueError, match=r"^the spec must name every tensor .*1\.weight is miss"):
        match("weights", perceptron(), perceptron(), PermutationSpec({}, {}))


@pytest.mark.parametrize("name", sorted(MATCHERS))
@pytest.mark.parametrize("side", ["a", "b"])
def test_parameters_that_are_not_finite(name, side):
    a, b = perceptron(), perceptron()
    spec = permutation_spec(a, inputs(0)[0])
    with torch.no_grad():
        {"a": a, "b": b}[side][3].bias[2] = torch.nan
    with pytest.raises(ValueError, match=rf"^3\.bias of model {side} must be finite, got nan"):
        match(name, a, b, spec, inputs(1))


def test_too_few(pair):
    with pytest.raises(ValueError, match=r"^effort must be a number >= 1, got 0$"):
        match_weights(*pair, None, seed=0, effort=0)
    with pytest.raises(ValueError, match=r"^match_many needs at least two models, got 1$"):
        match_many([pair[0]], pair[2])


def test_place_is_the_specs_index(pair):
    _, _, spec = pair
    perm = spec.random(0)
    overlap = Overlap.of(*pair)
    for group in overlap.roots:
        for cluster in overlap.clusters(group):
            assert torch.equal(place(cluster, perm), spec.index(perm, (cluster,)))
