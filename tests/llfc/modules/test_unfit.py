"""Networks that no line or permutation can be computed for are refused, with the way out."""

import copy
import warnings

import numpy as np
import pytest
import torch
from torch import nn

import llfc
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


def test_packed_weights_are_refused():
    a, b = (drawn(quantised, seed, torch.float32) for seed in (0, 1))
    test = samples(dtype=torch.float32)
    assert "first difference 0._packed_params" in refused(lambda: connected(a, b, test=test))
    assert "'0._packed_params.dtype'" in refused(lambda: llfc.permutation_spec(a, test[0]))


def test_a_spec_of_another_network_is_refused():
    """The permuted B must be B: heads of two units are no heads of four."""
    a, b = (drawn(lambda: Encoder(nhead=4), seed) for seed in (0, 1))
    spec = llfc.permutation_spec(drawn(Encoder, 0), samples()[0][:2])
    text = refused(lambda: connected(a, b, matching=spec.random(0), spec=spec))
    assert text.startswith("permuted, B's outputs are ")


class Drawing(nn.Module):
    """Is another function every time that it is called."""

    def __init__(self, how):
        super().__init__()
        self.how, self.generator, self.calls = how, torch.Generator(), 0

    def forward(self, x):
        self.calls += 1
        noise = {
            "torch": lambda: torch.rand(1).item(),
            "numpy": lambda: np.random.rand(),
            "own generator": lambda: torch.rand(1, generator=self.generator).item(),
            "count": lambda: self.calls,
        }[self.how]()
        return x * (1 + noise)


@pytest.mark.parametrize("how", ["torch", "numpy", "own generator", "count"])
def test_a_network_that_gives_other_outputs_again_is_refused(how):
    a, b = (drawn(lambda: Between(Drawing(how)), seed) for seed in (0, 1))
    assert refused(lambda: connected(a, b)).startswith("model A must be a function in eval mode: ")


class Stateful(nn.Linear):
    def get_extra_state(self):
        return {"scale": 2.0}

    def set_extra_state(self, state):
        pass


def test_extra_state_is_refused_where_a_state_dict_is_permuted_and_nowhere_else():
    a, b = (
        drawn(lambda: nn.Sequential(nn.Linear(6, 8), nn.ReLU(), Stateful(8, CLASSES)), seed)
        for seed in (0, 1)
    )
    images = samples()[0]
    line = "must hold only tensors in its state dict, got '2._extra_state', a dict"
    assert line in refused(lambda: llfc.permutation_spec(a, images))
    plain = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, CLASSES)).double()
    spec = llfc.permutation_spec(plain, images)
    assert line in refused(lambda: llfc.match("weights", a, b, spec))
    assert line in refused(lambda: connected(a, b, matching=spec.random(0), spec=spec))
    assert line in refused(lambda: spec.check(a, images))
    assert "'2._extra_state' must be a tensor, got a dict" in refused(
        lambda: spec.apply(spec.random(0), a.state_dict())
    )
    connected(a, b)


@pytest.mark.parametrize("given", ["tuple", "dict", "column"])
def test_what_is_no_logits_is_refused_with_a_way_out(given):
    class Wrapped(Between):
        def forward(self, x):
            logits = super().forward(x)
            return {"tuple": (logits, x), "dict": {"scores": logits}, "column": logits[:, 0]}[given]

    a, b = drawn(lambda: Wrapped(1.0), 0), drawn(lambda: Wrapped(1.0), 1)
    text = refused(lambda: connected(a, b))
    assert text.startswith("model must return logits of shape [images, classes], got ")
    way_out = "wrap it in a module whose forward returns the logits alone"
    assert text.endswith(way_out) == (given != "column")
    assert ("dict of scores" in text) == (given == "dict")


def test_wrapped_scripted_and_lazy_parts_are_refused():
    def inner(change):
        model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, CLASSES))
        model[0] = change(model[0])
        return model

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scripted = inner(torch.jit.script), torch.jit.script(inner(lambda layer: layer))
    compiled = inner(lambda layer: torch.compile(layer, backend="eager"))
    lazy = inner(lambda layer: nn.LazyLinear(8))
    empty = inner(lambda layer: layer.to("meta"))
    for model, line in (
        (scripted[0], "must run in Python, got RecursiveScriptModule in '0'"),
        (scripted[1], "must run in Python, got RecursiveScriptModule: "),
        (compiled, "must be the network itself, got OptimizedModule in '0': give its ._orig_mod"),
        (lazy, "must be initialised, but '0.weight' is not: run it once"),
        (empty, "must hold numbers, but '0.weight' is on the meta device: load a state dict"),
    ):
        assert f"model_a {line}" in refused(lambda model=model: connected(model, model))


def test_an_applied_permutation_keeps_the_versions_of_a_state_dict():
    class Versioned(nn.Linear):
        _version = 2

        def _load_from_state_dict(self, state, prefix, metadata, *rest):
            assert metadata.get("version") == 2
            super()._load_from_state_dict(state, prefix, metadata, *rest)

    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), Versioned(8, CLASSES)).double()
    images = samples()[0]
    spec = llfc.permutation_spec(model, images)
    before = copy.deepcopy(model.state_dict()._metadata)
    state = spec.apply(spec.random(0), model.state_dict())
    model.load_state_dict(state)
    assert state._metadata == before
    assert state._metadata is not model.state_dict()._metadata
    spec.apply(spec.random(0), dict(model.state_dict()))  # one without is none the worse
