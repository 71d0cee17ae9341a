"""Where a residual stream is read by `orthogonal-activations`: at every depth."""

import copy

import pytest
import torch

import llfc
from llfc.networks.architectures import build_network
from llfc.seeds import stream
from llfc.symmetry.transform import Transform


@pytest.fixture(scope="module")
def pair():
    """A gpt, and the same with its stream rotated and noise written at its end."""
    options = {"input_shape": (8,), "num_classes": 11, "generator": stream(0, "init")}
    model = build_network("gpt", width=1 / 4, **options).eval()
    ids = torch.randint(0, 11, (64, 8), generator=stream(1, "init"))
    a = llfc.canonical(model, ids[:2])
    spec = llfc.permutation_spec(a, ids[:2])
    (group,) = (name for name, kind in spec.kinds.items() if kind == "orthogonal")
    planted = Transform(spec, {group: Transform.random(spec, 3)[group]})
    b = copy.deepcopy(a)
    b.load_state_dict(planted.apply(a.state_dict()))
    with torch.no_grad():
        last = b.block2.mlp.out.weight
        last.add_(0.03 * torch.randn(last.shape, generator=stream(2, "init")))
    return a, b, spec, group, planted.inverse()[group].matrix, ids


def features(model, module, ids):
    """What a module gives, [channels, tokens]."""
    found = []
    handle = module(model).register_forward_hook(lambda _, __, given: found.append(given))
    with torch.no_grad():
        model(ids)
    handle.remove()
    return found[0].flatten(0, -2).T.double()


@pytest.mark.slow
def test_a_basis_that_stays_is_found_from_all_that_is_in_it(pair):
    a, b, spec, group, true, ids = pair
    of_a, of_b = (features(model, lambda m: m.block2, ids) for model in (a, b))
    left, _, right = torch.linalg.svd(of_a @ of_b.T)
    found = llfc.match("orthogonal-activations", a, b, spec, [ids])[group].matrix
    at_the_end, everywhere = (float((r - true).norm()) for r in (left @ right, found))
    assert everywhere < 0.6 * at_the_end
