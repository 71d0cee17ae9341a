"""Matchers that return a transform: what `match`, `connect` and the store make of it."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from llfc import Transform, connect, match, permutation_spec
from llfc.matching import MATCHERS, cached
from llfc.matching.record import FIELDS
from llfc.networks.store import Store
from llfc.symmetry.transform import Element
from llfc.tasks import CLASSIFICATION
from tests.helpers.kinds_by_hand import network
from tests.helpers.named_trials import TRIAL

# One for each kind, and groups that are nested or lie on both sides of a tensor.
SOME = ("mlp tanh", "mlp relu", "mlp linear", "mlp gelu", "gpt")


def in_the_basis(model, spec, seed):
    """The model with its units moved and mixed at random."""
    moved = copy.deepcopy(model)
    moved.load_state_dict(Transform.random(spec, seed).apply(model.state_dict()))
    return moved


def returns(transform):
    """A matcher that finds this."""
    return lambda a, b, spec, batches, *, seed: Transform(spec, transform, {"iterations": 1})


def squared(a, b):
    return sum(float((x.double() - y.double()).square().sum()) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("name", SOME)
def test_the_way_back_has_certificate_one(name, monkeypatch):
    """And no other is above it; the overlap is what it is by hand."""
    model, _, spec = network(name)
    planted = Transform.random(spec, 3)
    other = in_the_basis(model, spec, 3)
    back = planted.inverse()
    with torch.no_grad():
        for transform in (back, Transform.identity(spec), Transform.random(spec, 1)):
            monkeypatch.setitem(MATCHERS, "found", returns(transform))
            found = match("found", model, other, spec)
            moved = copy.deepcopy(other)
            moved.load_state_dict(transform.apply(other.state_dict()))
            a, b = ([p.double() for p in net.parameters()] for net in (model, moved))
            by_hand = sum(float((x * y).sum()) for x, y in zip(a, b, strict=True))
            assert tuple(found.record) == FIELDS
            assert found.record["overlap"] == pytest.approx(by_hand, rel=1e-4, abs=1e-4)
            assert found.record["certificate"] <= 1 + 1e-6
            assert (squared(a, b) < 1e-8) == (transform is back)
            if transform is back:
                assert found.record["certificate"] == pytest.approx(1, abs=1e-6)
    assert found.record["moved"] == found.moved() > 0


def test_a_bound_that_rotations_of_one_side_reach(monkeypatch):
    """The nuclear norm, by Procrustes: the best rotation of unrelated layers has certificate 1."""
    model, _, spec = network("rms without gains")
    group = next(g for g, kind in spec.kinds.items() if kind == "orthogonal")
    model, other = copy.deepcopy(model), copy.deepcopy(model)
    with torch.no_grad():
        for parameter in [*model.parameters(), *other.parameters()]:
            parameter.zero_()
        drawn = torch.randn(
            2, *model.embed.weight.shape, generator=torch.Generator().manual_seed(0)
        )
        model.embed.weight.copy_(drawn[0])
        other.embed.weight.copy_(drawn[1])
    u, _, vh = torch.linalg.svd((drawn[0] @ drawn[1].T).double())
    monkeypatch.setitem(MATCHERS, "found", returns({group: Element(matrix=u @ vh)}))
    # Only the embedding is not zero; on its other side nothing moves.
    assert match("found", model, other, spec).record["certificate"] == pytest.approx(1, abs=1e-6)


def test_a_transform_is_kept_in_the_store_with_its_report(tmp_path, monkeypatch):
    model, inputs, spec = network("mlp tanh")
    other = in_the_basis(model, spec, 0)
    drawn = Transform.random(spec, 1)
    reported = Transform(spec, drawn, {"iterations": 2.0}, {"1": "a reason"}, {"features": "if"})
    monkeypatch.setitem(MATCHERS, "weights", lambda *given, seed: reported)
    store = Store(tmp_path)
    first = cached.cached_permutation(TRIAL, model, other, spec, [inputs], store, CLASSIFICATION)
    monkeypatch.setattr(cached, "match", None)
    again = cached.cached_permutation(TRIAL, model, other, spec, [inputs], store, CLASSIFICATION)
    assert again == first == drawn
    assert dict(again.record) == dict(first.record)
    assert again.left_out == {"1": "a reason"}
    assert again.definitions == {"features": "if"}


def test_connect_takes_a_transform_with_its_spec():
    """B, moved back, is A: the line is a point."""
    model, inputs, spec = network("mlp tanh")
    model = copy.deepcopy(model).eval()
    planted = Transform.random(spec, 2)
    other = copy.deepcopy(model)
    other.load_state_dict(planted.apply(model.state_dict()))
    samples = inputs, torch.zeros(len(inputs), dtype=torch.int64)
    away, back = (
        np.ptp(connect(model, other, test=samples, matching=matching).curve["test_loss"])
        for matching in (None, planted.inverse())
    )
    assert back < 1e-6 < away


def test_a_transform_of_another_network_is_refused():
    _, inputs, spec = network("mlp tanh")
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    samples = inputs, torch.zeros(len(inputs), dtype=torch.int64)
    own = permutation_spec(model, inputs)
    with pytest.raises(ValueError, match=r"^permutation: group '0' has 4 units, got 5$"):
        connect(model, model, test=samples, matching=Transform.identity(spec), spec=own)
