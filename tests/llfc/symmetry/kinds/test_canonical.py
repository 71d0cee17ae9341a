"""The canonical form: the function is kept, and the stream between norms can be rotated."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import llfc
from llfc import Transform, canonical
from tests.helpers.kinds_by_hand import NETWORKS, kinds_by_family, network
from tests.helpers.kinds_of_networks import IMAGES, TOKENS, VECTORS, ours, perceptron
from tests.helpers.quick_cases import slow_unless
from tests.helpers.small_networks import convnet

# Networks with their norms before the layers, and the end of the name of their stream.
PRE_NORM = (
    *("gpt", "gpt rms", "gpt rotary", "vit"),
    *("hugging face gpt2", "hugging face llama", "hugging face vit"),
)


def built(name, dtype=torch.float64):
    """A network whose norms have random gains and shifts, and its input."""
    build, inputs, _ = NETWORKS[name]
    torch.manual_seed(0)
    model = build().eval().to(dtype)
    return disturbed(model), inputs.to(dtype) if inputs.is_floating_point() else inputs


def disturbed(model):
    """The model itself, no tensor of which is all zeros or ones."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
        for name, buffer in model.named_buffers():
            if "running" in name:
                buffer.add_(torch.rand_like(buffer))
    return model


def gap(one, other, inputs):
    with torch.no_grad():
        before, after = one(inputs), other(inputs)
    return float((before - after).abs().max() / before.abs().max())


@pytest.mark.slow
@pytest.mark.parametrize("name", PRE_NORM)
def test_the_stream_becomes_orthogonal_and_the_function_stays(name):
    model, inputs = built(name)
    state = copy.deepcopy(model.state_dict())
    form = canonical(model, inputs)
    assert gap(model, form, inputs) < (1e-6 if "llama" in name else 1e-12)  # Llama's is float32
    assert all(torch.equal(state[each], model.state_dict()[each]) for each in state)
    before, after = network(name)[2], llfc.permutation_spec(form, inputs)
    kinds = kinds_by_family(after)
    assert sum(kind == "orthogonal" for kind in kinds.values()) == 1
    assert "orthogonal" not in before.kinds.values()
    assert len(before.groups) == len(after.groups)
    (stream,) = (group for group, kind in after.kinds.items() if kind == "orthogonal")
    turned = copy.deepcopy(form)
    drawn = Transform.random(after, 0)
    turned.load_state_dict(Transform(after, {stream: drawn[stream]}).apply(form.state_dict()))
    assert gap(form, turned, inputs) < (1e-6 if "llama" in name else 1e-12)
    others = {**turned.state_dict()}
    assert any((others[each] - form.state_dict()[each]).abs().max() > 1e-3 for each in others)


def test_what_is_left_has_no_gains_and_writes_a_centred_stream():
    model, inputs = built("gpt")
    form = canonical(model, inputs)
    names = {name for name, _ in form.named_parameters()}
    assert not [name for name in names if "norm" in name]
    assert "head.bias" in names  # it took the last norm's shift
    for name in ("embedding.weight", "positions", "block1.mlp.out.bias"):
        assert form.state_dict()[name].mean(-1).abs().max() < 1e-12
    for name in ("block1.mlp.out.weight", "block1.attention.out.weight"):
        assert form.state_dict()[name].mean(0).abs().max() < 1e-12


def test_by_hand_on_one_norm():
    model = disturbed(nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 2))).double()
    form = canonical(model, VECTORS.double())
    first, norm, last = model
    gain, shift = norm.weight, norm.bias
    assert isinstance(form[1], nn.RMSNorm)
    assert [*form[1].parameters()] == []
    assert torch.allclose(form[2].weight, last.weight * gain)
    assert torch.allclose(form[2].bias, last.bias + last.weight @ shift)
    assert torch.allclose(form[0].weight, first.weight - first.weight.mean(0))
    assert torch.allclose(form[0].bias, first.bias - first.bias.mean())
    assert gap(model, form, VECTORS.double()) < 1e-13


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_tensors_keep_their_types_and_modules_their_modes(dtype):
    model, inputs = built("vit", dtype)
    model.train()
    model.block1.mlp.eval()
    form = canonical(model, inputs)
    assert {tensor.dtype for tensor in form.state_dict().values()} == {dtype}
    assert form.training
    assert not form.block1.mlp.training
    assert gap(model.eval(), form.eval(), inputs) < (1e-5 if dtype == torch.float32 else 0.2)


class Between(nn.Module):
    """A stream, a norm, and what a test does with both."""

    def __init__(self, use, norm=None):
        super().__init__()
        self.a, self.b, self.norm = nn.Linear(3, 4), nn.Linear(4, 2), norm or nn.LayerNorm(4)
        self.use = use

    def forward(self, x):
        return self.use(self, self.a(x))


REFUSED = {
    "read before any norm": (
        lambda m, h: m.b(m.norm(h)) + m.b(h),
        "is called more than once|reads the stream before",
    ),
    "relu on the stream": (lambda m, h: m.b(m.norm(h.relu())), "meets aten.relu.default at node"),
    "relu on the norm": (lambda m, h: m.b(m.norm(h).relu()), "aten.relu.default .* no linear map"),
    "added to": (lambda m, h: m.b(m.norm(h) + h), "aten.add.Tensor .* no linear map"),
    "returned": (lambda m, h: (m.b(m.norm(h)), m.norm(h)), "called more than once"),
    "twice": (lambda m, h: m.b(m.norm(m.norm(h))), "called more than once"),
    "the larger": (
        lambda m, h: m.b(m.norm(h.maximum(2 * h))),
        "meets aten.maximum.default at node",
    ),
    "plus one": (lambda m, h: m.b(m.norm(h + 1)), "meets aten.add.Tensor at node"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_safe_is_refused_in_one_line(name):
    use, said = REFUSED[name]
    with pytest.raises(ValueError, match=said) as caught:
        canonical(disturbed(Between(use)), VECTORS)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("canonical: norm 'norm' cannot be folded: ")


@pytest.mark.parametrize("name", slow_unless(["encoder"], ["hugging face bert", "encoder"]))
def test_norms_after_the_additions_are_refused(name):
    model, inputs = built(name)
    with pytest.raises(ValueError, match=r"^canonical: norm '.*' cannot be folded: aten\.add"):
        canonical(model, inputs)


@pytest.mark.parametrize("name", ["mlp relu", "mixer"])
def test_other_networks_are_refused(name):
    model, inputs = built(name)
    with pytest.raises(ValueError, match=r"^canonical: "):
        canonical(model, inputs)


def test_tied_heads_are_untied():
    model, inputs = built("hugging face gpt2")
    assert model.model.lm_head.weight is model.model.transformer.wte.weight
    form = canonical(model, inputs)
    assert form.model.lm_head.weight is not form.model.transformer.wte.weight


@pytest.mark.parametrize(
    "make",
    [
        lambda: (disturbed(convnet(0).eval().double()), torch.randn(2, 2, 9, 9).double()),
        pytest.param(lambda: built("resnet20 batch"), marks=pytest.mark.slow),
    ],
    ids=["convnet", "resnet20"],
)
def test_batch_norms_are_folded_where_asked(make):
    model, inputs = make()
    form = canonical(model, inputs, batch_norm=True)
    assert gap(model, form, inputs) < 1e-12
    assert not [m for m in form.modules() if isinstance(m, nn.BatchNorm2d)]
    assert {*llfc.permutation_spec(form, inputs).kinds.values()} == {"scaled"}


def test_a_batch_norm_that_is_no_linear_map_is_refused():
    norm = nn.BatchNorm1d(4, track_running_stats=False)
    model = nn.Sequential(nn.Linear(3, 4), norm, nn.Linear(4, 2))
    with pytest.raises(ValueError, match=r"norm '1' cannot be folded: it keeps no statistics"):
        canonical(model, VECTORS, batch_norm=True)
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.BatchNorm1d(4), nn.Linear(4, 2))
    with pytest.raises(ValueError, match=r"norm '2' cannot be folded: it reads aten.relu"):
        canonical(model, VECTORS, batch_norm=True)


def test_scales_are_balanced_where_asked():
    model = disturbed(perceptron(nn.ReLU())).double()
    form = canonical(model, VECTORS.double(), balanced=True)
    assert gap(model, form, VECTORS.double()) < 1e-12
    writes = form[0].weight.square().sum(1) + form[0].bias.square()
    assert torch.allclose(writes, form[2].weight.square().sum(0))
    assert not torch.allclose(
        model[0].weight.square().sum(1) + model[0].bias.square(),
        model[2].weight.square().sum(0),
    )


@pytest.mark.slow
def test_two_scalings_of_one_network_have_one_balanced_form():
    inputs = IMAGES.double()
    model = disturbed(ours("mlp", IMAGES, width=0.02)).double()
    spec = llfc.permutation_spec(model, inputs)
    drawn = Transform.random(spec, 1)
    elements = {g: type(e)(torch.arange(len(e)), e.factor) for g, e in drawn.items()}
    other = copy.deepcopy(model)
    other.load_state_dict(Transform(spec, elements).apply(model.state_dict()))
    one, two = (canonical(each, inputs, balanced=True).state_dict() for each in (model, other))
    assert all(torch.allclose(one[name], two[name], rtol=1e-6) for name in one)


def test_a_norm_that_is_a_function_of_its_own_stays():
    """F.layer_norm is no module that could be replaced: on a centred stream it is the same."""
    model = Between(lambda m, h: m.b(m.norm(h)) + m.c(F.layer_norm(h, (4,))))
    model.c = nn.Linear(4, 2)
    model = disturbed(model).double()
    assert gap(model, canonical(model, VECTORS.double()), VECTORS.double()) < 1e-12


def test_a_stream_may_be_scaled_as_a_whole_but_not_unit_by_unit():
    whole = disturbed(Between(lambda m, h: m.b(m.norm(3 * h)))).double()
    assert gap(whole, canonical(whole, VECTORS.double()), VECTORS.double()) < 1e-12
    scaled = Between(lambda m, h: m.b(m.norm(m.scales * h)))
    scaled.scales = nn.Parameter(torch.ones(4))
    with pytest.raises(ValueError, match=r"meets aten.mul.Tensor at node"):
        canonical(disturbed(scaled), VECTORS)


def test_token_networks_take_other_lengths():
    model, inputs = built("gpt")
    assert gap(model, canonical(model, inputs), TOKENS[:, :5]) < 1e-12
