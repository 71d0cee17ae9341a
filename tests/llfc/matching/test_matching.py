"""Matching: what sets one matcher apart, many networks at once, and what is refused."""

import pytest
import torch
from torch import nn

from llfc.matching import PermutationSpec, match, match_many, permutation_spec
from llfc.matching.overlap.overlap import Overlap
from llfc.matching.weights import match_weights
from llfc.symmetry.spec.axes import Factor
from llfc.symmetry.spec.blocks import place
from tests.helpers.bounds_by_hand import undoes
from tests.helpers.matchable_pairs import (
    KINDS,
    NEEDING_BATCHES,
    Residual,
    inputs,
    network,
    pair,
    perceptron,
    permuted,
)

every_kind = pytest.mark.parametrize("kind", KINDS)


@pytest.mark.slow
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
        assert undoes(found, planted, spec)


@every_kind
@pytest.mark.parametrize("name", ["weights", "frank-wolfe", "sinkhorn"])
def test_what_climbs_the_overlap_says_so(name, kind):
    record = match(name, *pair(kind)).record
    assert record["objective"] == record["overlap"] > record["overlap_before"]


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


@every_kind
def test_more_effort_never_scores_lower(kind):
    a, b, spec = pair(kind)
    overlap = Overlap.of(a, b, spec)
    found = [
        overlap.value(match_weights(a, b, spec, None, seed=0, effort=effort))
        for effort in (1, 1.5, 12)
    ]
    assert found == sorted(found)


@every_kind
def test_many_networks_share_one_basis(kind):
    a, b, spec = pair(kind)
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
@every_kind
def test_maps_around_a_cycle_compose_to_the_identity(kind, count):
    """The map from p's basis to q's goes through the common one; all distinct networks."""
    _, _, spec = pair(kind)
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
def test_no_batches(name, batches):
    with pytest.raises(ValueError, match=r"needs batches of inputs, got (N|n)one$"):
        match(name, *pair("perceptron"), batches)


def test_unknown_name():
    with pytest.raises(ValueError, match=r"unknown matching 'weight': .*did you mean 'weights'\?$"):
        match("weight", *pair("perceptron"))


def test_two_architectures():
    a, b = perceptron(), perceptron()
    b[3] = nn.Linear(7, 6)
    spec = permutation_spec(a, inputs(0)[0])
    with pytest.raises(ValueError, match=r"3\.weight is \(5, 7\) in a, \(6, 7\) in b$"):
        match("weights", a, b, spec)
    with pytest.raises(ValueError, match=r"1\.weight is \(7, 72\) in a, missing in b$"):
        match("weights", a, Residual(), spec)


def test_a_spec_of_another_network():
    with pytest.raises(ValueError, match=r"^the spec must contain every .*1\.weight is miss"):
        match("weights", perceptron(), perceptron(), PermutationSpec({}, {}))


def test_options_are_the_matchers_own():
    a, b, spec = pair("perceptron")
    first = match("weights", a, b, spec, effort=1)
    assert first == match_weights(a, b, spec, None, seed=0, effort=1)
    assert first.record["iterations"] < match("weights", a, b, spec).record["iterations"]
    said = r"^matching 'weights' has no option 'efort': its options are effort$"
    with pytest.raises(ValueError, match=said):
        match("weights", a, b, spec, efort=1)
    with pytest.raises(ValueError, match=r"^matching 'none' has no option 'effort': it has none$"):
        match("none", a, b, spec, effort=1)


def test_too_few():
    a, b, spec = pair("perceptron")
    with pytest.raises(ValueError, match=r"^effort must be a number >= 1, got 0$"):
        match_weights(a, b, spec, None, seed=0, effort=0)
    with pytest.raises(ValueError, match=r"^match_many needs at least two models, got 1$"):
        match_many([a], spec)


@every_kind
def test_place_is_the_specs_index(kind):
    a, b, spec = pair(kind)
    perm = spec.random(0)
    overlap = Overlap.of(a, b, spec)
    for group in overlap.roots:
        for cluster in overlap.clusters(group):
            assert torch.equal(place(cluster, perm), spec.index(perm, (cluster,)))
