"""The kind of each group, against what is counted by hand and against the function itself."""

import copy

import pytest
import torch
from torch import nn

import llfc
from llfc.symmetry.derive import alone
from llfc.symmetry.kinds.strands import Strands
from llfc.symmetry.spec.kinds import KINDS, SMALLER, Kinds
from llfc.symmetry.spec.table import family
from llfc.symmetry.transform import Element, Transform
from llfc.symmetry.transform.drawing import random_element
from tests.helpers.kinds_by_hand import NETWORKS, QUICK, expected, kinds_by_family, network
from tests.helpers.kinds_of_networks import VECTORS, Function, perceptron
from tests.helpers.quick_cases import slow_unless


@pytest.mark.parametrize("name", slow_unless(QUICK, NETWORKS))
def test_kinds_are_those_counted_by_hand(name):
    _, _, spec = network(name)
    found = kinds_by_family(spec)
    assert found == expected(name, found)
    assert spec.kinds.gap < 1e-12
    assert spec.kinds.lines == ()


# Networks in which a larger kind would be seen: no gains, and units that no group is nested in.
TELLING = (
    *("mlp relu", "mlp tanh", "mlp gelu", "mlp sigmoid", "mlp softmax", "mlp leaky", "abs"),
    *("clamp at 1", "plus one", "length", "mean subtracted", "softmax beside", "max pool"),
    *("rms without gains", "rms written out", "tied", "tied relu", "tied tanh"),
)


@pytest.mark.parametrize("name", TELLING)
def test_no_larger_kind_holds(name):
    """Random maps of each larger kind, in one strand through all of the network, change it."""
    model, inputs, spec = network(name)
    torch.manual_seed(5)
    state = {k: v.double() + torch.rand_like(v.double()) for k, v in model.state_dict().items()}
    kinds, powers = kinds_by_family(spec), one_strand(spec)
    for group, units in spec.groups.items():
        for larger in (k for k, smaller in SMALLER.items() if kinds[family(group)] in smaller):
            other = spec.with_kinds(Kinds({**spec.kinds, group: larger}, powers))
            drawn = random_element(larger, torch.arange(units), torch.Generator().manual_seed(1))
            after = Transform(other, {group: drawn}).apply(state)
            before, now = (outputs(model, each, inputs) for each in (state, after))
            assert not float((before - now).abs().max() / before.abs().max()) < 1e-6, larger


def outputs(model, state, inputs):
    """What a network computes with a state, in float64."""
    inputs = inputs.double() if inputs.is_floating_point() else inputs
    with torch.no_grad():
        return torch.func.functional_call(copy.deepcopy(model).double(), state, inputs)


def one_strand(spec):
    """1 where a tensor writes units, its first axis, and -1 where it reads them.

    A table of tokens, and what reads it, writes them on its second.
    """
    writes = {name: 1 if "embed" in name and len(spec.axes) < 3 else 0 for name in spec.axes}
    return {
        name: tuple(
            tuple((1 if d == writes[name] else -1,) * len(segment) for segment in axis)
            for d, axis in enumerate(axes)
        )
        for name, axes in spec.axes.items()
    }


def test_kinds_are_found_when_first_asked_for(monkeypatch):
    seen = []
    monkeypatch.setattr(
        "llfc.symmetry.derive.checked", lambda *given: seen.append(given) or Kinds({}, {})
    )
    spec = llfc.permutation_spec(perceptron(nn.ReLU()), VECTORS)
    spec.apply(spec.random(0), perceptron(nn.ReLU()).state_dict())
    assert len(seen) == 0
    assert spec.kinds is spec.kinds
    assert len(seen) == 1


def test_a_spec_keeps_its_example_and_not_what_the_example_is_a_part_of():
    images = torch.zeros(1000, 3)
    kept = alone(images[:2])
    assert torch.equal(kept, images[:2])
    assert kept.untyped_storage().nbytes() == 2 * 3 * 4
    assert alone(kept) is kept


def test_a_kind_that_fails_its_check_is_made_smaller(monkeypatch):
    """The walk is told that GELU is odd, or homogeneous: the function says that it is not."""
    for wrong in ("signed", "scaled", "invertible"):
        monkeypatch.setitem(llfc.symmetry.kinds.finding.KIND_OF, "gelu", wrong)
        spec = llfc.permutation_spec(
            nn.Sequential(nn.Linear(3, 4), nn.GELU(), nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 2)),
            VECTORS,
        )
        assert dict(spec.kinds) == {"0": "permutation", "2": "signed"}
        assert spec.kinds.lines[0].startswith(f"0: not {wrong} but ")
        assert spec.kinds.gap < 1e-12


def test_kinds_are_saved_and_loaded_once_they_are_known(tmp_path):
    _, _, spec = network("fused")
    assert {*spec.kinds.values()} == {"invertible", "permutation"}
    spec.save(tmp_path / "spec.json")
    loaded = llfc.PermutationSpec.load(tmp_path / "spec.json")
    assert loaded == spec
    assert loaded.kinds == spec.kinds
    assert loaded.kinds.powers == spec.kinds.powers
    fresh = llfc.permutation_spec(perceptron(nn.ReLU()), VECTORS)
    fresh.save(tmp_path / "fresh.json")
    with pytest.raises(ValueError, match=r"^kinds: this spec does not know its model"):
        _ = llfc.PermutationSpec.load(tmp_path / "fresh.json").kinds


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"invertible"', '"round"', "group '.*' of kind 'round'"),
        ("[[-1, -1]]", "[[-1, true]]", "must be a small integer, got True"),
        ("[[-1, -1]]", "[[-1]]", "'out.weight' has powers of another axis"),
        ('"gap": ', '"gap": [], "was": ', r"the gap must be a number, got \[\]"),
    ],
)
def test_a_damaged_file_is_refused_in_one_line(tmp_path, old, new, said):
    _, _, spec = network("fused")
    _ = spec.kinds
    path = tmp_path / "spec.json"
    spec.save(path)
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(ValueError, match=said):
        llfc.PermutationSpec.load(path)


def test_a_model_that_has_changed_is_refused():
    model = perceptron(nn.ReLU())
    spec = llfc.permutation_spec(model, VECTORS)
    model.append(nn.Linear(2, 2))
    with pytest.raises(ValueError, match=r"^kinds: the model has changed since .*'3.bias'$"):
        _ = spec.kinds


def test_a_model_in_half_precision_is_checked_in_double():
    model = perceptron(nn.Tanh()).to(torch.bfloat16)
    spec = llfc.permutation_spec(model, VECTORS.to(torch.bfloat16))
    assert dict(spec.kinds) == {"0": "signed"}
    assert spec.kinds.gap < 1e-12


def test_parts_that_may_change_places_are_only_permuted():
    model = Function(lambda h: h[:, :3] * h[:, 3:], read=3)
    spec = llfc.permutation_spec(model, VECTORS)
    assert {*spec.kinds.values()} == {"permutation"}


def test_one_strand_of_two_places_that_are_dual_is_its_own_dual():
    strands = Strands()
    one, other = (strands.place("g", on_tensor=True) for _ in range(2))
    strands.tie(one, other)
    assert strands.kind("g") == "invertible"
    strands.tie(one, other, dual=True)
    assert strands.kind("g") == "orthogonal"
    strands.limit(one, "signed", "scaled")
    assert strands.kind("g") == "signed"
    strands.ground(other)
    assert strands.kind("g") == "permutation"


def test_every_kind_is_within_no_smaller_one():
    assert [*KINDS] == ["permutation", "signed", "scaled", "orthogonal", "invertible"]
    for kind, smaller in SMALLER.items():
        assert all({*SMALLER[each]} < {*smaller} for each in smaller)
        assert kind not in smaller
    assert Element(matrix=torch.eye(2)).kind == "orthogonal"
