"""What cannot be derived is refused in one line, or frozen where that is asked for."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from llfc.symmetry import permutation_spec
from llfc.symmetry.rules.registry import RULES
from tests.helpers.wired_networks import Net, between, chain, lin


def sorting(m, x):
    return m.last(torch.linalg.qr(m.first(x)).Q)


def sorting_net():
    return Net(sorting, first=nn.Linear(3, 5), last=nn.Linear(5, 2))


def test_an_operator_without_a_rule_is_refused_in_one_line():
    x = torch.randn(6, 3)
    with pytest.raises(ValueError, match=r"linalg_qr.* at node .* in module .*: ") as caught:
        permutation_spec(sorting_net(), x)
    assert "\n" not in str(caught.value)


def test_not_strict_freezes_and_says_so():
    spec = permutation_spec(sorting_net(), torch.randn(6, 3), strict=False)
    assert not spec.groups
    assert any("linalg_qr" in line for line in spec.frozen)
    assert "frozen: " in str(spec)


def test_units_that_move_in_no_product_of_groups_are_frozen_and_said_to_be():
    def product(m, x):
        h = m.first(x)
        return m.last((h.view(-1, 2, 3) @ h.view(-1, 3, 2)).flatten(1))

    model = Net(product, first=nn.Linear(3, 6), last=nn.Linear(4, 2))
    spec = permutation_spec(model, torch.randn(2, 3))
    assert not spec.groups
    assert [line for line in spec.frozen if "no product of groups says how they move" in line]


def test_a_tensor_that_overlaps_another_is_frozen_and_said_to_be():
    model = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2))
    model[0].bias = nn.Parameter(model[0].weight.data.view(-1)[:5])
    spec = permutation_spec(model, torch.randn(2, 3))
    assert not spec.groups
    assert {line.partition(":")[0] for line in spec.frozen} == {"0.weight", "0.bias"}


def test_what_cannot_be_exported_is_refused_in_one_line():
    def forward(m, x):
        return m.a(x) if x.sum() > 0 else m.b(x)

    model = Net(forward, a=nn.Linear(3, 2), b=nn.Linear(3, 2))
    with pytest.raises(ValueError, match=r"torch\.export cannot trace Net") as caught:
        permutation_spec(model, torch.randn(2, 3))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "forward",
    [
        lambda m, x: m.last(m.first(x).cumsum(-1)),
        lambda m, x: m.last(m.first(x) * torch.arange(5.0)),
        lambda m, x: m.last(m.first(x).argsort(-1).float()),
        lambda m, x: m.last(m.first(x) @ torch.arange(25.0).reshape(5, 5)),
        lambda m, x: m.last(m.first(x)[:, None].expand(-1, 5, -1).tril()[:, -1]),
    ],
    ids=["cumsum", "constant", "argsort", "product with a constant", "triangle"],
)
def test_units_that_are_told_apart_are_frozen(forward):
    model = Net(forward, first=nn.Linear(3, 5), last=nn.Linear(5, 2))
    assert not permutation_spec(model, torch.randn(2, 3)).groups


@pytest.mark.parametrize(
    ("function", "operator"),
    [
        (lambda h: torch.fft.fft(h).real, "fft_fft"),
        (lambda h: torch.linalg.inv(h.transpose(1, 2) @ h)[:, :4], "linalg_inv"),
        (lambda h: h.masked_scatter(h > 0, h.flip(-1)), "masked_scatter"),
    ],
    ids=["fft", "inverse", "scatter"],
)
def test_what_no_rule_covers_is_refused_with_operator_node_and_module(function, operator):
    model, inputs = between(function, x=torch.randn(2, 4, 3))
    with pytest.raises(
        ValueError, match=rf"aten\.{operator}.* at node \w+ in module .+: "
    ) as caught:
        permutation_spec(model, *inputs)
    assert "\n" not in str(caught.value)
    spec = permutation_spec(model, *inputs, strict=False)
    assert any(operator in line for line in spec.frozen)


@pytest.mark.parametrize(
    "bug", [KeyError("dim"), AttributeError("raw"), AssertionError(), ValueError("2"), IndexError()]
)
@pytest.mark.parametrize("strict", [True, False])
def test_a_rules_own_bug_is_no_unsupported_operator(monkeypatch, bug, strict):
    def broken(call):
        raise bug

    monkeypatch.setitem(RULES, "softmax", broken)
    model = chain(lin(3, 5), nn.Softmax(-1), lin(5, 2))
    with pytest.raises(
        RuntimeError, match=r"aten\.softmax\.int at node \w+ in module 1: "
    ) as caught:
        permutation_spec(model, torch.randn(2, 3), strict=strict)
    assert "bug of llfc" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.__cause__ is bug


def test_a_bug_in_what_is_known_of_constants_is_no_operator_that_does_not_run(monkeypatch):
    def broken(units, value):
        raise KeyError("dim")

    monkeypatch.setattr("llfc.symmetry.graph.walk.constant_layouts", broken)
    model, inputs = between(lambda h: h + torch.zeros(5).add(2), x=torch.randn(2, 3))
    with pytest.raises(RuntimeError, match="bug of llfc"):
        permutation_spec(model, *inputs)


@pytest.mark.parametrize(
    "function",
    [
        lambda h: h.take_along_dim(torch.tensor([0, 3, 2])),
        lambda h: h.gather(1, torch.tensor([[[0]], [[2]]]).expand(-1, -1, 4)),
    ],
    ids=["entries in one line", "an index of another size"],
)
def test_a_call_that_a_rule_does_not_cover_is_refused_by_it(function):
    model, inputs = between(function, x=torch.randn(2, 4, 3))
    model.last = nn.Identity()
    with pytest.raises(ValueError, match=r"permutation spec: aten\.\w+\.\w+ at node \w+"):
        permutation_spec(model, *inputs)
    assert permutation_spec(model, *inputs, strict=False).frozen


def test_sizes_that_depend_on_the_data_are_refused_in_one_line():
    model = Net(lambda m, x: m.first(x)[x[:, 0] > 0].sum(), first=lin(3, 5))
    for strict in (True, False):
        with pytest.raises(
            ValueError, match="the size of its result depends on the data"
        ) as caught:
            permutation_spec(model, torch.randn(2, 3), strict=strict)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("function", "operator"),
    [
        (lambda h: h + torch.randn_like(h), "randn_like"),
        (lambda h: h * torch.bernoulli(torch.full_like(h, 0.5)), "bernoulli"),
        (lambda h: h + torch.empty_like(h).uniform_(), "uniform_"),
        (F.gumbel_softmax, "exponential_"),
        (F.dropout, "dropout"),
    ],
    ids=["noise", "mask", "noise in place", "gumbel", "dropout"],
)
def test_draws_for_each_unit_in_eval_mode_are_refused_by_name(function, operator):
    model, inputs = between(function)
    line = (
        rf"aten\.{operator}\..* at node \w+ in module .+: it draws at random for each unit of first"
    )
    with pytest.raises(ValueError, match=line) as caught:
        permutation_spec(model, *inputs)
    assert "\n" not in str(caught.value)
    spec = permutation_spec(model, *inputs, strict=False)
    assert not spec.groups
    assert any(operator in line for line in spec.frozen)


def test_draws_that_no_unit_has_for_itself_are_kept():
    model, inputs = between(lambda h: h * torch.rand(len(h), 1))
    assert permutation_spec(model, *inputs).groups == {"first": 5}


class InTraining(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x) if self.training else x


@pytest.mark.parametrize(
    "function",
    [
        lambda h: h + torch.randn_like(h),
        lambda h: h * (torch.rand_like(h) < 0.7),
        lambda h: h + torch.normal(h, h.abs()),
        lambda h: h * torch.bernoulli(h.sigmoid()),
        lambda h: F.rrelu(h, training=True),
        F.gumbel_softmax,
        F.alpha_dropout,
        nn.Dropout(0.5),
    ],
    ids=["noise", "mask", "normal", "bernoulli", "rrelu", "gumbel", "alpha", "dropout"],
)
def test_draws_for_each_unit_in_train_mode_are_no_hindrance(function):
    model = chain(lin(3, 5), InTraining(function), nn.ReLU(), lin(5, 2))
    assert list(permutation_spec(model, torch.randn(2, 3)).groups.values()) == [5]


def test_a_choice_of_units_in_train_mode_is_refused_by_name():
    model = chain(lin(3, 5), InTraining(lambda h: h[:, torch.randperm(5)]), lin(5, 2))
    with pytest.raises(ValueError, match=r"train mode .*aten\.randperm.* in module 1"):
        permutation_spec(model, torch.randn(2, 3))


def test_products_of_what_the_data_decide_the_size_of_are_refused_in_one_line():
    def chosen(m, x):
        h = m.first(x).relu()
        units = h.mean(0).nonzero()[:, 0]
        return h[:, units] @ m.last.weight[:, units].T

    model = Net(chosen, first=nn.Linear(3, 5), last=nn.Linear(5, 2))
    with pytest.raises(ValueError, match=r"^permutation spec: ") as caught:
        permutation_spec(model, torch.randn(6, 3))
    assert "\n" not in str(caught.value)
