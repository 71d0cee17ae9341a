"""The line from A to B is checked: but for parameters and buffers, A and B must be one function."""

import copy
import functools

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import llfc
from llfc.modules import check_same_function, copy_into, copy_of, eval_copy, tensors
from llfc.modules.differences import first_difference
from tests.helpers.alike_networks import (
    CLASSES,
    Between,
    Encoder,
    connected,
    drawn,
    quantised,
    refused,
    samples,
)
from tests.helpers.quick_cases import slow_unless


class Held(nn.Module):
    """Layers in a list and in a dict, which torch does not register."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(6, 8), nn.Linear(8, CLASSES)
        self.layers = {"hidden": [nn.Linear(8, 8).double()]}

    def forward(self, x):
        return self.last(self.layers["hidden"][0](self.first(x)).relu())


class Indexed(nn.Module):
    """A buffer of whole numbers says in which order units are taken."""

    def __init__(self, order):
        super().__init__()
        self.first, self.last = nn.Linear(6, 8), nn.Linear(8, CLASSES)
        self.register_buffer("order", torch.as_tensor(order))

    def forward(self, x):
        return self.last(self.first(x)[:, self.order].relu())


class Caching(nn.Module):
    """Keeps a weight that it computed once, as long as it is in eval mode."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(6, 8), nn.Linear(8, CLASSES)
        self.doubled = None

    def forward(self, x):
        if self.doubled is None or self.training:
            self.doubled = 2 * self.first.weight.detach()
        return self.last(F.linear(x, self.doubled).relu())


def scaled(by):
    return lambda hidden: hidden.relu() * by


def hooked(by):
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, CLASSES))
    model[1].register_forward_hook(lambda module, inputs, output: output * by)
    return model


def patched(by):
    """Its forward is a function that holds on to the network it was made for."""
    model = nn.Sequential(nn.Linear(6, 8), nn.Linear(8, CLASSES))
    model.forward = lambda x: model[1](model[0](x).relu() * by)
    return model


class Epsilon(nn.Module):
    """A norm in a class of its own, whose settings no `extra_repr` shows."""

    def __init__(self, eps):
        super().__init__()
        self.eps = eps

    def forward(self, x):
        return x / (x.square().mean(-1, keepdim=True) + self.eps).sqrt()


# What differs -> how to make A, how to make B, and what is said to be the first difference.
UNLIKE = {
    "heads": (Encoder, lambda: Encoder(nhead=4), "layer.self_attn.num_heads: 2 against 4"),
    "pre-norm": (
        Encoder,
        lambda: Encoder(norm_first=True),
        "layer.norm_first: False against True",
    ),
    "activation": (
        lambda: Encoder(activation=F.silu),
        lambda: Encoder(activation=F.elu),
        "layer.activation: silu against elu",
    ),
    "number": (lambda: Between(2.0), lambda: Between(3.0), "inner: 2.0 against 3.0"),
    "function": (lambda: Between(F.relu), lambda: Between(F.silu), "inner: relu against silu"),
    "closure": (
        lambda: Between(scaled(2)),
        lambda: Between(scaled(3)),
        "inner, closing over by: 2 against 3",
    ),
    "lambda": (
        lambda: Between(lambda x: x.relu()),
        lambda: Between(lambda x: x.tanh()),
        "inner, its names[0]: 'relu' against 'tanh'",
    ),
    "partial": (
        lambda: Between(functools.partial(F.leaky_relu, negative_slope=0.1)),
        lambda: Between(functools.partial(F.leaky_relu, negative_slope=0.2)),
        "inner.keywords['negative_slope']: 0.1 against 0.2",
    ),
    "tensor": (
        lambda: Between(torch.ones(8).double()),
        lambda: Between(torch.arange(8).double()),
        "inner: numbers that are no float parameter or buffer",
    ),
    "small eps": (
        lambda: Between(Epsilon(1e-3)),
        lambda: Between(Epsilon(1e-2)),
        "inner.eps: 0.001 against 0.01",
    ),
    "layers in a list": (Held, Held, "layers['hidden'][0].weight: numbers that are no float"),
    "whole numbers": (
        lambda: Indexed(range(8)),
        lambda: Indexed(range(7, -1, -1)),
        "order: numbers that are no float parameter or buffer",
    ),
    "kept": (Caching, Caching, "doubled: numbers that are no float parameter or buffer"),
    "hook": (
        lambda: hooked(1.0),
        lambda: hooked(2.0),
        "1.forward_hooks[0], closing over by: 1.0 against 2.0",
    ),
    "forward": (lambda: patched(1), lambda: patched(1), "forward, closing over model"),
}


@pytest.mark.parametrize("kind", UNLIKE)
def test_what_differs_in_more_than_its_numbers_is_refused_and_named(kind):
    make_a, make_b, first = UNLIKE[kind]
    a, b = drawn(make_a, 0), drawn(make_b, 1)
    text = refused(lambda: connected(a, b))
    assert text.startswith("models differ in architecture: with B's parameters and buffers, A's ")
    assert f"first difference {first}" in text


def reference(a, b, alpha, images, labels):
    """The loss at alpha, by the plainest means."""
    model = copy.deepcopy(a)
    for name, value in b.named_parameters():
        into = model.get_parameter(name).data
        into.copy_((1 - alpha) * into + alpha * value.detach())
    with torch.no_grad():
        return F.cross_entropy(model(images), labels).item()


LIKE = {
    "encoder": Encoder,
    "pre-norm": lambda: Encoder(norm_first=True),
    "number": lambda: Between(2.0),
    "two closures": lambda: Between(scaled(2)),
    "tensor": lambda: Between(torch.arange(8).double()),
    "whole numbers": lambda: Indexed([3, 1, 2, 0, 4, 7, 6, 5]),
    "hook": lambda: hooked(2.0),
}


@pytest.mark.parametrize("kind", LIKE)
def test_what_differs_in_its_numbers_alone_has_its_line(kind):
    a, b = drawn(LIKE[kind], 0), drawn(LIKE[kind], 1)
    curve = connected(a, b).curve["test_loss"]
    assert curve.tolist() == pytest.approx([reference(a, b, w, *samples()) for w in (0, 0.5, 1)])


class Ranged(nn.Module):
    """Shows the numbers in its buffers where others show settings, as observers of ranges do."""

    def __init__(self):
        super().__init__()
        self.register_buffer("most", torch.rand(4, 4))

    def extra_repr(self):
        return f"most={self.most}"

    def forward(self, x):
        return x.clamp(max=self.most.max())


def test_numbers_that_a_module_shows_of_its_buffers_are_no_settings():
    a, b = (
        drawn(lambda: nn.Sequential(nn.Linear(6, 8), Ranged(), nn.Linear(8, CLASSES)), seed)
        for seed in (0, 1)
    )
    curve = connected(a, b).curve["test_loss"]
    blend = copy.deepcopy(a)
    with torch.no_grad():
        for name, into in tensors(blend).items():
            into.lerp_(tensors(b)[name], 0.5)
        loss = F.cross_entropy(blend(samples()[0]), samples()[1])
    assert curve[1] == pytest.approx(loss.item())


@pytest.mark.parametrize(
    "dtype",
    slow_unless((torch.float16,), [torch.float16, torch.bfloat16, torch.float32, torch.float64]),
)
def test_tolerance_follows_the_type(dtype):
    """A permuted network rounds otherwise; two heads for four do not pass for rounding."""
    test = samples(dtype=dtype)
    a, b, other = (
        drawn(make, seed, dtype)
        for make, seed in ((Encoder, 0), (Encoder, 1), (lambda: Encoder(nhead=4), 1))
    )
    spec = llfc.permutation_spec(drawn(Encoder, 0), samples()[0][:2])
    connected(a, b, test=test, matching=spec.random(0), spec=spec)
    assert "num_heads" in refused(lambda: connected(a, other, test=test))


def test_types_that_are_written_into_the_code_do_not_hide_a_difference():
    class Single(Between):
        def forward(self, x):
            return super().forward(x.float())

    a, b, c = (drawn(lambda by=by: Single(by), 0, torch.float32) for by in (2.0, 2.0, 2.001))
    test = samples(dtype=torch.float32)
    connected(a, b, test=test)
    assert "inner: 2.0 against 2.001" in refused(lambda: connected(a, c, test=test))


def matchable(kind):
    make_a, make_b, _ = UNLIKE[kind]
    a, b = drawn(make_a, 0), drawn(make_b, 1)
    return a, b, llfc.permutation_spec(a, samples()[0][:2])


@pytest.mark.parametrize("kind", ["heads", "pre-norm", "number", "function", "small eps"])
def test_matching_refuses_them_too_with_batches_and_without(kind):
    a, b, spec = matchable(kind)
    first = UNLIKE[kind][2]
    images = samples()[0]
    for call in (
        lambda: llfc.match("weights", a, b, spec),
        lambda: llfc.match("none", a, b, spec, [images]),
        lambda: llfc.match_many([a, a, b], spec),
        lambda: llfc.match_many([a, a, b], spec, batches=[images]),
    ):
        assert first in refused(call)


def test_a_setting_that_changes_nothing_is_no_hindrance_where_that_can_be_seen():
    a, b = drawn(lambda: Between(F.relu), 0), drawn(lambda: Between(F.relu), 1)
    a.run, b.run = 1, 2
    images = samples()[0]
    spec = llfc.permutation_spec(a, images[:2])
    connected(a, b)
    connected(a, b, matching="weights")
    found = llfc.match("weights", a, b, spec, [images])
    assert "run: 1 against 2 (A against B); if no output depend" in refused(
        lambda: llfc.match("weights", a, b, spec)
    )
    assert llfc.match("weights", a, b, spec, iter([images])) == found


def test_no_batch_is_lost_to_the_check():
    """Batches that can be taken once are all matched on."""
    a, b, spec = drawn(lambda: Between(F.relu), 0), drawn(lambda: Between(F.relu), 1), None
    images = samples(40)[0].split(8)
    spec = llfc.permutation_spec(a, images[0][:2])
    once = llfc.match("activations", a, b, spec, iter(images))
    assert once.record["iterations"] == 5
    assert once == llfc.match("activations", a, b, spec, images)


def test_the_check_leaves_its_models_as_they_are():
    a, b = (eval_copy(drawn(Encoder, seed)) for seed in (0, 1))
    before = [copy.deepcopy(model.state_dict()) for model in (a, b)]
    check_same_function(a, b, [samples()[0]])
    for model, state in zip((a, b), before, strict=True):
        assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


def test_nothing_differs_between_a_network_and_one_that_holds_its_numbers():
    for make in [*LIKE.values(), quantised]:
        a, b = drawn(make, 0), drawn(make, 1)
        assert first_difference(a, copy_of(a)) == ""
        if make is not quantised:
            copy_into(a, tensors(b))
            assert first_difference(a, b) == ""
