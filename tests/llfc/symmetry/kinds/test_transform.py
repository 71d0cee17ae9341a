"""Elements of a network's symmetry: the laws of a group, and the function, which they keep."""

import copy

import pytest
import torch
from torch import nn

import llfc
from llfc import Transform
from llfc.symmetry.transform import Element
from llfc.symmetry.transform.drawing import random_element
from tests.helpers.kinds_by_hand import NETWORKS, QUICK, network
from tests.helpers.kinds_of_networks import VECTORS, perceptron
from tests.helpers.quick_cases import slow_unless

KINDS = ("permutation", "signed", "scaled", "orthogonal", "invertible")
# Every way in which groups lie on axes: alone, nested in heads, fused, grouped, with other heads.
LAYOUTS = ("mlp relu", "mlp tanh", "gpt", "fused", "grouped queries", "swiglu", "hugging face gpt2")


def state_of(model):
    """A random state in float64: no tensor is all zeros or ones."""
    generator = torch.Generator().manual_seed(4)
    return {
        name: 0.5 + torch.rand(tensor.shape, generator=generator, dtype=torch.float64)
        if tensor.is_floating_point()
        else tensor
        for name, tensor in model.state_dict().items()
    }


def outputs(model, state, inputs):
    inputs = inputs.double() if inputs.is_floating_point() else inputs
    with torch.no_grad():
        return torch.func.functional_call(
            copy.deepcopy(model).double(), dict(state), inputs, tie_weights=False
        )


def is_close(one, other):
    return all(torch.allclose(one[name].double(), other[name].double()) for name in other)


@pytest.mark.parametrize("name", slow_unless(QUICK, NETWORKS))
def test_random_elements_keep_the_function(name):
    model, inputs, spec = network(name)
    state = state_of(model)
    before = outputs(model, state, inputs)
    for seed in range(2):
        transform = Transform.random(spec, seed)
        assert {group: element.kind for group, element in transform.items()} == dict(spec.kinds)
        after = transform.apply(state)
        of_spec = spec.apply(transform, state)
        assert all(torch.equal(of_spec[each], after[each]) for each in state)
        assert any(not torch.equal(after[each], state[each]) for each in state)
        assert torch.allclose(outputs(model, after, inputs), before, rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize("name", slow_unless(LAYOUTS[:4], LAYOUTS))
def test_laws_of_a_group(name):
    model, _, spec = network(name)
    state = state_of(model)
    p, q, r = (Transform.random(spec, seed) for seed in range(3))
    identity = Transform.identity(spec)
    assert all(torch.equal(identity.apply(state)[each], state[each]) for each in state)
    assert is_close(q.after(p).apply(state), q.apply(p.apply(state)))
    assert r.after(q.after(p)).distance(r.after(q).after(p)) < 1e-10
    assert p.inverse().after(p).distance(identity) < 1e-10
    assert p.after(p.inverse()).distance(identity) < 1e-10
    assert is_close(p.inverse().apply(p.apply(state)), state)
    assert p.after(identity).distance(p) == identity.after(p).distance(p) == 0
    assert p.distance(q) > 0.1


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_permutation_is_a_special_case(name):
    model, _, spec = network(name)
    state = model.state_dict()
    perms = [spec.random(seed) for seed in range(2)]
    p, q = (Transform.of_permutation(spec, perm) for perm in perms)
    wanted = spec.apply(perms[0], state)
    found = p.apply(state)
    assert all(torch.equal(found[each], wanted[each]) for each in wanted)
    assert p.permutation() == perms[0]
    assert p.inverse().permutation() == spec.inverse(perms[0])
    assert q.after(p).permutation() == spec.compose(perms[0], perms[1])


@pytest.mark.parametrize("name", LAYOUTS)
def test_saved_and_loaded(name, tmp_path):
    _, _, spec = network(name)
    transform = Transform.random(spec, 3)
    transform.save(tmp_path / "transform.safetensors")
    assert Transform.load(tmp_path / "transform.safetensors", spec).distance(transform) == 0


def test_what_is_said_on_one_layer_by_hand():
    model = perceptron(nn.ReLU())
    spec = llfc.permutation_spec(model, VECTORS)
    factor = torch.tensor([1.0, 2.0, 0.5, 3.0, 1.0], dtype=torch.float64)
    index = torch.tensor([1, 0, 2, 4, 3])
    state = state_of(model)
    after = Transform(spec, {"0": Element(index, factor)}).apply(state)
    assert torch.equal(after["0.weight"], factor[:, None] * state["0.weight"][index])
    assert torch.equal(after["0.bias"], factor * state["0.bias"][index])
    assert torch.allclose(after["2.weight"], state["2.weight"][:, index] / factor)
    assert torch.equal(after["2.bias"], state["2.bias"])


def test_a_nested_map_is_that_of_the_new_place():
    _, _, spec = network("fused")
    heads = torch.tensor([1, 0])
    matrices = [torch.randn(3, 3).double() + 3 * torch.eye(3) for _ in range(2)]
    value = next(group for group in spec.groups if "qkv~2[0]" in group or "qkv[0]" in group)
    stem = value.removesuffix("[0]")
    elements = {f"{stem}[{h}]": Element(matrix=m) for h, m in enumerate(matrices)}
    transform = Transform(spec, {"heads": Element(heads), **elements})
    state = {name: torch.rand(tensor, dtype=torch.float64) for name, tensor in SHAPES.items()}
    after = transform.apply(state)
    before = state["qkv.bias"].reshape(3, 2, 3)[:, heads]
    moved = after["qkv.bias"].reshape(3, 2, 3)
    wanted = torch.stack([before[:, h] @ matrices[h].T for h in range(2)], 1)
    dual = torch.stack([before[:, h] @ torch.linalg.inv(matrices[h]) for h in range(2)], 1)
    parts = [
        torch.allclose(moved[k], wanted[k]) or torch.allclose(moved[k], dual[k])
        if k in touched(spec, value)
        else torch.equal(moved[k], before[k])
        for k in range(3)
    ]
    assert all(parts)


SHAPES = {"qkv.weight": (18, 3), "qkv.bias": (18,), "out.weight": (2, 6), "out.bias": (2,)}


def touched(spec, group):
    """The segments of the projection on which a group lies."""
    (axis,) = spec.axes["qkv.bias"]
    return [k for k, segment in enumerate(axis) if any(group in f.groups for f in segment)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_what_does_not_move_is_kept_to_the_bit(dtype):
    model, _, spec = network("mlp tanh")
    state = {name: tensor.to(dtype) for name, tensor in state_of(model).items()}
    transform = Transform.random(spec, 0)
    after = transform.apply(state)
    assert {tensor.dtype for tensor in after.values()} == {dtype}
    assert torch.equal(after["2.bias"], state["2.bias"])
    back = transform.inverse().apply(after)  # signs are exact
    assert all(torch.equal(back[name], state[name]) for name in state)


def test_metadata_is_carried_on():
    model = perceptron(nn.ReLU())
    spec = llfc.permutation_spec(model, VECTORS)
    after = Transform.random(spec, 0).apply(model.state_dict())
    model.load_state_dict(after)
    assert after._metadata == model.state_dict()._metadata


@pytest.mark.parametrize("power", [1, -1])
@pytest.mark.parametrize("piece", [1, 12, 10**6])
def test_a_matrix_acts_alike_in_pieces(power, piece, monkeypatch):
    monkeypatch.setattr("llfc.symmetry.transform.element.PIECE", piece)
    torch.manual_seed(0)
    matrix, values = torch.randn(5, 5).double(), torch.randn(5, 3, 4)
    by = matrix if power == 1 else torch.linalg.inv(matrix).mT
    expected = torch.einsum("ij,jkl->ikl", by, values.double())
    found = Element(matrix=matrix).apply(values, power)
    assert found.dtype == values.dtype
    torch.testing.assert_close(found, expected.float(), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_a_random_element_is_exactly_of_its_kind(kind):
    element = random_element(kind, torch.randperm(7), torch.Generator().manual_seed(0))
    assert element.kind == kind
    rows = torch.randn(7, 2).double()
    matrix = element.as_matrix()
    assert torch.allclose(element.apply(rows, 1), matrix @ rows)
    assert torch.allclose(element.apply(rows, -1), torch.linalg.inv(matrix).T @ rows)
    assert torch.allclose(element.inverse().as_matrix() @ matrix, torch.eye(7).double())


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda s: {"x": Element.identity(5)}, "group 'x' is not in the spec"),
        (lambda s: {"0": Element.identity(4)}, "group '0' has 5 units, got 4"),
        (
            lambda s: {"0": Element(matrix=2 * torch.eye(5))},
            "group '0' is of kind 'scaled', which does not hold this map, of kind 'invertible'",
        ),
        (
            lambda s: {"0": Element(torch.arange(5), torch.tensor([1, 1, 1, 1, -1]))},
            "group '0' is of kind 'scaled', which does not hold this map, of kind 'signed'",
        ),
        (lambda s: {"0": Element(torch.zeros(5))}, "the index must be a permutation"),
        (lambda s: {"0": Element(torch.arange(5), torch.zeros(5))}, "none of them 0"),
        (lambda s: {"0": Element(matrix=torch.ones(5, 5))}, "finite and invertible"),
        (lambda s: {"0": Element()}, "either an index or a matrix"),
    ],
)
def test_what_is_no_element_is_refused(make, said):
    _, _, spec = network("mlp slopes")
    with pytest.raises(ValueError, match=said):
        Transform(spec, make(spec))


def test_more_than_a_permutation_is_no_permutation():
    _, _, spec = network("mlp tanh")
    with pytest.raises(ValueError, match=r"the map of group '0' is no permutation but signed"):
        Transform.random(spec, 0).permutation()


def test_files_that_hold_no_transform_are_refused(tmp_path):
    _, _, spec = network("mlp tanh")
    spec.random(0).save(tmp_path / "permutation.safetensors")
    (tmp_path / "text").write_text("no transform")
    for name in ("permutation.safetensors", "text"):
        with pytest.raises(ValueError, match=f"{name} is not a saved transform"):
            Transform.load(tmp_path / name, spec)
    with pytest.raises(FileNotFoundError):
        Transform.load(tmp_path / "none", spec)


def test_a_state_of_another_network_is_refused():
    _, _, spec = network("mlp tanh")
    with pytest.raises(ValueError, match=r"'2.weight' of the spec is missing"):
        Transform.identity(spec).apply(
            {"0.weight": torch.zeros(5, 3)}
            | {name: torch.zeros(1) for name in ("0.bias", "2.bias")}
        )
