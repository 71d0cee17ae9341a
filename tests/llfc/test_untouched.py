"""The caller's models are never run, hooked or put in another mode: copies of them are."""

import contextlib
import copy
import functools
import itertools
import threading

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations, prune, spectral_norm, weight_norm

import llfc
from llfc.connectivity.blend import Line, line_positions
from llfc.connectivity.corrections import CORRECTIONS
from llfc.connectivity.measures.registry import MEASURES
from llfc.matching import MATCHERS
from llfc.modules import check_inputs, copy_of, eval_copy
from tests.helpers.quick_cases import slow_unless
from tests.helpers.unchanged import fingerprint, generators

CLASSES = 3


class Adapted(nn.Linear):
    """Low-rank weights beside its own, which are merged while it is in eval mode, as LoRA's are."""

    def __init__(self, before, after):
        super().__init__(before, after)
        self.down = nn.Parameter(torch.randn(2, before))
        self.up = nn.Parameter(torch.randn(after, 2))
        self.merged = False

    def train(self, mode=True):
        super().train(mode)
        if mode == self.merged:
            self.weight.data += (-1 if mode else 1) * self.up @ self.down
            self.merged = not mode
        return self

    def forward(self, x):
        beside = 0 if self.merged else x @ self.down.T @ self.up.T
        return F.linear(x, self.weight, self.bias) + beside


class Folding(nn.Linear):
    """Folds its scale into a new weight whenever it is put in eval mode, and keeps no count."""

    def __init__(self, before, after):
        super().__init__(before, after)
        self.register_buffer("scale", torch.tensor(1.5))

    def train(self, mode=True):
        if not mode:
            self.weight = nn.Parameter(self.weight.detach() * self.scale)
            self.scale = torch.ones(())
        return super().train(mode)

    def forward(self, x):
        return F.linear(x, self.weight * self.scale, self.bias)


class Drawing(nn.Module):
    """Draws from the generator that all share, to no effect."""

    def forward(self, x):
        return x + 0 * torch.rand(1, dtype=x.dtype)


def network(linear, seed):
    """A network in train mode, but for a norm; with a hook, gradients, and a frozen parameter."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = nn.Sequential(
            linear(6, 8),
            nn.BatchNorm1d(8),
            nn.ReLU(),
            Drawing(),
            nn.Dropout(0.5),
            linear(8, CLASSES),
        ).double()
        model[1].eval()
        model(torch.randn(5, 6).double()).sum().backward()
    model[0].bias.requires_grad_(False)
    model[2].register_forward_hook(lambda module, inputs, output: output * 2)
    return model


def samples(count, seed):
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(count, 6, generator=generator, dtype=torch.float64)
    return images, torch.randint(CLASSES, (count,), generator=generator)


TEST, TRAIN = samples(20, 1), samples(16, 2)


@functools.cache
def symmetry(linear):
    """That of `network(linear, ...)`, with the kinds of its groups; of a network of its own."""
    spec = llfc.permutation_spec(network(linear, 0), TEST[0][:2])
    assert spec.kinds
    return spec


def connected(**options):
    given = {"test": TEST, "train": TRAIN, "alphas": 3, "measures": ()} | options
    return lambda a, b, spec: llfc.connect(a, b, spec=spec, **given)


def matched(name):
    return lambda a, b, spec: llfc.match(name, a, b, spec, [TRAIN[0]])


PUBLIC = {
    "connect": connected(),
    "connect, spec derived": lambda a, b, spec: connected()(a, b, None),
    "connect, all measures": connected(measures=tuple(MEASURES)),
    **{f"connect, {name}": connected(correction=name) for name in CORRECTIONS},
    **{f"match, {name}": matched(name) for name in MATCHERS},
    **{
        f"matcher {name}": lambda a, b, spec, name=name: MATCHERS[name](
            a, b, spec, [TRAIN[0]], seed=0
        )
        for name in MATCHERS
    },
    "match without batches": lambda a, b, spec: llfc.match("weights", a, b, spec),
    "match_many": lambda a, b, spec: llfc.match_many([a, b, a], spec),
    "match_many with batches": lambda a, b, spec: llfc.match_many([a, b], spec, batches=[TRAIN[0]]),
    "permutation_spec": lambda a, b, spec: llfc.permutation_spec(a, TEST[0][:2]).kinds,
    "spec.check": lambda a, b, spec: spec.check(a, TEST[0][:2]),
    "spec.apply": lambda a, b, spec: spec.apply(spec.random(0), b.state_dict()),
    "Line": lambda a, b, spec: Line(a, b, line_positions(3)).at(1)(TEST[0]),
    "check_inputs": lambda a, b, spec: check_inputs("x", a, [TEST[0]]),
}
INNER = ("matcher ", "Line")  # which run what draws in the caller's own hands
# The quick tests have one matcher by itself, as `match` runs them all, and one call with a layer
# that is another network in eval mode.
RUN_BY_MATCH = {f"matcher {name}" for name in MATCHERS} - {"matcher weights"}
# Whatever raises within: a probe that is none, images that do not fit, a matcher's second batch.
FAILING = {
    "probes": connected(probes="nothing"),
    "images": connected(test=(torch.zeros(2, 5).double(), torch.zeros(2).long())),
    "labels": connected(test=(TEST[0], TEST[1] + 7)),
    "batches": lambda a, b, spec: llfc.match("activations", a, b, spec, [TEST[0], TEST[0][0, 0]]),
    "example": lambda a, b, spec: llfc.permutation_spec(a, TEST[0][:, :3]),
}


@pytest.mark.parametrize(
    ("linear", "call"),
    slow_unless(
        [
            *((nn.Linear, call) for call in [*PUBLIC, *FAILING] if call not in RUN_BY_MATCH),
            (Adapted, "connect"),
        ],
        [*itertools.product([nn.Linear, Adapted, Folding], [*PUBLIC, *FAILING])],
        [*itertools.product([Adapted, Folding], {*RUN_BY_MATCH, *[*PUBLIC, *FAILING][::2]})],
    ),
)
def test_models_and_generators_are_left_to_the_bit(linear, call):
    a, b = network(linear, 0), network(linear, 1)
    spec = symmetry(linear)
    before = [fingerprint(model) for model in (a, b)], generators()
    with pytest.raises(ValueError, match=r".") if call in FAILING else contextlib.nullcontext():
        (PUBLIC | FAILING)[call](a, b, spec)
    assert [fingerprint(model) for model in (a, b)] == before[0]
    if not call.startswith(INNER):
        assert generators() == before[1]


def test_a_fingerprint_sees_what_a_visitor_may_do():
    changes = [
        lambda model: model.eval(),
        lambda model: model[1].train(),
        lambda model: model[0].weight.data.add_(1e-12),
        lambda model: model[0].weight.requires_grad_(False),
        lambda model: model.zero_grad(),
        lambda model: model[2].register_forward_hook(lambda *captured: None),
        lambda model: setattr(model[2], "note", 1),
        lambda model: model[0].weight.detach().mul_(1.0),
    ]
    for change in changes:
        model = network(nn.Linear, 0)
        before = fingerprint(model)
        change(model)
        assert fingerprint(model) != before


@pytest.mark.parametrize("linear", [Adapted, Folding], ids=lambda kind: kind.__name__)
@pytest.mark.parametrize(
    "matching",
    slow_unless([None], [None, "weights", "activations", "straight-through"]),
)
def test_what_is_measured_is_the_network_in_eval_mode(linear, matching):
    a, b = network(linear, 0), network(linear, 1)
    found = connected(matching=matching)(a, b, None)
    for end, model in ((0, a), (-1, b)):
        loss = F.cross_entropy(copy.deepcopy(model).eval()(TEST[0]), TEST[1]).item()
        assert found.curve["test_loss"][end] == pytest.approx(loss, rel=1e-12)


def test_what_is_in_eval_mode_is_not_put_there_again():
    model = network(Folding, 0).eval()
    assert torch.equal(eval_copy(model)[0].weight, model[0].weight)


# Copies


def derived(make, ran):
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, CLASSES)).double()
    make(model[0])
    if ran:
        model(TEST[0])
    return model


DERIVED = {
    "weight_norm": weight_norm,
    "weight_norm, parametrized": parametrizations.weight_norm,
    "spectral_norm": spectral_norm,
    "spectral_norm, parametrized": parametrizations.spectral_norm,
    "orthogonal": parametrizations.orthogonal,
    "pruned": lambda layer: prune.l1_unstructured(layer, "weight", 0.5),
}


@pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated:FutureWarning")
@pytest.mark.parametrize("ran", [False, True])
@pytest.mark.parametrize("kind", DERIVED)
def test_weights_that_are_derived_from_others_are_copied_and_measured(kind, ran):
    a, b = (derived(DERIVED[kind], ran) for _ in range(2))
    before = fingerprint(a)
    found = connected(matching=None)(a, b, None)
    assert fingerprint(a) == before
    for end, model in ((0, a), (-1, b)):
        with torch.no_grad():
            loss = F.cross_entropy(model.eval()(TEST[0]), TEST[1]).item()
        assert found.curve["test_loss"][end] == pytest.approx(loss, rel=1e-12)
    said = [entry.name for entry in found.left_out if entry.kind == "definition"]
    assert ("0.weight" in said) == (kind != "orthogonal")  # that one is linear near by


def pruned(seed, mask):
    model = network(nn.Linear, seed)
    prune.custom_from_mask(model[0], "weight", mask)
    return model


def test_like_masks_leave_the_line_one_of_weights_and_unlike_ones_are_said():
    mask = (torch.arange(48).reshape(8, 6) % 2).double()
    for other, off in ((mask, False), (1 - mask, True)):
        found = connected(matching=None)(pruned(0, mask), pruned(1, other), None)
        assert any(entry.name == "0.weight" for entry in found.left_out) == off


def test_tensors_that_share_memory_share_it_in_the_copy():
    model = nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 6))
    model[1].weight = model[0].weight
    model[2].weight = nn.Parameter(model[0].weight.data[:4].repeat(1, 1))
    model.register_buffer("view", model[0].weight.data[1:3])
    copied = copy_of(model)
    assert copied[1].weight is copied[0].weight
    with torch.no_grad():
        copied[0].weight.fill_(7)
    assert (copied.view == 7).all()
    assert not (model[0].weight == 7).any()
    assert not (copied[2].weight == 7).any()
    assert copied[0].weight.requires_grad
    assert isinstance(copied[0].weight, nn.Parameter)


class Itself(nn.Linear):
    def __deepcopy__(self, memo):
        return self


def test_what_cannot_be_copied_is_refused_in_one_line():
    held, whole = (nn.Sequential(nn.Linear(6, CLASSES)).double() for _ in range(2))
    held.lock = threading.Lock()
    single = nn.Sequential(Itself(6, CLASSES)).double()
    for model, reason in ((held, "cannot pickle '_thread.lock' object"), (single, "'0.weight'")):
        with pytest.raises(ValueError, match=f"^model_a must .*{reason}") as refused:
            connected(matching=None)(model, whole, None)
        assert "\n" not in str(refused.value)


def test_inference_mode_around_a_call_changes_nothing():
    a, b = network(nn.Linear, 0), network(nn.Linear, 1)
    found = connected()(a, b, None)
    with torch.inference_mode():
        again = connected()(a, b, None)
    assert again.curve["test_loss"].tolist() == found.curve["test_loss"].tolist()
