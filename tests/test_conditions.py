"""The two conditions are what all features in memory would give, and what theory says."""

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm

import llfc
from llfc.connectivity.blend import Line, frozen_copy, positions
from llfc.connectivity.corrections import CORRECTIONS
from llfc.connectivity.measures.conditions.additivity import additivity
from llfc.connectivity.measures.conditions.imageaxis import image_axes
from llfc.connectivity.measures.conditions.measure import SHUFFLED, conditions
from llfc.connectivity.measures.conditions.operations import operations
from llfc.connectivity.measures.subject import Subject
from llfc.connectivity.samples import Batches
from tests.small import CLASSES, blended, convnet, mlp, random_, samples

CASES = {"mlp": (mlp, (6,)), "convnet": (convnet, (2, 7, 7))}
every_case = pytest.mark.parametrize("case", CASES)


def measured(a, b, images, *, size=1000, unmatched=None):
    labels = torch.zeros(len(images), dtype=torch.int64)
    return conditions(
        Subject(
            line=Line(a, b, positions(3)),
            unmatched=None if unmatched is None else frozen_copy(unmatched),
            test=Batches("test", (images, labels), size, images.device),
            train=None,
            probes=(),
            correction=CORRECTIONS["none"],
            seed=0,
        )
    )


def rows(found, table, pair="matched"):
    """Numbers by layer."""
    columns = found.tables.get(table, {"layer": []})
    names = [name for name in columns if name not in ("layer", "pair")]
    return {
        layer: {name: columns[name][i] for name in names}
        for i, layer in enumerate(columns["layer"])
        if columns["pair"][i] == pair
    }


def same(one, other, rel=1e-10, abs=1e-12):
    assert list(one) == list(other)
    for layer, numbers in one.items():
        assert numbers == pytest.approx(other[layer], rel=rel, abs=abs), layer


# The reference: every module's input and output kept, in float64


def kept(model, images):
    inputs, outputs = {}, {}
    handles = []
    for name, module in model.named_modules():
        if not list(module.children()):

            def keep(module, args, output, name=name):
                outputs[name] = output.clone()

            handles.append(
                module.register_forward_pre_hook(
                    lambda module, args, name=name: inputs.update({name: args[0].clone()})
                )
            )
            handles.append(module.register_forward_hook(keep))
    with torch.no_grad():
        model.eval()(images)
    for handle in handles:
        handle.remove()
    return inputs, outputs


def distance(x, y):
    return (((x - y) ** 2).sum() / (x.norm() * y.norm())).item()


def reference(a, b, images_a, images_b):
    (in_a, _), (in_b, _) = kept(a, images_a), kept(b, images_b)
    additive, commuting = {}, {}
    for name, module in a.named_modules():
        if isinstance(module, nn.ReLU):
            h_a, h_b = in_a[name].flatten(1), in_b[name].flatten(1)
            u, v = (h_a.relu() + h_b.relu()) / 2, ((h_a + h_b) / 2).relu()
            additive[name] = {
                "dist": distance(u, v),
                "cos": torch.cosine_similarity(u, v).mean().item(),
                "coef": ((u * v).sum(1) / (u * u).sum(1)).mean().item(),
                "signs": ((h_a > 0) == (h_b > 0)).double().mean().item(),
            }
        elif isinstance(module, nn.Linear | nn.Conv2d):

            def apply(weights, inputs, name=name):
                layer = copy.deepcopy(weights.get_submodule(name))
                layer.bias = None
                return layer(inputs[name]).detach()

            commuting[name] = {
                "dist_com": distance(
                    apply(a, in_a) + apply(b, in_b), apply(a, in_b) + apply(b, in_a)
                ),
                "dist_w": distance(module.weight.detach(), b.get_submodule(name).weight.detach()),
                "dist_h": distance(in_a[name], in_b[name]),
            }
    return additive, commuting


@every_case
def test_conditions_are_what_stored_features_give(case):
    make, shape = CASES[case]
    a, b, other = make(0), make(1), make(2)
    images, _ = samples(37, shape)
    found = measured(a, b, images, size=10, unmatched=other)
    for pair, end in (("matched", b), ("unmatched", other)):
        additive, commuting = reference(a, end, images, images)
        assert rows(found, "additivity", pair).keys() == additive.keys()
        for layer, numbers in rows(found, "additivity", pair).items():
            assert numbers == pytest.approx(additive[layer], rel=1e-10), layer
        for layer, numbers in rows(found, "commutativity", pair).items():
            assert numbers == pytest.approx(commuting[layer], rel=1e-10, abs=1e-14), layer
        assert rows(found, "commutativity", pair).keys() == commuting.keys()


@every_case
def test_the_shuffled_pair_is_of_different_images(case):
    make, shape = CASES[case]
    a, b = make(0), make(1)
    images, _ = samples(48, shape)
    found = measured(a, b, images, size=24)
    few = 24 // SHUFFLED
    first = torch.cat([part[:few] for part in images.split(24)])
    then = torch.cat([part[few : 2 * few] for part in images.split(24)])
    additive, commuting = reference(a, b, first, then)
    same(rows(found, "additivity", "shuffled"), additive)
    same(rows(found, "commutativity", "shuffled"), commuting)


@every_case
@pytest.mark.parametrize("size", [1, 7])
def test_batching_changes_nothing(case, size):
    make, shape = CASES[case]
    images, _ = samples(30, shape)
    whole = measured(make(0), make(1), images)
    part = measured(make(0), make(1), images, size=size)
    for table in ("additivity", "commutativity"):
        same(rows(part, table), rows(whole, table))
    pairs = set(part.tables["additivity"]["pair"])
    assert pairs == ({"matched"} if size == 1 else {"matched", "shuffled"})


@every_case
def test_a_network_and_itself(case):
    make, shape = CASES[case]
    found = measured(make(0), make(0), samples(30, shape)[0])
    for numbers in rows(found, "additivity").values():
        assert numbers == {"dist": 0, "cos": 1, "coef": 1, "signs": 1}
    for numbers in rows(found, "commutativity").values():
        assert numbers == {"dist_com": 0, "dist_w": 0, "dist_h": 0}
    assert found.scalars["additivity_ratio_shuffled"] == 0
    assert found.scalars["commutativity_ratio_shuffled"] == 0


def test_two_independent_gaussians_are_nearly_additive():
    """In closed form: an absolute value proves nothing.

    With h_A, h_B standard and independent, s = h_A + h_B has variance 2, so E[relu(s)²] = 1 and
    E[(relu(h_A) + relu(h_B))²] = 1 + 1/pi. Their product is relu(s) (relu(h_A) + relu(h_B)), which
    is s² where both are positive and s max(h_A, h_B) where only one is and s > 0:
    1/2 + 1/pi + 2 E[s h_A; h_B < 0 < s] = 1/2 + 1/pi + 2 (1/8) = 3/4 + 1/pi.
    """
    generator = torch.Generator().manual_seed(0)
    h = [torch.randn(200, 20_000, generator=generator, dtype=torch.float64) for _ in range(2)]
    found = additivity((*h, h[0].relu(), h[1].relu()), torch.relu).values()
    product, mean = 3 / 4 + 1 / math.pi, 1 + 1 / math.pi
    expected = (1 + mean - 2 * product) / mean**0.5, product / mean**0.5, product / mean, 0.5
    assert expected[:2] == pytest.approx((0.158, 1 - 0.070), abs=1e-3)
    assert found == pytest.approx(expected, abs=1e-3)


def test_zero_features_have_definitions():
    zero, some = torch.zeros(1, 3), torch.tensor([[1.0, -2.0, 3.0]])
    relu = torch.relu
    dead = additivity((zero, -some.abs(), zero, zero), relu).values()
    assert dead == (0, 1, 1, 1)
    opposite = additivity((some, -some, some.relu(), (-some).relu()), relu).values()
    assert opposite == (1, 0, 0, 0)


# What theory says


def test_one_differing_layer_gives_llfc():
    """Theorem 1: both conditions hold up to there, so features are linear with coefficient 1."""
    a = mlp(0)
    b = copy.deepcopy(a)
    b.linear1.load_state_dict(mlp(1).linear1.state_dict())
    found = measured(a, b, samples(30, (6,))[0])
    commuting = rows(found, "commutativity")
    assert commuting["linear0"] == {"dist_com": 0, "dist_w": 0, "dist_h": 0}
    assert commuting["linear1"]["dist_com"] == commuting["linear1"]["dist_h"] == 0
    assert commuting["linear1"]["dist_w"] > 0
    assert commuting["linear2"]["dist_com"] == commuting["linear2"]["dist_w"] == 0
    assert rows(found, "additivity")["relu0"]["dist"] == 0
    assert rows(found, "additivity")["relu1"]["dist"] > 0
    pair = samples(30, (6,))
    walk = llfc.connect(a, b, test=pair, matching=None, alphas=3, correction="none")
    before = {layer.name: layer for layer in walk.layers}["linear1"]
    assert before.coef == pytest.approx(1, abs=1e-12)
    assert abs(before.cos_error).max() < 1e-12


def test_both_conditions_give_llfc_at_every_layer():
    """All pre-activations far above zero, and one differing layer: additive and commuting."""
    a = mlp(0)
    for layer in (a.linear0, a.linear1):
        layer.bias.data += 50
    b = copy.deepcopy(a)
    b.linear0.load_state_dict(mlp(1).linear0.state_dict())
    b.linear0.bias.data += 50
    images, labels = samples(30, (6,))
    a.linear1.weight.data.abs_()
    b.linear1.weight.data.abs_()
    found = measured(a, b, images)
    assert max(found.tables["additivity"]["dist"][:2]) < 1e-28
    assert found.scalars["commutativity_dist_com_max"] < 1e-28
    walk = llfc.connect(
        a, b, test=(images, labels), matching=None, alphas=5, correction="none", measures=()
    )
    for layer in walk.layers:
        assert layer.coef == pytest.approx(1, abs=1e-12)
        assert abs(layer.cos_error).max() < 1e-12
        assert layer.baseline > 1e-6 or layer.name != "linear0"


def test_the_gap_is_the_residual_of_the_blend():
    """After an exactly linear layer: f(alpha) - interpolated = -alpha (1 - alpha) dW dH."""
    a, b = (random_(nn.Sequential(nn.Linear(6, 8), nn.Linear(8, CLASSES)), s) for s in (0, 1))
    images, _ = samples(30, (6,))
    found = rows(measured(a, b, images), "commutativity")["1"]
    with torch.no_grad():
        f_a, f_b, hidden = a(images), b(images), (a[0](images), b[0](images))
        x = f_a + f_b - a[1].bias - b[1].bias
        y = F.linear(hidden[1], a[1].weight) + F.linear(hidden[0], b[1].weight)
        for alpha in (0.25, 0.5):
            residual = blended(a, b, alpha)(images) - (1 - alpha) * f_a - alpha * f_b
            gap = residual.norm() / (alpha * (1 - alpha))
            assert found["dist_com"] == pytest.approx(float(gap**2 / (x.norm() * y.norm())))


@every_case
def test_swapping_the_networks_changes_nothing(case):
    make, shape = CASES[case]
    images, _ = samples(30, shape)
    there, back = measured(make(0), make(1), images), measured(make(1), make(0), images)
    for table in ("additivity", "commutativity"):
        same(rows(there, table), rows(back, table))


def test_permuting_both_alike_changes_nothing():
    a, b = convnet(0), convnet(1)
    images, _ = samples(30, (2, 7, 7))
    spec = llfc.permutation_spec(a, images[:2])
    moved = [copy.deepcopy(model) for model in (a, b)]
    for model in moved:
        model.load_state_dict(spec.apply(spec.random(seed=3), model.state_dict()))
    one, other = measured(a, b, images), measured(*moved, images)
    for table in ("additivity", "commutativity"):
        same(rows(one, table), rows(other, table))


# What is seen of a network


class Net(nn.Module):
    """An activation written in one of many ways."""

    def __init__(self, activate):
        super().__init__()
        self.first, self.last = nn.Linear(6, 8), nn.Linear(8, CLASSES)
        self.activate = activate

    def forward(self, x):
        return self.last(self.activate(self.first(x)))


RELUS = {
    "F.relu": F.relu,
    "F.relu in place": lambda x: F.relu(x, inplace=True),
    "torch.relu": torch.relu,
    "relu_": lambda x: x.relu_(),
    "clamp": lambda x: x.clamp(min=0),
    "clamp_min_": lambda x: x.clamp_min_(0),
    "threshold": lambda x: F.threshold(x, 0, 0),
    "module in place": nn.ReLU(inplace=True),
}


@pytest.mark.parametrize("way", RELUS)
def test_every_way_to_write_a_relu_is_seen(way):
    images, _ = samples(30, (6,))
    plain = measured(*(random_(Net(nn.ReLU()), seed) for seed in (0, 1)), images)
    other = measured(*(random_(Net(RELUS[way]), seed) for seed in (0, 1)), images)
    (row,) = rows(other, "additivity").values()
    assert row == pytest.approx(rows(plain, "additivity")["activate"], rel=1e-12)
    same(rows(other, "commutativity"), rows(plain, "commutativity"))
    name = "activate" if way == "module in place" else "model"
    assert list(rows(other, "additivity")) == [name]


ACTIVATIONS = [F.leaky_relu, F.gelu, F.silu, torch.tanh, F.elu, F.selu, F.relu6, F.hardswish]
ACTIVATIONS += [F.mish, F.softplus, torch.sigmoid, F.hardtanh, F.hardsigmoid, F.celu]


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=lambda f: f.__name__)
def test_other_activations_are_seen(activation):
    a, b = (random_(Net(activation), seed) for seed in (0, 1))
    images, _ = samples(30, (6,))
    (row,) = rows(measured(a, b, images), "additivity").values()
    with torch.no_grad():
        h_a, h_b = a.first(images), b.first(images)
        u, v = (activation(h_a) + activation(h_b)) / 2, activation((h_a + h_b) / 2)
    assert row["dist"] == pytest.approx(distance(u, v), rel=1e-10)
    assert row["cos"] == pytest.approx(torch.cosine_similarity(u, v).mean().item(), rel=1e-10)


LAYERS = {
    "conv1d": (nn.Conv1d(4, 6, 3, padding="same", padding_mode="circular"), (4, 9)),
    "conv2d grouped": (nn.Conv2d(4, 6, 3, groups=2, stride=2, dilation=2), (4, 9, 9)),
    "conv3d": (nn.Conv3d(4, 2, 2), (4, 3, 3, 3)),
    "transposed": (nn.ConvTranspose2d(4, 6, 3, groups=2, stride=2, output_padding=1), (4, 5, 5)),
    "linear on tokens": (nn.Linear(4, 5), (3, 4)),
    "parametrised": (weight_norm(nn.Linear(4, 5)), (4,)),
}


@pytest.mark.parametrize("kind", LAYERS)
def test_every_kind_of_linear_layer_is_seen(kind):
    """Both with features that differ, as a pointwise layer stands before it."""
    layer, shape = LAYERS[kind]

    def model(seed):
        return random_(nn.Sequential(nn.Tanh(), Scale(), copy.deepcopy(layer)), seed).eval()

    a, b = model(0), model(1)
    images, _ = samples(16, shape)
    found = measured(a, b, images)
    with torch.no_grad():
        bare = [copy.deepcopy(m[2]) for m in (a, b)]
        h_a, h_b = a[:2](images), b[:2](images)
        zero = torch.zeros_like(h_a)
        w_a, w_b = ((lambda h, m=m: m(h) - m(zero)) for m in bare)
        expected = {
            "dist_com": distance(w_a(h_a) + w_b(h_b), w_a(h_b) + w_b(h_a)),
            "dist_w": distance(a[2].weight, b[2].weight),
            "dist_h": distance(h_a, h_b),
        }
    assert rows(found, "commutativity") == {"2": pytest.approx(expected, rel=1e-9)}


class Scale(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, x):
        return x * self.scale


class Transformer(nn.Module):
    """Attention with its images in the second dimension, a layer that runs twice, tied weights."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Linear(4, 8)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=False)
        self.mix = nn.Linear(8, 8, bias=False)
        self.tied = nn.Linear(8, 8, bias=False)
        self.tied.weight = self.mix.weight
        self.head = nn.Linear(8, CLASSES)

    def forward(self, x):
        tokens = self.embed(x).transpose(0, 1)
        tokens = tokens + self.attention(tokens, tokens, tokens)[0]
        tokens = F.gelu(self.mix(F.gelu(self.mix(tokens))))
        return self.head(F.relu_(self.tied(tokens)).mean(0))


def test_attention_and_layers_that_run_twice():
    a, b = (random_(Transformer(), seed) for seed in (0, 1))
    images, _ = samples(16, (5, 4))
    found = measured(a, b, images)
    layers = ["embed", "attention", "attention.out_proj", "mix", "mix#2", "tied", "head"]
    assert list(rows(found, "commutativity")) == layers
    assert list(rows(found, "commutativity", "shuffled")) == layers
    assert list(rows(found, "additivity")) == ["model", "model#2", "model#3"]
    with torch.no_grad():
        h = []
        for model in (a, b):
            tokens = model.embed(images).transpose(0, 1)
            h.append(model.mix(tokens + model.attention(tokens, tokens, tokens)[0]))
        u, v = (F.gelu(h[0]) + F.gelu(h[1])) / 2, F.gelu((h[0] + h[1]) / 2)
        rows_u, rows_v = (x.transpose(0, 1).flatten(1) for x in (u, v))
    row = rows(found, "additivity")["model"]
    assert row["cos"] == pytest.approx(torch.cosine_similarity(rows_u, rows_v).mean().item())
    assert row["coef"] == pytest.approx(
        ((rows_u * rows_v).sum(1) / rows_u.square().sum(1)).mean().item()
    )
    same(rows(measured(a, b, images, size=4), "additivity"), rows(found, "additivity"))


def test_images_are_found_in_folded_dimensions():
    class Folds(nn.Module):
        def __init__(self):
            super().__init__()
            self.table = nn.Parameter(torch.randn(3, 4))
            self.mlp, self.gate = nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x):
            windows = self.mlp(x.flatten(0, 1)).relu()  # images outside, windows inside
            tokens = self.mlp(x.transpose(0, 1).flatten(0, 1)).relu()
            return (windows + tokens).unflatten(0, (-1, 2)).sum(1) * self.gate(2 * self.table).sum()

    model, example = random_(Folds(), 0).eval(), samples(2, (2, 4))[0]
    axes = image_axes(model, example, operations(model, example))
    found = [axis and (axis.dim, axis.outer) for axis in axes]
    assert found == [(0, True), (0, True), (0, False), (0, False), None]


@pytest.mark.parametrize("inplace", [False, True])
def test_what_is_overwritten_is_kept(inplace):
    """A ReLU and a residual addition in place: each operation's input and output as they were."""

    class Overwrites(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(6, 6), nn.Linear(6, 6)

        def forward(self, x):
            hidden = self.first(x)
            hidden = F.relu(hidden, inplace=inplace)
            out = self.second(hidden)
            if inplace:
                hidden += out
                return hidden.mul_(2)
            return (hidden + out) * 2

    model = random_(Overwrites(), 0).requires_grad_(False)
    images, _ = samples(5, (6,))
    first, relu, second = operations(model, images)
    assert torch.equal(first.output, F.linear(images, model.first.weight, model.first.bias))
    assert torch.equal(relu.input, first.output)
    assert torch.equal(relu.output, first.output.relu())
    assert torch.equal(second.input, relu.output)


@pytest.mark.parametrize("work", [torch.float32, torch.bfloat16])
def test_narrower_types_agree(work):
    images, _ = samples(64, (2, 7, 7))
    wide = measured(convnet(0), convnet(1), images)
    narrow = measured(convnet(0).to(work), convnet(1).to(work), images.to(work))
    tolerance = 64 * torch.finfo(work).eps
    for table in ("additivity", "commutativity"):
        for pair in ("matched", "shuffled"):
            for layer, numbers in rows(narrow, table, pair).items():
                expected = rows(wide, table, pair)[layer]
                assert numbers == pytest.approx(expected, rel=tolerance, abs=tolerance / 8), layer


def test_a_network_without_activations_or_without_layers():
    images, _ = samples(10, (6,))
    found = measured(nn.Linear(6, CLASSES).double(), nn.Linear(6, CLASSES).double(), images)
    assert list(found.tables) == ["commutativity"]
    assert found.tables["commutativity"]["layer"] == ["model", "model"]
    assert not any(name.startswith("additivity") for name in found.scalars)
    found = measured(nn.ReLU(), nn.ReLU(), images)
    assert list(found.tables) == ["additivity"]
    assert not measured(nn.Flatten(), nn.Flatten(), images).tables


def test_scalars_are_of_the_matched_pair():
    found = measured(mlp(0), mlp(1), samples(30, (6,))[0], unmatched=mlp(2))
    matched, control = (rows(found, "additivity", pair) for pair in ("matched", "unmatched"))
    dist, of_control = ([row["dist"] for row in each.values()] for each in (matched, control))
    assert found.scalars["additivity_dist_mean"] == pytest.approx(np.mean(dist))
    assert found.scalars["additivity_dist_max"] == max(dist)
    assert found.scalars["additivity_ratio_unmatched"] == pytest.approx(sum(dist) / sum(of_control))


# Refusals, and nothing left behind


class Chooses(nn.Module):
    """What it runs depends on its weights."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(6, CLASSES)

    def forward(self, x):
        out = self.linear(x)
        return F.relu(out) if self.linear.bias.sum() > 0 else torch.tanh(out)


def test_networks_that_run_different_operations_are_refused():
    a, b = Chooses().double(), Chooses().double()
    with torch.no_grad():
        a.linear.bias.fill_(1.0)
        b.linear.bias.fill_(-1.0)
    line = r"relu in 'model' on \(5, 4\) and tanh in 'model' on \(5, 4\)"
    with pytest.raises(ValueError, match=f"^A and B run different operations: {line}$"):
        measured(a, b, samples(5, (6,))[0])


def test_features_that_are_not_finite_are_refused():
    a = mlp(0)
    a.linear1.bias.data[0] = math.nan
    with pytest.raises(ValueError, match=r"^features of layer 'relu1' are not finite$"):
        measured(a, mlp(1), samples(5, (6,))[0])


def test_nothing_is_left_behind():
    class Fails(nn.Module):
        def forward(self, x):
            raise RuntimeError("as planned")

    before = torch.nn.modules.module
    hooks = len(before._global_forward_hooks), len(before._global_forward_pre_hooks)
    with pytest.raises(RuntimeError, match="as planned"):
        operations(nn.Sequential(nn.Linear(6, 6), Fails()), samples(5, (6,))[0].float())
    assert (len(before._global_forward_hooks), len(before._global_forward_pre_hooks)) == hooks
    assert torch.backends.mha.get_fastpath_enabled()
    a, b = convnet(0), convnet(1)
    states = copy.deepcopy((a.state_dict(), b.state_dict()))
    images, _ = samples(9, (2, 7, 7))
    kept_images = images.clone()
    measured(a, b, images)
    assert torch.equal(images, kept_images)
    for model, state in zip((a, b), states, strict=True):
        assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
