"""What a network takes, holds and computes in, beside float32 tensors in and out."""

import logging
import warnings
from collections import OrderedDict, namedtuple
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.ao.nn import quantized

from llfc.symmetry import permutation_spec
from llfc.symmetry.spec.axes import Factor
from llfc.symmetry.spec.selfcheck import Comparison
from tests.helpers.quick_cases import slow_unless
from tests.helpers.wired_networks import Net, chain, conv, lin

x = torch.randn(2, 3)
Named = namedtuple("Named", "x scale")


def taking(function):
    """Five hidden units, of what `function` makes of the inputs."""
    return Net(
        lambda m, *inputs: m.last(F.relu(m.first(function(*inputs)))),
        first=lin(3, 5),
        last=lin(5, 2),
    )


# name -> (the tensor that the network makes of its inputs, the inputs)
INPUTS = {
    "dict": (lambda d: d["x"], ({"x": x},)),
    "ordered dict": (lambda d: d["x"], (OrderedDict(x=x),)),
    "list": (lambda two: two[0] + two[1], ([x, x],)),
    "tuple": (lambda two: two[0] * two[1], ((x, 0.5),)),
    "named tuple": (lambda d: d.x * d.scale, (Named(x, 2),)),
    "nested": (lambda d: d["all"][0]["x"], ({"all": [{"x": x}, None]},)),
    "float": (lambda x, scale: x * scale, (x, 0.5)),
    "whole number": (lambda x, scale: x * scale, (x, 2)),
    "flag": (lambda x, negate: -x if negate else x, (x, True)),
    "None": (lambda x, mask: x if mask is None else x * mask, (x, None)),
    "word": (lambda x, how: x.abs() if how == "abs" else x, (x, "abs")),
}


@pytest.mark.parametrize("case", INPUTS)
def test_inputs_of_any_kind_that_the_exporter_takes(case):
    function, inputs = INPUTS[case]
    spec = permutation_spec(taking(function), *inputs)
    assert spec.groups == {"first": 5}
    assert spec.check(taking(function), *inputs) < 1e-4


@pytest.mark.parametrize("inputs", [(None,), ([x],), (0.5,), (), ({"x": x},), (x.numpy(),)])
def test_inputs_that_do_not_fit_are_refused_in_one_line(inputs):
    with pytest.raises(
        ValueError, match=r"^example inputs must fit the model, got .+: .+"
    ) as caught:
        permutation_spec(chain(lin(3, 5), lin(5, 2)), *inputs)
    assert "\n" not in str(caught.value)


def test_outputs_may_be_dicts_with_gaps():
    model = Net(
        lambda m, x: {"y": m.last(m.first(x).relu()), "cache": None},
        first=lin(3, 5),
        last=lin(5, 2),
    )
    assert permutation_spec(model, x).groups == {"first": 5}


class Extra(nn.Linear):
    """Its state dict holds what is no tensor."""

    def get_extra_state(self):
        return {"version": 1}


def test_extra_state_that_is_no_tensor_is_refused_in_one_line():
    with pytest.raises(ValueError, match=r"got '0\._extra_state', a dict: .* without extra state"):
        permutation_spec(chain(Extra(3, 5), nn.ReLU(), lin(5, 2)), x)


@pytest.mark.parametrize("static", [False, True])
def test_quantised_networks_are_refused_in_one_line(static):
    model, inputs = chain(lin(3, 5), nn.ReLU(), lin(5, 2)), x
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if static:
            model, inputs = chain(quantized.Conv2d(3, 4, 1)), torch.randn(2, 3, 4, 4)
            inputs = torch.quantize_per_tensor(inputs, 0.1, 0, torch.quint8)
        else:
            model = torch.ao.quantization.quantize_dynamic(model, {nn.Linear})
        with pytest.raises(
            ValueError, match=r"got '0\..+: give the network as it was before"
        ) as caught:
            permutation_spec(model, inputs)
    assert "\n" not in str(caught.value)


class NormsInFloat32(nn.Module):
    """As language models are: weights in half precision, norms that upcast, casts between them."""

    def __init__(self, dtype, upcast):
        super().__init__()
        self.first, self.last = lin(16, 128), lin(128, 4)
        self.norms = nn.ModuleList(nn.LayerNorm(128) for _ in range(4))
        self.layers = nn.ModuleList(lin(128, 128) for _ in range(4))
        self.to(dtype)
        if upcast:
            self.norms.float()

    def forward(self, x):
        h = self.first(x)
        for norm, layer in zip(self.norms, self.layers, strict=True):
            weight, bias = norm.weight.float(), norm.bias.float()
            normed = F.layer_norm(h.float(), norm.normalized_shape, weight, bias)
            h = h + F.gelu(layer(normed.to(h.dtype)))
        return self.last(h)


@pytest.mark.parametrize("dtype", slow_unless([torch.bfloat16], [torch.float16, torch.bfloat16]))
@pytest.mark.parametrize("upcast", [False, True])
def test_half_precision_is_checked_beyond_its_own_rounding(dtype, upcast):
    torch.manual_seed(0)
    model, inputs = NormsInFloat32(dtype, upcast), torch.randn(8, 16).to(dtype)
    spec = permutation_spec(model, inputs)
    assert list(spec.groups.values()) == [128]
    perm = spec.random(0)
    moved = partial(spec.apply, perm)
    rounding = Comparison(moved, model, model.state_dict(), [inputs], 0, training=False).gap()
    assert spec.check(model, inputs) < 1e-4 < rounding or rounding == 0
    spec.axes["norms.2.bias"] = (((Factor(128),),),)
    with torch.no_grad():
        model.norms[2].bias.normal_(std=0.01)  # far below what half precision tells apart
    with pytest.raises(ValueError, match="change by"):
        spec.check(model, inputs)


def test_autocast_is_checked_in_double():
    def forward(m, x):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return m.last(m.norm(m.first(x)).relu())

    model = Net(forward, first=lin(3, 64), norm=nn.LayerNorm(64), last=lin(64, 2))
    spec = permutation_spec(model, torch.randn(4, 3))
    assert spec.groups == {"first": 64}


def norm_of_one():
    return chain(lin(3, 5), nn.BatchNorm1d(5), nn.ReLU(), lin(5, 2)), torch.randn(1, 3)


class Auxiliary(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.norm = conv(3, 5, 4), nn.BatchNorm2d(5)
        self.head, self.other = lin(5, 2), lin(5, 2)

    def forward(self, x):
        h = self.norm(self.stem(x)).flatten(1).relu()
        return (self.head(h), self.other(h)) if self.training else self.head(h)


def test_one_example_is_enough():
    model, example = norm_of_one()
    assert permutation_spec(model, example).groups == {"0": 5}
    spec = permutation_spec(Auxiliary(), torch.randn(1, 3, 4, 4))
    assert spec.groups == {"stem": 5}
    assert not spec.frozen  # the head of train mode was seen
    assert spec.axes["other.weight"][1] == ((Factor(5, ("stem",)),),)


class Trained(nn.Module):
    """A model whose train mode asks for more than its eval mode does; its other head is then used.

    `demand` is told the features, [N, 5], and raises what such models raise.
    """

    def __init__(self, demand):
        super().__init__()
        self.first, self.last, self.other = lin(3, 5), lin(5, 2), chain(lin(5, 4), lin(4, 2))
        self.demand = demand

    def forward(self, x):
        h = self.first(x).relu()
        if self.training:
            self.demand(h)
            return self.last(h), self.other(h)
        return self.last(h)


def raising(error):
    def demand(h):
        raise error

    return demand


DEMANDS = {
    "a larger image": lambda h: F.avg_pool1d(h, 9),
    "targets": raising(TypeError("targets should not be none\nwhen in training mode")),
    "eval mode": raising(AssertionError()),
    "its own": raising(NotImplementedError("train it with the trainer")),
}


@pytest.mark.parametrize("demand", DEMANDS)
def test_a_model_that_the_example_cannot_train_has_the_symmetry_of_eval_mode(demand, capfd):
    model = Trained(DEMANDS[demand])
    spec = permutation_spec(model, x)
    assert spec.groups == {"first": 5}
    assert spec.check(model, x) < 1e-4
    passed = [line for line in spec.frozen if line.startswith("other.0.weight: ")]
    assert "there is none in train mode: torch.export cannot trace Trained: " in passed[0]
    assert "\n" not in passed[0]
    assert capfd.readouterr() == ("", "")


def test_rounding_that_a_network_magnifies_is_no_asymmetry():
    """As batch norms over two images do, one after another: in float32 nothing is left."""

    def magnifying(moved=1.0):
        torch.manual_seed(0)
        scale = torch.ones(5)
        scale[0] = moved
        return Net(
            lambda m, x: torch.sin(1e9 * m.last(scale * F.relu(m.first(x)))),
            first=lin(3, 5),
            last=lin(5, 2),
        )

    example = torch.randn(20, 3)
    spec = permutation_spec(magnifying(), example)
    assert spec.groups == {"first": 5}
    with pytest.raises(ValueError, match=r"outputs in eval mode change by"):
        spec.check(magnifying(moved=1.0001), example)


class DynamicCache:
    def __init__(self, x):
        self.x = x


REFUSED = {
    "branch": (lambda m, x: m.a(x) if x.sum() > 0 else -m.a(x), r"branches on values of tensors"),
    "size": (lambda m, x: m.a(x)[: int(x.sum().item())], r"takes sizes from them"),
    "cache": (lambda m, x: (m.a(x), DynamicCache(x)), r"use_cache=False"),
    "numpy": (lambda m, x: m.a(x) + torch.tensor(x.numpy()[0, 0]), r"compute with torch alone"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_exported_says_where_and_what_to_do(case, capfd):
    forward, hint = REFUSED[case]
    buffer = nn.BatchNorm1d(3)
    model = Net(lambda m, x: forward(m, m.norm(x)), a=lin(3, 5), norm=buffer)
    disabled = logging.root.manager.disable
    with pytest.raises(ValueError, match=rf"torch\.export cannot trace Net: .*{hint}") as caught:
        permutation_spec(model, x.abs())
    assert "\n" not in str(caught.value)
    if case != "cache":  # which is complained of after all code of the network has run
        assert "test_inputs.py:" in str(caught.value)
    assert capfd.readouterr() == ("", "")
    assert logging.root.manager.disable == disabled


@pytest.mark.slow
@pytest.mark.exhaustive
def test_inception_takes_one_image():
    torchvision = pytest.importorskip("torchvision")
    model = torchvision.models.inception_v3(weights=None, init_weights=False)
    spec = permutation_spec(model, torch.randn(1, 3, 299, 299))
    assert len(spec.groups) == 96
    assert not spec.frozen


@pytest.mark.parametrize("kind", ["sparse", "nested"])
def test_inputs_that_are_not_dense_are_refused_in_one_line(kind):
    given = (
        x.to_sparse()
        if kind == "sparse"
        else torch.nested.nested_tensor([x[0], x[1]], layout=torch.jagged)
    )
    with pytest.raises(ValueError, match=r"^example inputs must be dense tensors, got one") as said:
        permutation_spec(chain(lin(3, 5), lin(5, 2)), given)
    assert "\n" not in str(said.value)


def test_inputs_may_have_been_made_in_inference_mode():
    with torch.inference_mode():
        given = x * 1
    assert permutation_spec(chain(lin(3, 5), lin(5, 2)), given).groups == {"0": 5}
