"""The midpoint that straight-through matching descends from: where it stands, what it takes."""

import pytest
import torch

from llfc.matching.overlap import basis
from llfc.matching.overlap.basis import permuted_rows, permuted_tensor
from llfc.matching.straight_through import _Midpoint
from tests.helpers.handmade_specs import SPECS, states
from tests.helpers.matchable_pairs import KINDS, inputs, pair


@pytest.mark.parametrize("piece", [1, 7, 2**18])
@pytest.mark.parametrize("kind", SPECS)
def test_rows_are_those_of_the_whole_tensor(kind, piece, monkeypatch):
    monkeypatch.setattr(basis, "PIECE", piece)
    spec = SPECS[kind]
    perm, (state, _) = spec.random(0), states(spec, 0)
    for name, tensor in state.items():
        found = torch.full_like(spec.fold(name, tensor), torch.nan)
        for rows, part in permuted_rows(spec, perm, name, tensor):
            found[rows] = part
        assert torch.equal(found.reshape(tensor.shape), spec.apply(perm, state)[name])
        assert torch.equal(found.reshape(tensor.shape), permuted_tensor(spec, perm, name, tensor))


@pytest.mark.parametrize("kind", KINDS)
def test_the_midpoint_stands_half_way_to_the_permuted_b(kind):
    a, b, spec = pair(kind)
    midpoint = _Midpoint(a, b, spec, [(batch,) for batch in inputs(1)])
    for perm in (spec.identity(), spec.random(0), spec.random(1)):
        midpoint.move(perm)
        state = spec.apply(perm, b.state_dict())
        for name, parameter in a.named_parameters():
            expected = (parameter.detach() + state[name]) / 2
            torch.testing.assert_close(midpoint.weights[name], expected, rtol=1e-6, atol=1e-7)
    assert midpoint.loss() > 0
