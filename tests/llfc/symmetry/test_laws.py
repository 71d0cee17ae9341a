"""What every derivation keeps to: completeness, refusals, features, and the caller's model."""

import itertools

import pytest
import torch
from torch import nn

from llfc.symmetry import permutation_spec
from llfc.symmetry.derive import Derivation
from llfc.symmetry.graph.export import exported
from llfc.symmetry.spec import Factor, PermutationSpec
from llfc.symmetry.spec.selfcheck import randomised, relative_gap
from tests.helpers.quick_cases import slow_unless
from tests.helpers.small_torchvision import FAMILIES, family
from tests.helpers.wired_networks import Net, chain, lin


def conv_net():
    return nn.Sequential(
        nn.Conv2d(3, 6, 3),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.Conv2d(6, 4, 3, groups=2),
        nn.GroupNorm(2, 4),
        nn.ReLU(),
        nn.Flatten(),
        nn.Dropout(0.5),
        nn.Linear(16, 5),
        nn.ReLU(),
        nn.Linear(5, 3),
    )


IMAGES = torch.randn(2, 3, 6, 6, generator=torch.Generator().manual_seed(0))


def outputs(model, state, x):
    with torch.no_grad():
        return torch.func.functional_call(model.eval(), state, (x,))


def swapped_rows(state, axes, dim_of, i, j):
    """The state with positions i and j of one axis of several tensors exchanged."""
    new = dict(state)
    for name, dim in dim_of:
        index = torch.arange(state[name].shape[dim])
        index[[i, j]] = index[[j, i]]
        new[name] = new[name].index_select(dim, index)
    return new


def test_a_swap_keeps_the_function_exactly_if_the_groups_allow_it():
    """Brute force over all swaps of channels: the groups are all the symmetry there is."""
    model = nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.GroupNorm(3, 6), nn.ReLU(), nn.Conv2d(6, 2, 1)
    ).double()
    spec = permutation_spec(model, IMAGES.double())
    state = randomised(model.state_dict(), 0)
    moved = [("0.weight", 0), ("0.bias", 0), ("1.weight", 0), ("1.bias", 0), ("3.weight", 1)]
    before = outputs(model, state, IMAGES.double())
    for i, j in itertools.combinations(range(6), 2):
        after = outputs(model, swapped_rows(state, spec.axes, moved, i, j), IMAGES.double())
        together = i // 2 == j // 2  # in one run of the norm
        assert (relative_gap([before], [after]) < 1e-10) == together
    assert sorted(spec.groups.values()) == [2, 2, 2, 3]


def test_what_is_frozen_is_not_symmetric():
    """Inputs and outputs are no groups: exchanging two of them changes the function."""
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 3)).double()
    spec = permutation_spec(model, torch.randn(2, 3).double())
    assert spec.axes["0.weight"][1] == spec.axes["2.weight"][0] == ((Factor(3),),)
    x, state = torch.randn(5, 3).double(), model.state_dict()
    for name, dim in (("0.weight", 1), ("2.weight", 0)):
        after = outputs(model, swapped_rows(state, spec.axes, [(name, dim)], 0, 1), x)
        assert relative_gap([outputs(model, state, x)], [after]) > 1e-3


def test_features_carry_their_groups():
    model = conv_net()
    spec = permutation_spec(model, IMAGES)
    state = randomised(model.state_dict(), 1)
    perm = spec.random(1)
    found = {}

    def record(module, run):
        return lambda m, i, y: found.__setitem__((module, run), y.detach().clone())

    for run, tensors in enumerate([state, spec.apply(perm, state)]):
        hooks = [m.register_forward_hook(record(n, run)) for n, m in model.named_modules() if n]
        outputs(model, tensors, IMAGES)
        for hook in hooks:
            hook.remove()
    carried = {f for features in spec.features.values() for f in features}
    assert {f.module for f in carried} == {"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"}
    assert all(spec.features.values())
    for feature in carried:
        index = spec.index(perm, feature.axis)
        expected = found[feature.module, 0].index_select(feature.dim, index)
        if feature.module == "2":  # overwritten by nothing: a ReLU that is not in place
            assert torch.allclose(found[feature.module, 1], expected, atol=1e-5)
        assert torch.allclose(found[feature.module, 1], expected, atol=1e-4)


def test_the_callers_model_is_left_as_it_was():
    model = conv_net().train()
    model[1].eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    permutation_spec(model, IMAGES)
    assert torch.equal(torch.rand(3), expected)
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(before[n], t) for n, t in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())


def test_the_same_model_gives_the_same_spec():
    assert permutation_spec(conv_net(), IMAGES) == permutation_spec(conv_net(), IMAGES)


def test_saved_and_loaded(tmp_path):
    spec = permutation_spec(conv_net(), IMAGES)
    spec.save(tmp_path / "spec.json")
    assert PermutationSpec.load(tmp_path / "spec.json") == spec


def test_inverse_and_composition_of_nested_groups():
    model = conv_net()
    spec = permutation_spec(model, IMAGES)
    p, q, state = spec.random(0), spec.random(1), model.state_dict()
    both, one = spec.apply(spec.compose(p, q), state), spec.apply(q, spec.apply(p, state))
    assert all(torch.equal(both[n], one[n]) for n in state)
    assert spec.compose(p, spec.inverse(p)) == spec.identity()


def test_a_wrong_spec_fails_its_check():
    model = conv_net()
    spec = permutation_spec(model, IMAGES)
    spec.axes["1.running_var"] = (((Factor(6),),),)
    with pytest.raises(ValueError, match=r"outputs in eval mode change by"):
        spec.check(model, IMAGES)


def test_a_constant_input_hides_nothing_from_the_check():
    """Zeros would: every wrong spec of the first layer keeps the function on them."""
    model, zeros = chain(lin(4, 5), nn.ReLU(), lin(5, 2)), torch.zeros(2, 4)
    spec = permutation_spec(model, zeros)
    spec.axes["0.weight"] = (((Factor(5),),), spec.axes["0.weight"][1])
    with torch.no_grad():
        model[0].bias.zero_()
    with pytest.raises(ValueError, match="outputs in eval mode change by"):
        spec.check(model, zeros)


def test_unused_and_tied_parameters():
    def forward(m, x):
        return m.last(torch.relu(m.first(x)))

    model = Net(forward, first=nn.Linear(3, 5), last=nn.Linear(5, 3), unused=nn.Linear(4, 4))
    model.twin = model.first.weight
    spec = permutation_spec(model, torch.randn(2, 3))
    assert list(spec.groups.values()) == [5]
    assert spec.axes["unused.weight"] == (((Factor(4),),), ((Factor(4),),))
    assert spec.axes["twin"] == spec.axes["first.weight"]
    assert spec.frozen == tuple(f"unused.{end}: no graph uses it" for end in ("weight", "bias"))


def test_what_the_derivation_did_not_see_is_said():
    """Scalars and single entries too, and tensors that are in no state dict."""

    class Hiding(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.last = lin(3, 5), lin(5, 2)
            self.layers = [lin(5, 5)]  # no submodule, so in no state dict
            self.by_name = {"shift": torch.randn(5)}
            self.scale = torch.randn(5)
            self.register_buffer("table", torch.randn(5), persistent=False)
            self.temperature = nn.Parameter(torch.ones(1))
            self.register_buffer("unread", torch.tensor(1.0))
            self.register_buffer("steps", torch.tensor(0))  # counts: no weight

        def forward(self, x):
            h = self.layers[0](self.stem(x)) * self.scale * self.table + self.by_name["shift"]
            return self.last(h * torch.tensor([1.0, 1.0, 2.0, 2.0, 2.0]))

    frozen = permutation_spec(Hiding(), torch.randn(2, 3)).frozen
    outside = "the graph uses it as a constant, as it is not in the state dict"
    assert {tuple(line.split(": ")) for line in frozen} == {
        ("temperature", "no graph uses it"),
        ("unread", "no graph uses it"),
        ("layers[0].weight", outside),
        ("layers[0].bias", outside),
        ("by_name['shift']", outside),
        ("scale", outside),
        ("table", outside),
    }


def test_units_of_weights_made_of_parameters_are_as_few_as_of_parameters():
    """One for each entry of a weight would be four times as many at twice the width."""

    def standardised(m, x):
        return m.head(torch.nn.functional.linear(x, m.stem.weight / m.stem.weight.norm()))

    def nodes(width):
        model = Net(standardised, stem=lin(width, width), head=lin(width, 2))
        derivation = Derivation(model, strict=True)
        derivation.walk(exported(model, [torch.randn(2, width)], training=False))
        return derivation.units.count

    assert nodes(32) < 2.5 * nodes(16)


def test_heads_used_in_train_mode_alone_move_too():
    class Auxiliary(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.main, self.aux = nn.Linear(3, 5), nn.Linear(5, 2), nn.Linear(5, 2)

        def forward(self, x):
            x = torch.relu(self.stem(x))
            return (self.main(x), self.aux(x)) if self.training else self.main(x)

    spec = permutation_spec(Auxiliary(), torch.randn(2, 3))
    assert spec.groups == {"stem": 5}
    assert spec.axes["aux.weight"][1] == ((Factor(5, ("stem",)),),)


def test_what_a_model_keeps_for_eval_mode_is_not_kept_from_the_check():
    class Keeping(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.scale, self.head = nn.Linear(3, 5), nn.Linear(1, 5), nn.Linear(5, 2)
            self.kept = None

        def train(self, mode=True):
            self.kept = None if mode else self.kept
            return super().train(mode)

        def forward(self, x):
            if self.training:
                return self.head(self.stem(x) * self.scale.bias)
            self.kept = self.scale.bias * 1 if self.kept is None else self.kept
            return self.head(self.stem(x) * self.kept)

    model = Keeping()
    assert list(permutation_spec(model, torch.randn(2, 3)).groups.values()) == [5]
    assert model.kept is None


@pytest.mark.parametrize("name", slow_unless((), FAMILIES, [*FAMILIES][1::2]))
def test_every_family_of_torchvision(name):
    """With few blocks; `-m exhaustive` goes through all 80 networks as they are."""
    model, images = family(name)
    assert len(permutation_spec(model, images).groups) > 1


@pytest.mark.slow
@pytest.mark.exhaustive
def test_every_classification_model_of_torchvision():
    from llfc.symmetry.coverage import coverage, model_names

    rows = list(coverage(model_names()))
    assert len(rows) == 80
    assert not [str(row) for row in rows if row.reason]
